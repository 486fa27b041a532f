import { describe, expect, test } from "vitest";
import { brief } from "./fixture";
import { endName, parseFlow, reasonText, splitUrl, summaryOf } from "./flow";

describe("what the relay says, as the page thinks of it", () => {
  test("an empty flow is a flow of which nothing is known", () => {
    const flow = parseFlow({});
    expect(flow).toMatchObject({ verdict: "other", protocol: "", reply: false, reason: "", bytes: 0 });
    expect(flow.source.reserved).toBe("world");
    expect(parseFlow({}).id).not.toBe(flow.id);
  });
  test("64-bit numbers come as text", () => {
    expect(parseFlow({ extensions: { bytes: "123456789", packets: "12" } })).toMatchObject({ bytes: 123456789, packets: 12 });
  });
  test("redirected to a proxy is let through", () => {
    expect(parseFlow({ verdict: "REDIRECTED" })).toMatchObject({ verdict: "forwarded", verdictWord: "REDIRECTED" });
  });
  test("what is outside is named: DNS name, else its address; both worlds are one", () => {
    const flow = parseFlow({ source: { labels: ["reserved:world-ipv6"] }, IP: { source: "2001:db8::1", destination: "1.2.3.4" }, destination: { labels: ["cidr:1.2.3.4/32", "reserved:world"] }, destination_names: ["api.example.com."] });
    expect(endName(flow.source)).toBe("2001:db8::1");
    expect(flow.source.reserved).toBe("world");
    expect(endName(flow.destination)).toBe("api.example.com");
  });
  test("a node that serves the API is the API", () => {
    expect(parseFlow({ destination: { labels: ["reserved:remote-node", "reserved:kube-apiserver"] } }).destination.reserved).toBe("kube-apiserver");
  });
  test("addresses of HTTP requests", () => {
    expect(splitUrl("http://api:8080/v1/items?x=1#y")).toEqual({ host: "api:8080", path: "/v1/items?x=1" });
    expect(splitUrl("/healthz")).toEqual({ host: "", path: "/healthz" });
    expect(splitUrl("https://api")).toEqual({ host: "api", path: "/" });
  });
  test("summaries", () => {
    expect(summaryOf(brief({ more: { l7: { latency_ns: "2500000", http: { code: 404, method: "GET", url: "http://a/b" } } } }))).toBe("404 GET /b in 2.5 ms");
    expect(summaryOf(brief({ more: { l7: { dns: { query: "a.example.", rcode: 3 } } } }))).toBe("a.example: no such name");
    expect(summaryOf(brief({ verdict: "DROPPED", more: { drop_reason_desc: "POLICY_DENIED" } }))).toBe("Policy denied");
    expect(summaryOf(brief({ more: { l4: { TCP: { flags: { SYN: true, ACK: true, FIN: false } } } } }))).toBe("SYN ACK");
  });
  test("drop reasons in words", () => {
    expect(reasonText("CT_MAP_INSERTION_FAILED")).toBe("CT map insertion failed");
    expect(reasonText("UNSUPPORTED_L3_PROTOCOL")).toBe("Unsupported L3 protocol");
  });
});
