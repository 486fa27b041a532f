import { describe, expect, test } from "vitest";
import { compile, formatTerms, parseTerms, serverFilters, termProblem } from "./filter";
import { brief } from "./fixture";

const passes = (text: string, flow = brief()) => compile(parseTerms(text))(flow);

describe("the filter language", () => {
  test("reads and writes", () => {
    for (const text of ["verdict:dropped port:443", "-from.ns:kube-system", "to.label:app=web cart", 'label:"a b"', "ip:2001:db8::/32", "reply:false"]) {
      expect(formatTerms(parseTerms(text))).toBe(text);
    }
  });
  test("a word with an unknown key is text", () => {
    expect(parseTerms("10.0.0.1:8080")).toEqual([{ negated: false, side: "", key: "", value: "10.0.0.1:8080" }]);
    expect(parseTerms("image:latest")[0]).toMatchObject({ key: "", value: "image:latest" });
  });
  test("one key twice is either, two keys are both", () => {
    expect(passes("port:80 port:443")).toBe(true);
    expect(passes("port:443 port:8443")).toBe(false);
    expect(passes("port:80 verdict:dropped")).toBe(false);
    expect(passes("port:80 -ns:shop")).toBe(false);
    expect(passes("web api")).toBe(true);
    expect(passes("web nobody")).toBe(false);
  });
  test("sides", () => {
    expect(passes("from.workload:shop/web")).toBe(true);
    expect(passes("to.workload:shop/web")).toBe(false);
    expect(passes("workload:web")).toBe(true);
    expect(passes("pod:shop/we")).toBe(true);
    expect(passes("pod:other/we")).toBe(false);
  });
  test("a port is the server's, in answers too", () => {
    expect(passes("port:80", brief({ reply: true }))).toBe(true);
    expect(passes("port:40000")).toBe(false);
    expect(passes("from.port:40000")).toBe(true);
  });
  test("addresses and prefixes", () => {
    expect(passes("ip:10.0.0.0/8")).toBe(true);
    expect(passes("ip:10.0.0.3")).toBe(false);
    expect(passes("to.ip:10.0.0.1")).toBe(false);
    const v6 = brief({ more: { IP: { source: "2001:db8::5", destination: "::ffff:1.2.3.4" } } });
    expect(passes("ip:2001:db8::/32", v6)).toBe(true);
    expect(passes("ip:10.0.0.0/8", v6)).toBe(false);
  });
  test("labels: with and without source and value", () => {
    expect(passes("label:app=web")).toBe(true);
    expect(passes("label:k8s:app=web")).toBe(true);
    expect(passes("label:app")).toBe(true);
    expect(passes("label:ap")).toBe(false);
    expect(passes("entity:world", brief({ from: "world" }))).toBe(true);
    expect(passes("label:reserved:world", brief({ from: "world" }))).toBe(true);
  });
  test("layer 7", () => {
    const http = brief({ more: { l7: { http: { code: 503, method: "POST", url: "http://api/v1/orders?x=1" } } } });
    expect(passes("path:/v1", http)).toBe(true);
    expect(passes("path:~^/v\\d+/orders", http)).toBe(true);
    expect(passes("path:/v2", http)).toBe(false);
    expect(passes("status:5xx method:post", http)).toBe(true);
    expect(passes("status:503", http)).toBe(true);
    expect(passes("path:/")).toBe(false);
    const dns = brief({ more: { l7: { dns: { query: "api.example.com." } } } });
    expect(passes("dns:*.example.com", dns)).toBe(true);
    expect(passes("dns:example.com", dns)).toBe(false);
  });
  test("policies that decided", () => {
    const flow = brief({ more: { ingress_allowed_by: [{ name: "web", namespace: "shop", kind: "CiliumNetworkPolicy" }] } });
    expect(passes("policy:web", flow)).toBe(true);
    expect(passes("policy:shop/web", flow)).toBe(true);
    expect(passes("policy:other/web", flow)).toBe(false);
  });
  test("what is wrong is named, and filters nothing", () => {
    for (const text of ["port:99999", "port:http", "ip:10.0.0.0/33", "ip:fe80::1::2", "verdict:maybe", "identity:x", "status:6xx", "path:~(", "from.verdict:dropped", "direction:up", "reply:perhaps"]) {
      const [term] = parseTerms(text);
      expect(termProblem(term!), text).not.toBe("");
      expect(passes(text), text).toBe(true);
    }
  });
});

describe("what the relay is asked for", () => {
  test("nothing wanted, nothing asked", () => {
    expect(serverFilters([], "")).toEqual({ filter: [], exclude: [] });
  });
  test("a namespace is either side", () => {
    expect(serverFilters([], "shop").filter).toEqual([{ source_pod: ["shop/"] }, { destination_pod: ["shop/"] }]);
  });
  test("keys multiply, values add", () => {
    const { filter } = serverFilters(parseTerms("verdict:dropped verdict:audit label:app=web"), "shop");
    expect(filter).toHaveLength(4);
    for (const each of filter) expect(each.verdict).toEqual(["DROPPED", "AUDIT"]);
  });
  test("a pod and a namespace share Hubble's field: only one may use it", () => {
    const { filter } = serverFilters(parseTerms("pod:shop/web"), "shop");
    expect(filter).toEqual([{ source_pod: ["shop/web"] }, { destination_pod: ["shop/web"] }]);
  });
  test("what Hubble cannot say is left to the page", () => {
    expect(serverFilters(parseTerms("policy:web cart dns:a.b"), "")).toEqual({ filter: [], exclude: [] });
  });
  test("exclusions stand alone", () => {
    expect(serverFilters(parseTerms("-ns:kube-system -verdict:forwarded"), "").exclude).toEqual([
      { source_pod: ["kube-system/"] }, { destination_pod: ["kube-system/"] }, { verdict: ["FORWARDED", "REDIRECTED"] },
    ]);
  });
  test("never more than sixteen", () => {
    expect(serverFilters(parseTerms("label:a=b ip:10.0.0.1 identity:5 workload:w service:a/b"), "shop").filter.length).toBeLessThanOrEqual(16);
  });
});
