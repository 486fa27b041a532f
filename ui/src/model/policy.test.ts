import { describe, expect, test } from "vitest";
import type { WireObject } from "../api/wire";
import { type Known, drawPolicies, selects } from "./policy";

const pod = (namespace: string, app: string, more: string[] = []): Known => ({
  id: `workload:${namespace}/${app}`, namespace, title: app, subtitle: "Deployment", kind: "pod", reserved: "",
  labels: [`k8s:app=${app}`, `k8s:io.kubernetes.pod.namespace=${namespace}`, ...more],
});
const ALL = [pod("shop", "web"), pod("shop", "api", ["k8s:tier=back"]), pod("shop", "db", ["k8s:tier=back"]), pod("mon", "prom")];

const cnp = (name: string, spec: Record<string, unknown>, kind = "CiliumNetworkPolicy"): WireObject => ({ kind, metadata: kind.includes("Clusterwide") ? { name } : { name, namespace: "shop" }, spec });
const draw = (policies: WireObject[], only = "") => {
  const picture = drawPolicies({ policies, namespaces: [{ name: "mon", labels: { team: "sre" } }] }, ALL, only);
  return { picture, edges: [...picture.edges.keys()].sort() };
};

describe("selectors", () => {
  const api = ALL[1]!;
  test("expressions", () => {
    expect(selects({ matchExpressions: [{ key: "tier", operator: "In", values: ["back", "front"] }] }, api)).toBe(true);
    expect(selects({ matchExpressions: [{ key: "tier", operator: "NotIn", values: ["back"] }] }, api)).toBe(false);
    expect(selects({ matchExpressions: [{ key: "none", operator: "NotIn", values: ["x"] }] }, api)).toBe(true);
    expect(selects({ matchExpressions: [{ key: "none", operator: "Exists" }] }, api)).toBe(false);
    expect(selects({ matchExpressions: [{ key: "none", operator: "DoesNotExist" }] }, api)).toBe(true);
    expect(selects({ matchExpressions: [{ key: "tier", operator: "Nonsense" }] }, api)).toBe(false);
  });
  test("sources of labels", () => {
    for (const key of ["app", "k8s:app", "any:app", "k8s.app"]) expect(selects({ matchLabels: { [key]: "api" } }, api), key).toBe(true);
    expect(selects({ matchLabels: { "container:app": "api" } }, api)).toBe(false);
  });
});

describe("Cilium's policies", () => {
  test("ingress from some at a port", () => {
    const { edges, picture } = draw([cnp("api", { endpointSelector: { matchLabels: { app: "api" } }, ingress: [{ fromEndpoints: [{ matchLabels: { app: "web" } }], toPorts: [{ ports: [{ port: "80", protocol: "TCP" }] }] }] })]);
    expect(edges).toEqual(["workload:shop/web>workload:shop/api>TCP/80>allow"]);
    expect(picture.closed.get("workload:shop/api")).toEqual({ ingress: true, egress: false });
    expect(picture.closed.has("workload:shop/web")).toBe(false);
  });
  test("a selector without namespace means the policy's own", () => {
    const { edges } = draw([cnp("api", { endpointSelector: { matchLabels: { app: "api" } }, ingress: [{ fromEndpoints: [{ matchLabels: { app: "prom" } }] }, { fromEndpoints: [{ matchLabels: { "k8s:io.kubernetes.pod.namespace": "mon" } }] }] })]);
    expect(edges).toEqual(["workload:mon/prom>workload:shop/api>any>allow"]);
  });
  test("an empty rule closes and allows nothing", () => {
    const { edges, picture } = draw([cnp("deny", { endpointSelector: {}, ingress: [{}] })]);
    expect(edges).toEqual([]);
    expect(picture.policies[0]!.subjects).toHaveLength(3);
    expect([...picture.closed.values()].every((each) => each.ingress && !each.egress)).toBe(true);
  });
  test("all pods of a namespace, and everything, are one node each", () => {
    expect(draw([cnp("x", { endpointSelector: {}, egress: [{ toEntities: ["all"] }] })]).edges).toEqual(["all:shop>entity:all>any>allow"]);
  });
  test("denials, names, prefixes, entities", () => {
    const { edges, picture } = draw([cnp("x", { endpointSelector: { matchLabels: { app: "web" } }, egressDeny: [{ toEntities: ["world"] }], egress: [{ toFQDNs: [{ matchPattern: "*.a.com" }] }, { toCIDRSet: [{ cidr: "10.0.0.0/8" }] }, { toEntities: ["kube-apiserver"] }] })]);
    expect(edges).toEqual([
      "workload:shop/web>cidr:10.0.0.0/8>any>allow", "workload:shop/web>dns:*.a.com>any>allow", "workload:shop/web>reserved:kube-apiserver>any>allow", "workload:shop/web>world>any>deny",
    ]);
    expect(picture.nodes.get("dns:*.a.com")!.kind).toBe("dns");
  });
  test("clusterwide, and not closing when it says so", () => {
    const { edges, picture } = draw([cnp("x", { endpointSelector: { matchLabels: { app: "prom" } }, enableDefaultDeny: { egress: false }, egress: [{ toEndpoints: [{ matchLabels: { tier: "back" } }] }] }, "CiliumClusterwideNetworkPolicy")]);
    expect(edges).toEqual(["workload:mon/prom>workload:shop/api>any>allow", "workload:mon/prom>workload:shop/db>any>allow"]);
    expect(picture.closed.get("workload:mon/prom")).toEqual({ ingress: false, egress: false });
  });
  test("two policies with the same rule are one line that names both", () => {
    const spec = { endpointSelector: { matchLabels: { app: "api" } }, ingress: [{ fromEndpoints: [{ matchLabels: { app: "web" } }] }] };
    const { picture } = draw([cnp("a", spec), cnp("b", spec)]);
    expect([...picture.edges.values()][0]!.policies).toEqual(["CiliumNetworkPolicy shop/a", "CiliumNetworkPolicy shop/b"]);
  });
});

describe("Kubernetes' policies", () => {
  const np = (spec: Record<string, unknown>): WireObject => ({ kind: "NetworkPolicy", metadata: { name: "np", namespace: "shop" }, spec });
  test("namespaces are selected by their labels", () => {
    const { edges } = draw([np({ podSelector: { matchLabels: { app: "api" } }, ingress: [{ from: [{ namespaceSelector: { matchLabels: { team: "sre" } } }], ports: [{ port: 80 }] }] })]);
    expect(edges).toEqual(["workload:mon/prom>workload:shop/api>TCP/80>allow"]);
  });
  test("without peers everybody may", () => {
    expect(draw([np({ podSelector: { matchLabels: { app: "api" } }, ingress: [{}] })]).edges).toEqual(["entity:all>workload:shop/api>any>allow"]);
  });
  test("egress closes only when it is named", () => {
    const closed = (spec: Record<string, unknown>) => draw([np({ podSelector: { matchLabels: { app: "api" } }, ...spec })]).picture.closed.get("workload:shop/api");
    expect(closed({})).toEqual({ ingress: true, egress: false });
    expect(closed({ policyTypes: ["Egress"] })).toEqual({ ingress: false, egress: true });
    expect(closed({ egress: [] })).toEqual({ ingress: true, egress: true });
  });
});
test("what is broken is left out, not thrown at people", () => {
  expect(draw([{ kind: "CiliumNetworkPolicy" }, cnp("x", { endpointSelector: 5, ingress: "no" } as never)]).edges).toEqual([]);
});
