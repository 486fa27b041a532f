// Lines of JSON from the relay, for as long as it takes: connects again with growing pauses, notices when nothing comes.
import type { WireLine } from "./wire";

export type LinkState = "connecting" | "live" | "unreachable";

/** Splits what arrives into lines. What has been looked at is not looked at again: lines are long, pieces are short. */
export class LineSplitter {
  private parts: string[] = [];
  private readonly decoder = new TextDecoder();

  push(bytes: Uint8Array): string[] {
    const pieces = this.decoder.decode(bytes, { stream: true }).split("\n");
    const rest = pieces.pop()!;
    const lines: string[] = [];
    for (const piece of pieces) {
      this.parts.push(piece);
      const line = this.parts.join("");
      this.parts = [];
      if (line !== "") lines.push(line);
    }
    if (rest !== "") this.parts.push(rest);
    return lines;
  }

  /** What was cut off in the middle of a line. */
  get unfinished(): string {
    return this.parts.join("");
  }
}

const SLICE_MS = 10;

/** Lets the browser draw and people click while much is being read. */
const breathe = () => new Promise<void>((resolve) => setTimeout(resolve));

export class ApiError extends Error {
  constructor(
    message: string,
    readonly status: number,
  ) {
    super(message);
  }
}

async function refusal(response: Response): Promise<ApiError> {
  let text = "";
  try {
    const body = (await response.text()).trim();
    const parsed = body.startsWith("{") ? (JSON.parse(body) as { error?: string }) : {};
    text = parsed.error ?? (body.startsWith("<") ? "" : body);
  } catch {
    // The status says enough.
  }
  return new ApiError(text || `The relay answered ${response.status} ${response.statusText}`, response.status);
}

export async function getJson<T>(path: string, signal?: AbortSignal): Promise<T> {
  const response = await fetch(path, signal ? { signal } : {});
  if (!response.ok) throw await refusal(response);
  return (await response.json()) as T;
}

function parseLine(text: string): WireLine {
  try {
    return JSON.parse(text) as WireLine;
  } catch {
    throw new ApiError(`The relay sent what is no JSON: ${text.slice(0, 80)}`, 0);
  }
}

/** Reads a stream once, to its end. */
export async function readLines(path: string, signal: AbortSignal, sink: (line: WireLine) => void): Promise<void> {
  const response = await fetch(path, { signal, headers: { accept: "application/x-ndjson" } });
  if (!response.ok || !response.body) throw await refusal(response);
  const reader = response.body.getReader();
  const splitter = new LineSplitter();
  let slice = performance.now();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      for (const text of splitter.push(value)) {
        sink(parseLine(text));
        if (performance.now() - slice < SLICE_MS) continue;
        await breathe();
        slice = performance.now();
        // Asked to stop meanwhile: what has been read already is not wanted any more.
        signal.throwIfAborted();
      }
    }
  } finally {
    // A line that cannot be read ends it here; the relay must not go on sending.
    void reader.cancel().catch(() => {});
  }
  if (splitter.unfinished) throw new ApiError("The relay's answer broke off", 0);
}

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 10_000;
const SILENCE_MS = 15_000; // the relay says something every five seconds

interface FollowOptions {
  /** Made anew for every attempt: it asks from where the last one ended. */
  path: () => string;
  line: (line: WireLine) => void;
  state: (state: LinkState, why: string) => void;
}

/** Follows until it is stopped. */
export function follow(options: FollowOptions): () => void {
  const stop = new AbortController();
  let pause = FIRST_PAUSE_MS;
  let wake: (() => void) | null = null;
  const online = () => wake?.();
  window.addEventListener("online", online);

  void (async () => {
    options.state("connecting", "");
    while (!stop.signal.aborted) {
      const attempt = new AbortController();
      const end = () => attempt.abort();
      stop.signal.addEventListener("abort", end);
      let heard = performance.now();
      let silent = false;
      const watchdog = setInterval(() => {
        if (performance.now() - heard < SILENCE_MS) return;
        silent = true;
        attempt.abort();
      }, 1000);
      let why = "";
      try {
        await readLines(options.path(), attempt.signal, (line) => {
          heard = performance.now();
          pause = FIRST_PAUSE_MS;
          options.state("live", "");
          options.line(line);
        });
        why = "The relay ended the stream";
      } catch (error) {
        why = silent ? "The relay has said nothing for 15 seconds" : error instanceof ApiError ? error.message : "No connection to the relay";
      } finally {
        clearInterval(watchdog);
        stop.signal.removeEventListener("abort", end);
      }
      if (stop.signal.aborted) break;
      options.state("unreachable", why);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, pause);
        wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      wake = null;
      pause = Math.min(pause * 2, LONGEST_PAUSE_MS);
    }
  })();
  return () => {
    window.removeEventListener("online", online);
    stop.abort();
    wake?.();
  };
}
