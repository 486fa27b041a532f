// What people see when something is wrong; it must be said, and go away by itself when it is mended.
import { describe, expect } from "vitest";
import { nodesOf, rowsOf, test, until } from "./fixture";

describe.concurrent("faults", () => {
  test("no flows yet, then the first", async ({ open }) => {
    const { page, relay } = await open({ past: [0, 0] });
    await until(() => page.locator(".empty").innerText(), (text) => text.includes("No flows yet"));
    relay.run(20);
    await until(() => nodesOf(page), (list) => list.length > 2);
    expect(await page.locator(".empty").count()).toBe(0);
  });

  test("a filter that lets nothing through says so, and offers a way out", async ({ open }) => {
    const { page } = await open({ search: "?q=port:9&ns=shop" });
    await until(() => page.locator(".empty").innerText(), (text) => text.includes("Nothing matches"));
    await page.getByRole("button", { name: "Clear the filter" }).click();
    await until(() => nodesOf(page), (list) => list.length > 4);
  });

  test("the relay dies and comes back: what is shown stays, nothing is missed or doubled", async ({ open }) => {
    const { page, relay } = await open({ rate: 20, expectErrors: true });
    await until(() => rowsOf(page).count(), (count) => count > 5);
    relay.faults = { refuse: true };
    relay.drop();
    await until(() => page.locator(".banner").innerText(), (text) => text.includes("The relay cannot be reached"));
    expect((await nodesOf(page)).length).toBeGreaterThan(5);
    expect(await page.locator(".status").innerText()).toContain("Unreachable");
    await page.waitForTimeout(1200);
    relay.faults = {};
    await until(() => page.locator(".banner").count(), (count) => count === 0, 15);
    relay.stop();
    await page.waitForTimeout(700);
    const shown = Number(((await page.locator(".flows .note").innerText()).match(/[\d,]+/)?.[0] ?? "0").replaceAll(",", ""));
    const now = Date.now();
    const kept = relay.kept.filter((each) => each.time > now - 300_000).length;
    expect(shown).toBeGreaterThanOrEqual(kept - 60); // the oldest leave the window meanwhile
    expect(shown).toBeLessThanOrEqual(relay.kept.length);
  });

  test("a relay that is not there at all", async ({ open }) => {
    const { page } = await open({ expectErrors: true, prepare: (relay) => { relay.faults = { refuse: true }; } });
    await until(() => page.locator(".empty").innerText(), (text) => text.includes("The relay cannot be reached"));
  });

  test("a node that cannot be reached is named, until it is back", async ({ open }) => {
    const { page, relay } = await open({ rate: 10 });
    await until(() => nodesOf(page), (list) => list.length > 5);
    relay.setNode("kind/node-2", "NODE_UNAVAILABLE", "connection refused");
    const text = await until(() => page.locator(".banner").innerText(), (value) => value.includes("kind/node-2"));
    expect(text).toContain("connection refused");
    expect(await page.locator(".status").innerText()).toContain("2/3 nodes");
    relay.setNode("kind/node-2", "NODE_CONNECTED");
    await until(() => page.locator(".banner").count(), (count) => count === 0);
  });

  test("a relay that is not told of nodes says so", async ({ open }) => {
    const { page } = await open({ past: [0, 0], prepare: (relay) => { relay.faults = { blind: true }; relay.nodes = []; } });
    await until(() => page.locator(".banner").innerText(), (text) => text.includes("enable-hubble"));
  });

  test("lost events are counted, and said", async ({ open }) => {
    const { page, relay } = await open({ rate: 10 });
    await until(() => nodesOf(page), (list) => list.length > 5);
    relay.say({ lost: { source: "HUBBLE_RING_BUFFER", count: 1200, node: "kind/node-1" } });
    relay.say({ lost: { source: "HUBBLE_RING_BUFFER", count: 34, node: "kind/node-1" } });
    const text = await until(() => page.locator(".banner").innerText(), (value) => value.includes("1,234 events were lost"));
    expect(text).toContain("kind/node-1");
    await page.getByRole("button", { name: "Dismiss" }).click();
    await until(() => page.locator(".banner").count(), (count) => count === 0);
  });

  test("a relay without history still shows what is live", async ({ open }) => {
    const { page } = await open({ rate: 10, expectErrors: true, prepare: (relay) => { relay.faults = { history: 404 }; } });
    await until(() => nodesOf(page), (list) => list.length > 5);
    expect(await page.locator(".timeline .bars g").count()).toBe(0);
    expect(await page.locator(".timeline .chart").getAttribute("title")).toBe("Drag to look at a period"); // it has none, nothing is wrong
  });

  test("a history that fails says why", async ({ open }) => {
    const { page } = await open({ rate: 10, expectErrors: true, prepare: (relay) => { relay.faults = { history: 500 }; } });
    await until(() => page.locator(".timeline .chart").getAttribute("title"), (text) => text === "There is no history: no history");
  });

  test("more flows than are shown: it says that these are not all", async ({ open }) => {
    const now = Math.floor(Date.now() / 1000);
    const { page } = await open({ past: [300, 75], search: `?t=${now - 299}-${now}` });
    await until(() => page.locator(".flows .note").innerText(), (text) => text.includes("Only the latest 20,000"), 15);
  });
});
