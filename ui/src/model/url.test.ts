import { expect, test } from "vitest";
import { INITIAL, type ViewState, formatView, parseView } from "./url";

test("a view goes into an address and comes back", () => {
  const state: ViewState = {
    namespace: "shop", query: 'verdict:dropped label:"a b" -ns:x', grouping: "label:app.kubernetes.io/name", view: "compare", period: { since: 1_700_000_000_000, until: 1_700_000_300_000 },
    before: { since: 1_699_999_000_000, until: 1_699_999_300_000 }, span: 360, selected: "edge:workload:a/b>world>TCP/443>dropped", hidden: ["dns", "host"], dock: "right",
  };
  expect(parseView(formatView(state))).toEqual(state);
  expect(formatView(INITIAL)).toBe("");
  expect(parseView("")).toEqual(INITIAL);
});

test("what an address says wrongly is not believed", () => {
  expect(parseView("?view=nothing&t=5-3&span=7&group=color&dock=top&hide=all,dns&before=x")).toEqual({ ...INITIAL, hidden: ["dns"] });
});
