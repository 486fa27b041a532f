import { expect, test } from "vitest";
import { LineSplitter } from "./stream";

test("lines are found wherever the network cuts them", () => {
  const bytes = new TextEncoder().encode('{"a":"ä€"}\n\n{"b":2}\n{"c"');
  for (let size = 1; size <= bytes.length; size++) {
    const splitter = new LineSplitter();
    const lines: string[] = [];
    for (let at = 0; at < bytes.length; at += size) lines.push(...splitter.push(bytes.slice(at, at + size)));
    expect(lines).toEqual(['{"a":"ä€"}', '{"b":2}']);
    expect(splitter.unfinished).toBe('{"c"');
  }
});
