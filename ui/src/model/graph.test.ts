import { describe, expect, test } from "vitest";
import { brief } from "./fixture";
import { Graph, Rate, edgeCount, edgeRate, graphOf, portRate } from "./graph";

const T = 1_000_000_000;

describe("aggregation", () => {
  test("a request and its answer are one edge, from the client to the server's port", () => {
    const graph = graphOf([brief(), brief({ reply: true })], "workload");
    expect([...graph.edges.keys()]).toEqual(["workload:shop/web>workload:shop/api>TCP/80>forwarded"]);
    const [edge] = graph.edges.values();
    expect(edgeCount(edge!)).toBe(1);
    expect([...graph.nodes.get("workload:shop/api")!.ports.keys()]).toEqual(["TCP/80"]);
    expect(graph.nodes.get("workload:shop/web")!.ports.size).toBe(0);
  });
  test("seen where it left and where it arrived is one connection", () => {
    const graph = graphOf([brief({ direction: "EGRESS" }), brief({ direction: "INGRESS" })], "workload");
    const [edge] = graph.edges.values();
    expect(edgeCount(edge!)).toBe(1);
    const port = graph.nodes.get("workload:shop/api")!.ports.get("TCP/80")!;
    expect(edgeRate(edge!, graph.now, null)).toBeCloseTo(1 / 8);
    expect(portRate(port, graph.now, null)).toBeCloseTo(1 / 8);
    // Of a period as well.
    expect(edgeRate(edge!, graph.now, 10)).toBeCloseTo(1 / 10);
    expect(portRate(port, graph.now, 10)).toBeCloseTo(1 / 10);
  });
  test("drops are counted wherever they are, with their reasons", () => {
    const drop = (direction: "INGRESS" | "EGRESS", reason: string) => brief({ direction, verdict: "DROPPED", more: { drop_reason_desc: reason } });
    const graph = graphOf([drop("EGRESS", "POLICY_DENIED"), drop("INGRESS", "POLICY_DENIED"), drop("INGRESS", "CT_MAP_INSERTION_FAILED")], "workload");
    const [edge] = graph.edges.values();
    expect(edge!.verdict).toBe("dropped");
    expect(edgeCount(edge!)).toBe(3);
    expect(Object.fromEntries(edge!.reasons)).toEqual({ POLICY_DENIED: 2, CT_MAP_INSERTION_FAILED: 1 });
    expect(graph.nodes.get("workload:shop/api")!.dropped).toBe(3);
  });
  test("the policy's refusal and the drop of one packet are one drop", () => {
    const drop = (port: number, time: number) => brief({ time, verdict: "DROPPED", more: { drop_reason_desc: "POLICY_DENIED", l4: { TCP: { source_port: port, destination_port: 80 } } } });
    const graph = graphOf([drop(40001, T), drop(40001, T), drop(40002, T), drop(40002, T), drop(40002, T + 1000)], "workload");
    const [edge] = graph.edges.values();
    expect(edgeCount(edge!)).toBe(3);
    expect(graph.nodes.get("workload:shop/api")!.dropped).toBe(3);
  });
  test("what a pod sends before it uses its address is its labels' own", () => {
    const early = (labels: string[]) => brief({ more: { source: { identity: 1000, namespace: "shop", labels }, IP: { source: "::", destination: "ff02::16" } } });
    expect([...graphOf([early(["k8s:app=web"])], "workload").nodes.keys()]).toContain("workload:shop/web");
    expect([...graphOf([early([])], "workload").nodes.keys()]).toContain("workload:shop/::");
  });
  test("edges are apart by port and by verdict", () => {
    const graph = graphOf([brief(), brief({ port: 443 }), brief({ verdict: "DROPPED" }), brief({ verdict: "REDIRECTED" })], "workload");
    expect(graph.edges.size).toBe(3);
  });
  test("groupings", () => {
    const flows = [brief(), brief({ from: "world", to: "shop/web" }), brief({ from: "shop/web", to: "host", verdict: "DROPPED" })];
    const ids = (grouping: ConstructorParameters<typeof Graph>[0]) => [...graphOf(flows, grouping).nodes.keys()].sort();
    expect(ids("workload")).toEqual(["reserved:host", "workload:shop/api", "workload:shop/web", "world"]);
    expect(ids("pod")).toEqual(["pod:shop/api-0", "pod:shop/web-0", "reserved:host", "world"]);
    expect(ids("namespace")).toEqual(["ns:shop", "reserved:host", "world"]);
    expect(ids("label:app")).toEqual(["label:shop/api", "label:shop/web", "reserved:host", "world"]);
    expect(ids("label:team")).toEqual(ids("workload"));
  });
  test("names outside are nodes of their own, up to a number", () => {
    const graph = new Graph("workload");
    for (let index = 0; index < 60; index++) {
      graph.add(brief({ to: "world", more: { destination_names: [`host-${index}.example.com`] } }));
    }
    const outside = [...graph.nodes.values()].filter((node) => node.kind === "dns");
    expect(outside).toHaveLength(41);
    expect(outside.at(-1)!.title).toBe("other names");
  });
  test("what is not seen any more goes; its edges first", () => {
    const graph = graphOf([brief({ time: T }), brief({ time: T + 60_000, to: "shop/cart" })], "workload");
    const before = graph.shape;
    expect(graph.expire(T + 1)).toBe(true);
    expect([...graph.nodes.keys()].sort()).toEqual(["workload:shop/cart", "workload:shop/web"]);
    expect(graph.edges.size).toBe(1);
    expect(graph.shape).toBeGreaterThan(before);
    expect(graph.expire(T + 1)).toBe(false);
  });
  test("a port that nobody asks for any more goes, and drops that are over are no alarm", () => {
    const drop = { verdict: "DROPPED", port: 443 };
    const graph = graphOf([brief({ time: T, ...drop }), brief({ time: T, port: 80, verdict: "DROPPED" }), brief({ time: T + 60_000, port: 80 }), brief({ time: T + 60_000, port: 80, verdict: "DROPPED", from: "shop/cart" })], "workload");
    const api = graph.nodes.get("workload:shop/api")!;
    expect([...api.ports.keys()]).toEqual(["TCP/443", "TCP/80"]);
    expect(api.dropped).toBe(3);
    expect(graph.expire(T + 1)).toBe(true);
    expect([...api.ports.keys()]).toEqual(["TCP/80"]);
    expect(api.dropped).toBe(1);
    expect(api.ports.get("TCP/80")!.dropped.count).toBe(1);
  });
  test("names that have gone leave their place to others", () => {
    const graph = new Graph("workload");
    const named = (name: string, time: number) => brief({ to: "world", time, more: { destination_names: [name] } });
    for (let index = 0; index < 41; index++) graph.add(named(`host-${index}.example.com`, T));
    graph.add(named("host-0.example.com", T + 60_000));
    graph.expire(T + 1);
    graph.add(named("new.example.com", T + 60_000));
    expect([...graph.nodes.values()].filter((node) => node.kind === "dns").map((node) => node.title)).toEqual(["host-0.example.com", "new.example.com"]);
  });
  test("the sample is the latest request, not an answer", () => {
    const graph = graphOf([brief({ uuid: "request", time: T }), brief({ uuid: "answer", reply: true, time: T + 1 })], "workload");
    expect([...graph.edges.values()][0]!.sample.id).toBe("request");
  });
});

describe("rates", () => {
  test("settle at what happens per second, and fall when it stops", () => {
    const rate = new Rate();
    for (let step = 0; step < 600; step++) rate.add(T + step * 100);
    expect(rate.perSecond(T + 60_000)).toBeGreaterThan(9);
    expect(rate.perSecond(T + 60_000)).toBeLessThan(11);
    expect(rate.perSecond(T + 100_000)).toBeLessThan(0.1);
    expect(rate.count).toBe(600);
  });
  test("do not depend on the order of arrival", () => {
    const times = [0, 300, 900, 1500, 4000].map((at) => T + at);
    const forward = new Rate();
    const backward = new Rate();
    for (const time of times) forward.add(time);
    for (const time of [...times].reverse()) backward.add(time);
    expect(backward.perSecond(T + 5000)).toBeCloseTo(forward.perSecond(T + 5000), 10);
  });
});
