// The page's figures, for bench/ui_bench.py: AXONEME_UI_BENCH=FILE gets them as JSON. Skipped without it.
import { writeFileSync } from "node:fs";
import type { Page } from "playwright-core";
import { test } from "vitest";
import { WEB, launch } from "./browser";
import { large } from "./cluster";
import { until } from "./fixture";
import { TestRelay } from "./relay";

const out = process.env.AXONEME_UI_BENCH ?? "";
const RUNS = Number(process.env.AXONEME_UI_BENCH_RUNS ?? "5");
const PODS = 2000;
const RATE = 500;

/** From the start of the navigation to the first picture with something on it. */
async function ready(page: Page, url: string): Promise<number> {
  await page.goto(url);
  return until(() => page.evaluate(() => performance.getEntriesByName("axoneme-first-picture")[0]?.startTime ?? 0), (at) => at > 0, 30);
}

/** Times between frames while somebody drags the picture about, flows come in and the table follows. */
async function frames(page: Page, seconds: number): Promise<number[]> {
  const box = (await page.locator(".map").boundingBox())!;
  const gaps = page.evaluate(
    (ms) => new Promise<number[]>((resolve) => {
      const list: number[] = [];
      const end = performance.now() + ms;
      let last = performance.now();
      const next = (now: number) => {
        list.push(now - last);
        last = now;
        if (now < end) requestAnimationFrame(next);
        else resolve(list.slice(1));
      };
      requestAnimationFrame(next);
    }),
    seconds * 1000,
  );
  const until_ = Date.now() + seconds * 1000 - 300;
  await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
  await page.mouse.down();
  for (let step = 0; Date.now() < until_; step++) {
    await page.mouse.move(box.x + box.width / 2 + Math.cos(step / 12) * 160, box.y + box.height / 2 + Math.sin(step / 12) * 90);
    await page.waitForTimeout(14);
  }
  await page.mouse.up();
  return gaps;
}

test.skipIf(!out)("figures", { timeout: 600_000 }, async () => {
  const relay = new TestRelay(large(PODS), WEB);
  relay.fill(60, RATE);
  relay.run(RATE);
  await relay.listen();
  const browser = await launch();
  const readyMs: number[] = [];
  const p95: Record<string, number[]> = { workload: [], pod: [] };
  const worst: number[] = [];
  for (let run = 0; run < RUNS; run++) {
    for (const group of ["workload", "pod"]) {
      const page = await browser.newPage({ viewport: { width: 1440, height: 900 } });
      readyMs.push(await ready(page, `${relay.url}?group=${group}`));
      await page.waitForTimeout(3000);
      const gaps = (await frames(page, 6)).sort((a, b) => a - b);
      p95[group]!.push(gaps[Math.floor(gaps.length * 0.95)]!);
      worst.push(gaps.at(-1)!);
      await page.close();
    }
  }
  await browser.close();
  await relay.close();
  writeFileSync(out, JSON.stringify({ ready_ms: readyMs, frame_p95_ms: p95, frame_worst_ms: worst, pods: PODS, flows_per_s: RATE }));
});
