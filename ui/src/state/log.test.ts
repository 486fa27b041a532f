import { describe, expect, test } from "vitest";
import { brief } from "../model/fixture";
import { FlowLog } from "./log";

describe("the list of flows", () => {
  test("in order of time, each once", () => {
    const log = new FlowLog(100);
    log.add([brief({ uuid: "b", time: 2 }), brief({ uuid: "d", time: 4 })]);
    expect(log.add([brief({ uuid: "a", time: 1 }), brief({ uuid: "b", time: 2 }), brief({ uuid: "c", time: 3 })]).map((flow) => flow.id)).toEqual(["a", "c"]);
    expect(log.all.map((flow) => flow.id)).toEqual(["a", "b", "c", "d"]);
  });
  test("so many and no more, the oldest go", () => {
    const log = new FlowLog(100);
    for (let index = 0; index < 1000; index++) log.add([brief({ uuid: `u${index}`, time: index })]);
    expect(log.size).toBeLessThanOrEqual(125);
    expect(log.added).toBe(1000); // it only grows: what came while somebody read is the difference
    expect(log.all.at(-1)!.id).toBe("u999");
    expect(log.find("u0")).toBeUndefined();
    expect(log.find("u999")).toBeDefined();
    expect(log.add([brief({ uuid: "u0", time: 0 })])).toHaveLength(1); // it has been forgotten
  });
  test("what a filter lets go can come back", () => {
    const log = new FlowLog(10);
    log.add([brief({ uuid: "x", port: 80 }), brief({ uuid: "y", port: 443 })]);
    log.keep((flow) => flow.destination.port === 443);
    expect(log.all.map((flow) => flow.id)).toEqual(["y"]);
    expect(log.add([brief({ uuid: "x" })])).toHaveLength(1);
  });
});
