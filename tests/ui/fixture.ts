// One browser for all tests of a file; pages and relays for each of them, so that they can run beside each other.
import type { Browser, Page } from "playwright-core";
import { test as plain } from "vitest";
import { WEB, launch } from "./browser";
import { type Cluster, shop } from "./cluster";
import { TestRelay } from "./relay";

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

type Open = (options?: OpenOptions) => Promise<{ page: Page; relay: TestRelay }>;

export const test = plain.extend<{ browser: Browser; open: Open }>({
  browser: [
    async ({}, use) => {
      const browser = await launch();
      await use(browser);
      await browser.close();
    },
    { scope: "file" },
  ],
  open: async ({ browser }, use) => {
    const relays: TestRelay[] = [];
    const pages: Page[] = [];
    const problems: string[] = [];
    await use(async (options = {}) => {
      const relay = new TestRelay(options.cluster ?? shop(), WEB);
      relays.push(relay);
      const [seconds, rate] = options.past ?? [100, 15];
      if (seconds) relay.fill(seconds, rate);
      options.prepare?.(relay);
      if (options.rate) relay.run(options.rate);
      await relay.listen();
      const page = await browser.newPage({ viewport: options.size ?? { width: 1280, height: 800 }, colorScheme: options.theme ?? "light", reducedMotion: "reduce" });
      pages.push(page);
      page.on("pageerror", (error) => problems.push(error.message));
      page.on("console", (message) => {
        if (message.type() === "error" && !options.expectErrors) problems.push(message.text());
      });
      await page.goto(relay.url + (options.search ?? ""));
      return { page, relay };
    });
    await Promise.all(pages.map((page) => page.close()));
    await Promise.all(relays.map((relay) => relay.close()));
    if (problems.length) throw new Error(`the page complained: ${problems.join("; ")}`);
  },
});

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
