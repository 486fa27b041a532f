// Pictures of the page, for people to look at: AXONEME_SHOTS=DIR. Not a test of its own; skipped without it.
import { mkdirSync } from "node:fs";
import { test } from "vitest";
import { WEB, launch } from "./browser";
import { large, shop } from "./cluster";
import { TestRelay } from "./relay";

const out = process.env.AXONEME_SHOTS ?? "";

test.skipIf(!out)("pictures", { timeout: 400_000 }, async () => {
  mkdirSync(out, { recursive: true });
  const only = process.env.AXONEME_SHOT_ONLY?.split(",");
  const relay = new TestRelay(shop(), WEB);
  relay.fill(900, 14);
  relay.run(40);
  await relay.listen();
  const big = new TestRelay(large(2000), WEB);
  big.fill(60, 500);
  big.run(500);
  await big.listen();
  const browser = await launch();
  const now = Math.floor(Date.now() / 1000);
  const drop = encodeURIComponent("edge:workload:shop/reports>workload:shop/postgres>TCP/5432>dropped");
  const shots: { name: string; url: string; theme?: "dark" | "light"; width?: number; height?: number; relay?: TestRelay; wait?: number; act?: (page: import("playwright-core").Page) => Promise<void> }[] = [
    { name: "live-light", url: "" },
    { name: "live-dark", url: "", theme: "dark" },
    { name: "namespace-light", url: "?ns=shop" },
    { name: "drop-dark", url: `?ns=shop&sel=${drop}`, theme: "dark" },
    { name: "drop-light", url: `?ns=shop&sel=${drop}` },
    { name: "node-light", url: "?ns=shop&sel=node:workload:shop/api" },
    { name: "policies-light", url: "?view=policies&ns=shop" },
    { name: "policies-dark", url: "?view=policies", theme: "dark" },
    { name: "compare-light", url: `?view=compare&t=${now - 120}-${now}&before=${now - 400}-${now - 200}` },
    { name: "past-dark", url: `?t=${now - 300}-${now - 60}`, theme: "dark" },
    { name: "right-light", url: "?dock=right", width: 1900, height: 1000 },
    { name: "narrow-light", url: "?ns=shop", width: 420, height: 860 },
    { name: "narrow-menu-dark", url: "", theme: "dark", width: 420, height: 860, act: async (page) => { await page.getByRole("button", { name: "Hide noisy peers" }).click(); } },
    { name: "narrow-drop-dark", url: `?ns=shop&sel=${drop}`, theme: "dark", width: 420, height: 860 },
    { name: "tablet-dark", url: "", theme: "dark", width: 900, height: 700 },
    { name: "filter-light", url: "?q=verdict:dropped", act: async (page) => { await page.fill(".filter input", "p"); } },
    { name: "nothing-light", url: "?q=port:9" },
    { name: "namespaces-dark", url: "?group=namespace", theme: "dark" },
    { name: "large-light", url: "", relay: big, wait: 3500 },
    { name: "large-pods-dark", url: "?group=pod", theme: "dark", relay: big, wait: 4500 },
    { name: "help-light", url: "", act: async (page) => { await page.keyboard.press("?"); } },
  ];
  for (const shot of shots) {
    if (only && !only.some((name) => shot.name.startsWith(name))) continue;
    const page = await browser.newPage({ viewport: { width: shot.width ?? 1440, height: shot.height ?? 900 }, colorScheme: shot.theme ?? "light" });
    page.on("console", (message) => { if (message.type() === "error") console.log(shot.name, message.text()); });
    page.on("pageerror", (error) => console.log(shot.name, error.message));
    await page.goto((shot.relay ?? relay).url + shot.url);
    await page.waitForTimeout(shot.wait ?? 1800);
    await shot.act?.(page);
    await page.waitForTimeout(200);
    await page.screenshot({ path: `${out}/${shot.name}.png` });
    await page.close();
  }
  await browser.close();
  await relay.close();
  await big.close();
});
