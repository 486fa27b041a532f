import { describe, expect, test } from "vitest";
import { brief } from "./fixture";
import { type Graph, graphOf } from "./graph";
import { layout, ranks } from "./layout";

const overlapping = (graph: Graph) => {
  const { placed } = layout(graph);
  const list = [...placed];
  const bad: string[] = [];
  for (let i = 0; i < list.length; i++) {
    for (let j = i + 1; j < list.length; j++) {
      const [a, b] = [list[i]![1], list[j]![1]];
      if (a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height) bad.push(`${list[i]![0]} ${list[j]![0]}`);
    }
  }
  return bad;
};

function mesh(namespaces: number, workloads: number): Graph {
  const flows = [];
  for (let ns = 0; ns < namespaces; ns++) {
    for (let w = 0; w < workloads; w++) {
      flows.push(brief({ from: `n${ns}/w${w}`, to: `n${ns}/w${(w * 7 + 3) % workloads}`, port: 80 + (w % 3) }));
      flows.push(brief({ from: `n${ns}/w${w}`, to: `n${(ns + 1) % namespaces}/w${w}` }));
    }
  }
  return graphOf([...flows, brief({ from: "world", to: "n0/w0" }), brief({ from: "n0/w1", to: "host" })], "workload");
}

describe("ranks", () => {
  const out = (edges: Record<string, string[]>) => new Map(Object.entries(edges).map(([from, to]) => [from, new Set(to)]));
  test("each after those that call it", () => {
    expect([...ranks(["a", "b", "c", "d"], out({ a: ["b", "c"], b: ["c"], c: ["d"] }))].sort()).toEqual([["a", 0], ["b", 1], ["c", 2], ["d", 3]]);
  });
  test("circles end", () => {
    const rank = ranks(["a", "b", "c"], out({ a: ["b"], b: ["c"], c: ["a", "c"] }));
    expect(new Set(rank.values())).toEqual(new Set([0, 1, 2]));
  });
  test("a long chain costs no stack", () => {
    const ids = Array.from({ length: 20_000 }, (_, index) => `n${String(index).padStart(5, "0")}`);
    const edges = new Map(ids.slice(0, -1).map((id, index) => [id, new Set([ids[index + 1]!])]));
    expect(ranks(ids, edges).get(ids.at(-1)!)).toBe(19_999);
  });
});

describe("layout", () => {
  test("everything has a place, in its box, and nothing lies on anything else", () => {
    for (const graph of [mesh(1, 3), mesh(4, 9), mesh(12, 5)]) {
      expect(overlapping(graph)).toEqual([]);
      const { placed, boxes, width, height } = layout(graph);
      expect(placed.size).toBe(graph.nodes.size);
      for (const [id, at] of placed) {
        const box = boxes.find((each) => each.group === graph.nodes.get(id)!.group);
        if (graph.nodes.get(id)!.group) {
          expect(at.x).toBeGreaterThanOrEqual(box!.x);
          expect(at.x + at.width).toBeLessThanOrEqual(box!.x + box!.width);
          expect(at.y + at.height).toBeLessThanOrEqual(box!.y + box!.height);
        }
        expect(at.x).toBeGreaterThanOrEqual(0);
        expect(at.x + at.width).toBeLessThanOrEqual(width + 0.01);
        expect(at.y + at.height).toBeLessThanOrEqual(height + 0.01);
      }
    }
  });
  test("callers stand left of whom they call", () => {
    const { placed } = layout(graphOf([brief({ from: "world", to: "shop/web" }), brief(), brief({ from: "shop/api", to: "shop/db" }), brief({ from: "shop/api", to: "host" })], "workload"));
    const x = (id: string) => placed.get(id)!.x;
    expect(x("world")).toBeLessThan(x("workload:shop/web"));
    expect(x("workload:shop/web")).toBeLessThan(x("workload:shop/api"));
    expect(x("workload:shop/api")).toBeLessThan(x("workload:shop/db"));
    expect(x("workload:shop/db")).toBeLessThan(x("reserved:host"));
  });
  test("the order of flows does not matter", () => {
    const flows = [brief(), brief({ to: "shop/cart" }), brief({ from: "shop/cart", to: "pay/x" }), brief({ from: "world" })];
    const first = layout(graphOf(flows, "workload"));
    const second = layout(graphOf([...flows].reverse(), "workload"));
    const plain = ({ placed }: typeof first) => [...placed].map(([id, at]) => [id, at.x, at.y]).sort();
    expect(plain(second)).toEqual(plain(first));
  });
  test("a wide window gets a wide picture", () => {
    const ratio = (aspect: number) => {
      const { width, height } = layout(mesh(12, 5), aspect);
      return width / height;
    };
    expect(ratio(3)).toBeGreaterThan(ratio(0.8));
  });
  test("2,000 pods within a frame or two", () => {
    const graph = graphOf(mesh(50, 40).edges.size ? Array.from({ length: 4000 }, (_, index) => brief({ from: `n${index % 50}/w${index % 2000}`, to: `n${index % 50}/w${(index * 13) % 2000}` })) : [], "pod");
    const start = performance.now();
    layout(graph);
    expect(performance.now() - start).toBeLessThan(1000);
  });
  test("nothing is no picture", () => {
    expect(layout(graphOf([], "workload"))).toMatchObject({ width: 0, boxes: [] });
  });
});
