import { expect, test } from "vitest";
import { changeOf, compare, ordered } from "./diff";
import { brief } from "./fixture";
import { graphOf } from "./graph";

test("new, gone, more, less, and the same", () => {
  const seconds = { before: 60, after: 60 };
  expect(changeOf(0, 1, seconds)).toBe("added");
  expect(changeOf(3, 0, seconds)).toBe("removed");
  expect(changeOf(10, 30, seconds)).toBe("more");
  expect(changeOf(30, 10, seconds)).toBe("less");
  expect(changeOf(10, 15, seconds)).toBe("same");
  expect(changeOf(1, 3, seconds)).toBe("same"); // a handful says nothing
  expect(changeOf(60, 60, { before: 60, after: 600 })).toBe("less"); // per second
});

test("new drops come first", () => {
  const before = graphOf([brief(), brief({ to: "shop/old" })], "workload");
  const after = graphOf([brief(), brief({ to: "shop/new" }), brief({ to: "shop/api", verdict: "DROPPED" })], "workload");
  const result = compare(before, after, { before: 60, after: 60 });
  expect(ordered(result.edges.values()).map((each) => [each.target, each.change, each.verdict])).toEqual([
    ["workload:shop/api", "added", "dropped"], ["workload:shop/new", "added", "forwarded"], ["workload:shop/old", "removed", "forwarded"],
  ]);
  expect([...result.nodes.keys()].sort()).toEqual(["workload:shop/api", "workload:shop/new", "workload:shop/old", "workload:shop/web"]);
});
