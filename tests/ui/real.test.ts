// The page before the real axoneme-relay: only the agents are made up (tests/relay/relay_nodes.cpp).
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { WireFlow } from "../../ui/src/api/wire";
import { WEB, launch } from "./browser";
import { chooser, flowsOf, random, shop } from "./cluster";
import { nodesOf, rowsOf, until } from "./fixture";

const build = process.env.AXONEME_BUILD ?? "";
const relayProgram = `${build}/bin/axoneme-relay`;
const nodesProgram = `${build}/tests/relay_nodes`;
const there = build !== "" && existsSync(relayProgram) && existsSync(nodesProgram);

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

// Programs are needed that `ninja` makes; tests/ui/run.py says where they are.
describe.skipIf(!there)("the real relay", () => {
  const folder = mkdtempSync(join(tmpdir(), "axo-ui-"));
  const cluster = shop();
  const started: ChildProcess[] = [];
  let nodes: ChildProcess;
  let browser: Browser;
  let url = "";
  let port = 0;
  const next = random(3);
  const pick = chooser(cluster, next);

  const start = (program: string, words: string[]) => {
    const child = spawn(program, words, { stdio: ["pipe", "pipe", "pipe"] });
    started.push(child);
    child.stderr!.resume();
    child.stdin!.on("error", () => {}); // it has ended; a test says so
    return child;
  };
  const say = (line: unknown) => nodes.stdin!.write(`${JSON.stringify(line)}\n`);
  const feed = (flows: WireFlow[]) => {
    for (const flow of flows) {
      const extended = { ...flow, extensions: { "@type": "type.googleapis.com/axoneme.FlowCounters", ...flow.extensions } };
      say({ node: Math.max(0, cluster.nodes.indexOf(flow.node_name ?? "")), flow: extended });
    }
  };
  const startRelay = () => start(relayProgram, [
    "--listen-address", `unix://${folder}/relay.sock`, "--health-listen-address", "", "--web-listen-address", `127.0.0.1:${port}`, "--peer-service", `unix://${folder}/peers.sock`,
    "--disable-client-tls", "--disable-server-tls", "--web-root", WEB, "--object-store", `dir:${folder}/store`, "--sort-buffer-drain-timeout", "200ms", "--retry-timeout", "1s", "--cluster-name", "kind",
  ]);
  const up = () => until(async () => (await fetch(`${url}api/v1/status`).then((answer) => answer.json(), () => ({ nodes: [] }))) as { nodes: { state: string }[] }, (status) => status.nodes.filter((node) => node.state === "NODE_CONNECTED").length === 3);
  let relay: ChildProcess;

  beforeAll(async () => {
    mkdirSync(`${folder}/store`);
    cluster.policies.forEach((policy, index) => writeFileSync(`${folder}/store/${index}.json`, JSON.stringify(policy)));
    port = await freePort();
    url = `http://127.0.0.1:${port}/`;
    nodes = start(nodesProgram, [folder, ...cluster.nodes]);
    await new Promise<void>((resolve, reject) => {
      nodes.stdout!.once("data", () => resolve());
      nodes.once("exit", (code) => reject(new Error(`relay_nodes ended with ${code}`)));
    });
    const now = Date.now();
    for (let at = 60_000; at > 0; at -= 250) feed(flowsOf(cluster, pick(), now - at, next));
    relay = startRelay();
    await up();
    browser = await launch();
  });

  afterAll(async () => {
    await browser?.close();
    for (const child of started) child.kill();
    rmSync(folder, { recursive: true, force: true });
  });

  const open = async (search = ""): Promise<Page> => {
    const page = await browser.newPage({ viewport: { width: 1280, height: 800 }, reducedMotion: "reduce" });
    await page.goto(url + search);
    return page;
  };

  test("flows of three nodes become the picture, live ones too", async () => {
    const page = await open();
    const list = await until(() => nodesOf(page), (names) => names.length > 8);
    expect(list.some((text) => text.startsWith("web, Deployment"))).toBe(true);
    expect(await page.locator(".status").innerText()).toContain("3/3 nodes");
    await until(() => page.locator(".timeline .bars g").count(), (count) => count > 3);
    const before = await rowsOf(page).first().getAttribute("id");
    feed(flowsOf(cluster, cluster.calls[0]!, Date.now(), next));
    await until(() => rowsOf(page).first().getAttribute("id"), (id) => id !== before);
    await page.close();
  });

  test("filters are the relay's and the nodes'; why something was dropped is told", async () => {
    const drop = cluster.calls.find((call) => typeof call.to !== "string" && call.to.name === "postgres" && call.verdict === "DROPPED")!;
    feed(flowsOf(cluster, drop, Date.now(), next));
    const page = await open(`?ns=shop&q=verdict:dropped&sel=${encodeURIComponent("edge:workload:shop/reports>workload:shop/postgres>TCP/5432>dropped")}`);
    await until(() => page.locator(".panel pre").allInnerTexts(), (texts) => texts.some((text) => text.includes("kind: CiliumNetworkPolicy")));
    expect(await page.locator(".panel").innerText()).toContain("Policy denied");
    await page.close();
  });

  test("policies come from the store", async () => {
    const page = await open("?view=policies&ns=shop");
    await until(() => page.locator(".policy-item").count(), (count) => count === 3);
    await page.close();
  });

  test("a period of the history", async () => {
    const now = Math.floor(Date.now() / 1000);
    const page = await open(`?t=${now - 50}-${now}`);
    await until(() => rowsOf(page).count(), (count) => count > 5);
    expect(await page.locator(".status").innerText()).toContain("Past");
    await page.close();
  });

  test("a node goes and comes, the relay goes and comes", async () => {
    const page = await open();
    await until(() => nodesOf(page), (names) => names.length > 8);
    say({ stop: 1 });
    await until(() => page.locator(".banner").allInnerTexts(), (texts) => texts.some((text) => text.includes("kind/node-2")), 40);
    say({ start: 1 });
    await until(() => page.locator(".banner").count(), (count) => count === 0, 60);
    relay.kill("SIGKILL");
    await until(() => page.locator(".banner").allInnerTexts(), (texts) => texts.some((text) => text.includes("The relay cannot be reached")), 40);
    relay = startRelay();
    await up();
    await until(() => page.locator(".banner").count(), (count) => count === 0, 60);
    await page.close();
  });
});
