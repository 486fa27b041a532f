// The page as people use it, in a browser, against a relay that is made up.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { describe, expect } from "vitest";
import type { Page } from "playwright-core";
import { flowsOf, large, random } from "./cluster";
import { nodesOf, rowsOf, test, until } from "./fixture";

const DROP = "edge:workload:shop/reports>workload:shop/postgres>TCP/5432>dropped";
/** What the page itself says: the browser's word of a new address comes some time later. */
const search = async (page: Page) => new URLSearchParams(await page.evaluate(() => location.search));

describe.concurrent("the picture", () => {
  test("shows who talks, in the map and in the table", async ({ open }) => {
    const { page } = await open({ rate: 30 });
    const rare = [/^Host, node, drops/, /^api\.stripe\.com/]; // few flows bring them
    const nodes = await until(() => nodesOf(page), (list) => list.length >= 14 && rare.every((node) => list.some((text) => node.test(text))));
    expect(nodes.some((text) => text.startsWith("web, Deployment · 3 pods"))).toBe(true);
    expect(nodes.some((text) => /^World, outside the cluster/.test(text))).toBe(true);
    expect(nodes.some((text) => /^Host, node, drops/.test(text))).toBe(true); // a drop to the host is seen
    expect(nodes.some((text) => text.startsWith("api.stripe.com"))).toBe(true);
    expect(await rowsOf(page).count()).toBeGreaterThan(5);
    // Only the rows in view exist.
    expect(await rowsOf(page).count()).toBeLessThan(60);
    expect(await page.locator(".status").innerText()).toContain("Live");
  });

  test("groups by pod, namespace and label; the link says so", async ({ open }) => {
    const { page } = await open();
    await page.getByRole("button", { name: /Group by/ }).click();
    await page.getByRole("option", { name: "Namespace", exact: true }).click();
    await until(() => nodesOf(page), (list) => list.some((text) => text.startsWith("shop, ")) && !list.some((text) => text.startsWith("web")));
    expect((await search(page)).get("group")).toBe("namespace");
    await page.goBack();
    await until(() => nodesOf(page), (list) => list.some((text) => text.startsWith("web, ")));
    await page.goto(page.url().split("?")[0] + "?group=label:app");
    await until(() => nodesOf(page), (list) => list.some((text) => text.startsWith("web, app")));
  });

  test("one namespace, and what it talks to", async ({ open }) => {
    const { page, relay } = await open();
    await page.getByRole("button", { name: /Namespace/ }).click();
    await page.getByRole("option", { name: "payments" }).click();
    const nodes = await until(() => nodesOf(page), (list) => list.length > 0 && !list.some((text) => text.startsWith("redis")));
    expect(nodes.some((text) => text.startsWith("api,"))).toBe(true); // it calls payments
    expect((await search(page)).get("ns")).toBe("payments");
    // The relay sends no more than that.
    expect(relay.requests.some((each) => decodeURIComponent(each).includes('"source_pod":["payments/"]'))).toBe(true);
  });

  test("noisy peers can be left out; drops cannot", async ({ open }) => {
    const { page } = await open();
    await until(() => nodesOf(page), (list) => list.some((text) => text.startsWith("coredns")));
    await page.getByRole("button", { name: "Hide noisy peers" }).click();
    await page.getByLabel("DNS", { exact: true }).check();
    await page.getByLabel("Hosts and health checks").check();
    const nodes = await until(() => nodesOf(page), (list) => !list.some((text) => text.startsWith("coredns")));
    expect(nodes.some((text) => text.startsWith("Host, node, drops"))).toBe(true);
    expect((await search(page)).get("hide")).toBe("dns,host");
  });
});

describe.concurrent("what is selected", () => {
  /** Pixels of lines that are not faded: nothing else in the picture is so blue. */
  const blue = (page: Page) => page.locator(".map canvas").first().evaluate((canvas) => {
    const { width, height } = canvas as HTMLCanvasElement;
    const { data } = (canvas as HTMLCanvasElement).getContext("2d")!.getImageData(0, 0, width, height);
    let count = 0;
    for (let at = 0; at < data.length; at += 4) if (data[at + 2]! - data[at + 1]! > 20) count++;
    return count;
  });

  test("all else fades for what is in the picture, for nothing else", async ({ open }) => {
    const now = Math.floor(Date.now() / 1000);
    const { page, relay } = await open({ past: [100, 15], search: `?t=${now - 90}-${now}&sel=node:workload:shop/gone` });
    const address = page.url();
    const of = async (selected: string) => {
      await page.goto(address.replace("node%3Aworkload%3Ashop%2Fgone", encodeURIComponent(selected)).replace("node:workload:shop/gone", encodeURIComponent(selected)));
      await until(() => page.locator(".panel h2").count(), (count) => count === 1);
      await until(() => nodesOf(page), (list) => list.length >= 14);
      return until(() => blue(page), (count) => count > 0);
    };
    const gone = await of("node:workload:shop/gone");
    const flow = await of(`flow:${relay.kept.at(-20)!.flow.uuid}`);
    const few = await of("node:workload:payments/ledger");
    expect(gone).toBeGreaterThan(few * 2);
    expect(flow).toBeGreaterThan(few * 2);
  });

  test("of a period the panel says what the map says", async ({ open }) => {
    const now = Math.floor(Date.now() / 1000);
    const { page } = await open({
      past: [0, 0], search: `?t=${now - 100}-${now}&sel=${encodeURIComponent("edge:workload:shop/cart>workload:shop/redis>TCP/6379>forwarded")}`,
      prepare: (relay) => {
        // Fifty connections, each seen where it left and where it arrives.
        const call = relay.cluster.calls.find(({ port, verdict }) => port === 6379 && !verdict)!;
        for (let at = 0; at < 50; at++) relay.emit(flowsOf(relay.cluster, call, (now - 90 + at) * 1000, random(at)));
      },
    });
    const panel = page.locator(".panel");
    await until(() => panel.innerText(), (text) => text.includes("50 times"));
    expect(await panel.locator("dl").innerText()).toContain("0.5/s");
    await panel.getByRole("button", { name: /shop\/redis/ }).click();
    await until(() => panel.locator(".links .value").first().innerText(), (text) => text === "0.5/s");
  });
});

describe.concurrent("filters", () => {
  test("are typed with proposals, become chips and part of the link", async ({ open }) => {
    const { page, relay } = await open();
    await until(() => nodesOf(page), (list) => list.length > 5);
    await page.keyboard.press("/");
    await page.keyboard.type("verd");
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("Enter");
    await page.keyboard.type("dro");
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("Enter");
    await until(() => page.locator(".chip").innerText(), (text) => text.includes("dropped"));
    await until(() => rowsOf(page).locator(".badge").allInnerTexts(), (list) => list.length > 3 && list.every((text) => text === "Dropped"));
    expect((await search(page)).get("q")).toBe("verdict:dropped");
    expect(relay.requests.some((each) => decodeURIComponent(each).includes('filter={"verdict":["DROPPED"]}'))).toBe(true);
    await page.getByRole("button", { name: "Remove verdict:dropped" }).click();
    await until(() => page.locator(".chip").count(), (count) => count === 0);
    await until(() => nodesOf(page), (list) => list.length >= 14); // what was left out comes back
  });

  test.for<[string, string]>([
    ["port:6379", "6379"],
    ["path:/cart", "/cart"],
    ["dns:api.stripe.com", "api.stripe.com"],
    ["policy:shop/postgres", "5432"],
    ["label:app=ledger", "ledger"],
    ["ip:203.0.113.0/24", "203.0.113."],
    ["proto:DNS", "53"],
  ])("%s", async ([query, expected], { open }) => {
    const { page } = await open({ search: `?q=${encodeURIComponent(query)}` });
    const rows = await until(() => rowsOf(page).allInnerTexts(), (list) => list.length > 0);
    for (const row of rows) expect(row).toContain(expected);
  });

  test("a wrong word is named", async ({ open }) => {
    const { page } = await open({ search: "?q=port:http" });
    expect(await page.getByRole("alert").innerText()).toContain("port:http is no port");
    await until(() => nodesOf(page), (list) => list.length > 5);
  });

  test("verdict buttons", async ({ open }) => {
    const { page } = await open();
    await page.getByRole("button", { name: /^Audit/ }).click();
    await until(() => rowsOf(page).locator(".badge").allInnerTexts(), (list) => list.length > 0 && list.every((text) => text === "Audit"));
    expect((await search(page)).get("q")).toBe("verdict:audit");
  });
});

describe.concurrent("why something was dropped", () => {
  test("a dropped edge opens the explanation and the policy that would allow it", async ({ open }) => {
    const { page } = await open({ search: `?ns=shop&sel=${encodeURIComponent(DROP)}` });
    const panel = page.locator(".panel");
    await until(() => panel.innerText(), (text) => text.includes("accepts TCP/5432 only from app=api"));
    const yaml = await panel.locator("pre").innerText();
    expect(yaml).toContain("name: allow-reports-to-postgres");
    expect(await panel.innerText()).toContain("Suggested by the node that dropped it");
    expect(await panel.getByRole("link", { name: "Download" }).getAttribute("download")).toBe("allow-reports-to-postgres.yaml");
  });

  test("by pointing at the line on the map", { timeout: 90_000 }, async ({ open }) => {
    const { page } = await open({ search: "?ns=shop&q=verdict:dropped" });
    await until(() => nodesOf(page), (list) => list.length >= 4);
    const box = (await page.locator(".map").boundingBox())!;
    // From the middle outwards, down lines that the edge must cross.
    let found = "";
    for (const part of [0.5, 0.4, 0.6, 0.3, 0.7, 0.2, 0.8]) {
      for (let y = box.y + 20; y < box.y + box.height - 20 && !found; y += 9) {
        const x = box.x + box.width * part;
        await page.mouse.move(x, y);
        await page.waitForTimeout(28);
        const tip = await page.locator(".tip").allInnerTexts();
        if (tip[0]?.includes("reports → postgres")) {
          found = tip[0];
          await page.mouse.click(x, y);
        }
      }
      if (found) break;
    }
    expect(found).toContain("dropped");
    expect((await search(page)).get("sel")).toBe(DROP);
    await until(() => page.locator(".panel").innerText(), (text) => text.includes("Policy denied"));
  });

  test("without the agent's words, from labels", async ({ open }) => {
    const id = encodeURIComponent("edge:workload:shop/cart>reserved:host>TCP/10250>dropped");
    const { page } = await open({ search: `?sel=${id}` });
    const text = await until(() => page.locator(".panel pre").innerText(), (value) => value.includes("toEntities"));
    expect(text).toContain("app: cart");
    expect(await page.locator(".panel").innerText()).toContain("Made from the labels of both ends");
  });

  test("a rule that denies is named, and nothing is suggested", async ({ open }) => {
    const id = encodeURIComponent("edge:workload:shop/reports>world>TCP/25>dropped");
    const { page } = await open({ search: `?sel=${id}` });
    await until(() => page.locator(".panel").innerText(), (text) => text.includes("shop/no-mail"));
    expect(await page.locator(".panel pre").count()).toBe(0);
  });
});

describe.concurrent("time", () => {
  test("drag on the bar to look at a period; Live goes back", async ({ open }) => {
    const { page, relay } = await open({ past: [600, 10], rate: 20 });
    await until(() => page.locator(".timeline .bars g").count(), (count) => count > 20);
    const box = (await page.locator(".timeline .chart").boundingBox())!;
    await page.mouse.move(box.x + box.width * 0.5, box.y + 20);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width * 0.7, box.y + 20, { steps: 5 });
    await page.mouse.up();
    await until(async () => (await search(page)).get("t") ?? "", (text) => /^\d+-\d+$/.test(text));
    const [since, until_] = (await search(page)).get("t")!.split("-").map(Number) as [number, number];
    expect(until_ - since).toBeGreaterThan(120);
    expect(until_ - since).toBeLessThan(240);
    await until(() => page.locator(".status").innerText(), (text) => text.includes("Past"));
    await until(() => rowsOf(page).count(), (count) => count > 5);
    expect(relay.requests.some((each) => each.includes("until=") && each.includes("/flows") && !each.includes("follow"))).toBe(true);
    // Keys move the ends.
    await page.getByRole("slider", { name: "End" }).focus();
    await page.keyboard.press("ArrowLeft");
    await until(async () => (await search(page)).get("t") ?? "", (text) => text !== `${since}-${until_}`);
    await page.getByRole("button", { name: "Live" }).click();
    await until(() => page.locator(".status").innerText(), (text) => text.includes("Live"));
    expect((await search(page)).get("t")).toBeNull();
  });

  test("a drag that the system takes away chooses nothing", async ({ open }) => {
    const { page } = await open();
    await until(() => page.locator(".timeline .bars g").count(), (count) => count > 5);
    const chart = page.locator(".timeline .chart");
    const box = (await chart.boundingBox())!;
    await page.mouse.move(box.x + box.width * 0.5, box.y + 20);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width * 0.6, box.y + 20, { steps: 3 });
    await until(() => page.locator(".timeline .range").count(), (count) => count === 1);
    await chart.dispatchEvent("pointercancel");
    await until(() => page.locator(".timeline .range").count(), (count) => count === 0);
    await page.mouse.move(box.x + box.width * 0.7, box.y + 20, { steps: 3 });
    await page.mouse.up();
    expect(await page.locator(".timeline .range").count()).toBe(0);
    expect((await search(page)).get("t")).toBeNull();
  });

  test("what is read stays where it is while new flows come", async ({ open }) => {
    const { page } = await open({ rate: 60 });
    await until(() => rowsOf(page).count(), (count) => count > 5);
    await page.locator(".grid-body").evaluate((element) => { element.scrollTop = 2000; });
    await until(() => page.getByRole("button", { name: /newer/ }).count(), (count) => count === 1);
    const newer = page.getByRole("button", { name: /newer/ });
    const before = await rowsOf(page).first().innerText();
    const count = async () => Number(/[\d,]+/.exec(await newer.innerText())![0].replace(",", ""));
    const first = await count();
    await until(count, (now) => now > first + 30);
    expect(await rowsOf(page).first().innerText()).toBe(before);
    await newer.click();
    await until(() => page.locator(".grid-body").evaluate((element) => element.scrollTop), (top) => top === 0);
  });

  test("two periods side by side", async ({ open }) => {
    const now = Math.floor(Date.now() / 1000);
    const { page } = await open({
      past: [0, 0], search: `?view=compare&t=${now - 60}-${now}&before=${now - 160}-${now - 100}`,
      prepare: (relay) => {
        relay.fill(60, 20, (now - 100) * 1000);
        const quiet = relay.kept.filter(({ flow }) => flow.destination?.workloads?.[0]?.name !== "redis" && flow.source?.workloads?.[0]?.name !== "redis");
        relay.kept = quiet;
        relay.fill(60, 20, now * 1000);
      },
    });
    const list = await until(() => page.locator(".change").allInnerTexts(), (texts) => texts.length > 0);
    expect(list.some((text) => /new/.test(text) && text.includes("shop/cart → shop/redis"))).toBe(true);
    expect(await page.locator(".panel h2").innerText()).toMatch(/difference/);
  });
});

describe.concurrent("policies as a picture", () => {
  test("who is closed, who may call, what the policy says", async ({ open }) => {
    const { page, relay } = await open({ search: "?view=policies&ns=shop" });
    await until(() => page.locator(".policy-item").count(), (count) => count === 3);
    await page.locator(".policy-item", { hasText: "shop/postgres" }).click();
    const panel = page.locator(".panel");
    expect(await panel.innerText()).toContain("ingress");
    expect(await panel.locator("pre").innerText()).toContain("app: postgres");
    expect((await search(page)).get("sel")).toBe("policy:CiliumNetworkPolicy shop/postgres");
    // They are not asked for again because somebody looks at one.
    expect(relay.requests.filter((each) => each.startsWith("/api/v1/policies"))).toHaveLength(1);
  });

  test("grouped by namespace they are those of workloads all the same", async ({ open }) => {
    const { page } = await open({ search: "?view=policies&ns=shop&group=namespace" });
    await until(() => page.locator(".policy-item", { hasText: "shop/postgres" }).allInnerTexts(), (list) => list[0]?.includes("selects 1") ?? false);
    expect((await nodesOf(page)).some((text) => text.startsWith("postgres, "))).toBe(true);
  });
});

describe.concurrent("keys", () => {
  test("the map without a mouse", async ({ open }) => {
    const { page } = await open({ search: "?ns=shop" });
    await until(() => nodesOf(page), (list) => list.length > 5);
    await page.keyboard.press("m");
    await page.keyboard.press("ArrowRight");
    const first = await until(async () => (await search(page)).get("sel") ?? "", (text) => text.startsWith("node:"));
    await page.keyboard.press("ArrowRight");
    await until(async () => (await search(page)).get("sel") ?? "", (text) => text.startsWith("node:") && text !== first);
    expect(await page.locator(".panel h2").count()).toBe(1);
    expect(await page.locator(".map-keys").getAttribute("aria-activedescendant")).toMatch(/^map-/);
    await page.keyboard.press("Escape");
    await until(() => page.locator(".panel").count(), (count) => count === 0);
  });

  test("the table without a mouse", async ({ open }) => {
    const { page } = await open();
    await until(() => rowsOf(page).count(), (count) => count > 5);
    await page.locator(".grid-body").focus();
    for (const key of ["ArrowDown", "ArrowDown", "PageDown", "Enter"]) await page.keyboard.press(key);
    await until(async () => (await search(page)).get("sel") ?? "", (text) => text.startsWith("flow:"));
    await until(() => page.locator(".panel dl").count(), (count) => count > 0);
  });

  test("help, table, theme", async ({ open }) => {
    const { page } = await open();
    await page.keyboard.press("?");
    await until(() => page.getByRole("dialog").count(), (count) => count === 1);
    await page.keyboard.press("Escape");
    await until(() => page.getByRole("dialog").count(), (count) => count === 0);
    await page.keyboard.press("t");
    await until(() => page.locator(".grid").count(), (count) => count === 0);
    await page.keyboard.press("d");
    expect(await page.evaluate(() => document.documentElement.dataset.theme)).toBe("dark");
    await page.reload();
    expect(await page.evaluate(() => document.documentElement.dataset.theme)).toBe("dark");
  });
});

describe.concurrent("a link shows the same picture", () => {
  test("everything is in it", async ({ open, browser }) => {
    const { page } = await open({ search: "?ns=shop" });
    await until(() => nodesOf(page), (list) => list.length > 5);
    await page.locator('[data-node="workload:shop/api"]').dispatchEvent("click");
    await until(() => page.locator(".panel h2").allInnerTexts(), (list) => list[0] === "api");
    const other = await browser.newPage();
    await other.goto(await page.evaluate(() => location.href));
    await until(() => other.locator(".panel h2").allInnerTexts(), (list) => list[0] === "api");
    expect(await other.title()).toBe("Axoneme: shop");
    await other.close();
  });
});

describe.concurrent("for everybody (axe)", () => {
  const axe = readFileSync(createRequire(new URL("../../ui/package.json", import.meta.url)).resolve("axe-core/axe.min.js"), "utf8");
  const second = (ago: number) => Math.floor(Date.now() / 1000) - ago;
  // With what shows that all of it is there.
  const views: [string, () => string, string[]][] = [
    ["traffic", () => "", [".legend", ".grid-body [role=row]", ".timeline .bars g"]],
    ["a drop", () => `?sel=${encodeURIComponent(DROP)}`, [".panel pre", ".timeline .bars g"]],
    ["a node", () => "?sel=node:workload:shop/api", [".panel .links", ".timeline .bars g"]],
    ["policies", () => "?view=policies", [".policy-item", ".legend"]],
    ["a filter that finds nothing", () => "?q=port:9", [".empty .button"]],
    ["a period", () => `?t=${second(90)}-${second(20)}`, [".legend", ".grid-body [role=row]", ".timeline .range"]],
  ];
  for (const theme of ["light", "dark"] as const) {
    test.for(theme === "dark" ? views.slice(0, 4) : views)(`${theme}: %s`, async ([, link, complete], { open }) => {
      const { page } = await open({ search: link(), theme });
      for (const selector of complete) await until(() => page.locator(selector).count(), (count) => count > 0);
      await page.evaluate(axe);
      const found = await page.evaluate(async () => {
        const result = await (window as unknown as { axe: { run: (options: unknown) => Promise<{ violations: { id: string; nodes: { target: string[]; failureSummary: string }[] }[] }> } }).axe.run({ runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"] });
        return result.violations.map((violation) => `${violation.id}: ${violation.nodes.slice(0, 3).map((node) => `${node.target.join(" ")} (${node.failureSummary.slice(0, 200)})`).join("; ")}`);
      });
      expect(found.join("\n")).toBe("");
    });
  }
});

// Frames are timed: nothing runs beside it.
describe("many", () => {
  test("2,000 pods and 500 flows a second leave the page usable", async ({ open }) => {
    const { page } = await open({ cluster: large(2000), past: [20, 500], rate: 500, search: "?group=pod" });
    await until(() => page.locator(".map-keys").getAttribute("aria-label"), (text) => Number(/(\d+) nodes/.exec(text ?? "")?.[1] ?? 0) > 1000, 20);
    const frames = await page.evaluate(
      () => new Promise<number[]>((resolve) => {
        const gaps: number[] = [];
        let last = performance.now();
        const next = (now: number) => {
          gaps.push(now - last);
          last = now;
          if (gaps.length < 150) requestAnimationFrame(next);
          else resolve(gaps);
        };
        requestAnimationFrame(next);
      }),
    );
    frames.sort((a, b) => a - b);
    // The benchmark has the figures; here a machine with other work must not fail, a page that freezes must.
    expect(frames[Math.floor(frames.length * 0.9)]!).toBeLessThan(250);
    expect(frames.at(-1)!).toBeLessThan(3000);
  });
});
