// One browser for all tests of a file; a page and a relay for each.
import type { Browser, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll } from "vitest";
import { WEB, launch } from "./browser";
import { type Cluster, shop } from "./cluster";
import { TestRelay } from "./relay";

interface Bench {
  browser: Browser;
  open: (options?: OpenOptions) => Promise<{ page: Page; relay: TestRelay }>;
}

interface OpenOptions {
  search?: string;
  cluster?: Cluster;
  /** Seconds of history, flows a second in it, flows a second from now on. */
  past?: [number, number];
  rate?: number;
  theme?: "dark" | "light";
  size?: { width: number; height: number };
  prepare?: (relay: TestRelay) => void;
  /** Errors in the console are a failure, but where a test breaks the relay. */
  expectErrors?: boolean;
}

export function useBrowser(): Bench {
  const bench = {} as Bench;
  const relays: TestRelay[] = [];
  const pages: Page[] = [];
  const problems: string[] = [];
  beforeAll(async () => {
    bench.browser = await launch();
  });
  afterAll(() => bench.browser?.close());
  afterEach(async () => {
    await Promise.all(pages.splice(0).map((page) => page.close()));
    await Promise.all(relays.splice(0).map((relay) => relay.close()));
    const seen = problems.splice(0);
    if (seen.length) throw new Error(`the page complained: ${seen.join("; ")}`);
  });
  bench.open = async (options = {}) => {
    const relay = new TestRelay(options.cluster ?? shop(), WEB);
    relays.push(relay);
    const [seconds, rate] = options.past ?? [100, 15];
    if (seconds) relay.fill(seconds, rate);
    options.prepare?.(relay);
    if (options.rate) relay.run(options.rate);
    await relay.listen();
    const page = await bench.browser.newPage({ viewport: options.size ?? { width: 1280, height: 800 }, colorScheme: options.theme ?? "light", reducedMotion: "reduce" });
    pages.push(page);
    page.on("pageerror", (error) => problems.push(error.message));
    page.on("console", (message) => {
      if (message.type() === "error" && !options.expectErrors) problems.push(message.text());
    });
    await page.goto(relay.url + (options.search ?? ""));
    return { page, relay };
  };
  return bench;
}

/** The picture in words, as those hear it who do not see it. */
export const nodesOf = (page: Page) => page.locator(".map-keys [role=option]").allInnerTexts();
export const rowsOf = (page: Page) => page.locator(".grid-body [role=row]");

export async function until<T>(what: () => Promise<T>, holds: (value: T) => boolean, seconds = 20): Promise<T> {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    const value = await what();
    if (holds(value)) return value;
    if (Date.now() > end) throw new Error(`still ${JSON.stringify(value)?.slice(0, 400)} after ${seconds} s: ${holds}`);
    await new Promise((resolve) => setTimeout(resolve, 60));
  }
}
