import { describe, expect, test } from "vitest";
import { brief } from "./fixture";
import { suggestPolicy } from "./suggest";

const drop = (given: Parameters<typeof brief>[0]) => brief({ verdict: "DROPPED", ...given });

describe("the policy that would allow a drop", () => {
  test("ingress within a namespace", () => {
    expect(suggestPolicy(drop({ port: 5432 }))).toBe(`apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata:
  name: allow-from-web
  namespace: shop
spec:
  endpointSelector:
    matchLabels:
      app: api
  ingress:
    - fromEndpoints:
        - matchLabels:
            app: web
      toPorts:
        - ports:
            - port: "5432"
              protocol: TCP
`);
  });
  test("a peer of another namespace is named with it", () => {
    const text = suggestPolicy(drop({ from: "monitoring/prometheus", to: "shop/api" }));
    expect(text).toContain('"k8s:io.kubernetes.pod.namespace": monitoring');
    expect(text).toContain("namespace: shop\n");
  });
  test("egress: to pods, names, entities, addresses", () => {
    expect(suggestPolicy(drop({ direction: "EGRESS" }))).toContain("  egress:\n    - toEndpoints:\n        - matchLabels:\n            app: api\n");
    expect(suggestPolicy(drop({ direction: "EGRESS", to: "world", more: { destination_names: ["api.example.com"], IP: { source: "10.0.0.1", destination: "192.0.2.1" } } }))).toContain("toCIDR:\n        - 192.0.2.1/32 # api.example.com\n");
    expect(suggestPolicy(drop({ direction: "EGRESS", to: "host" }))).toContain("toEntities:\n        - host");
    expect(suggestPolicy(drop({ direction: "EGRESS", to: "world", more: { IP: { source: "10.0.0.1", destination: "2001:db8::1" } } }))).toContain("toCIDR:\n        - 2001:db8::1/128");
  });
  test("ICMP", () => {
    expect(suggestPolicy(drop({ more: { l4: { ICMPv4: { type: 8 } } } }))).toContain("icmps:\n        - fields:\n            - family: IPv4\n              type: 8");
  });
  test("values that YAML would misread are quoted", () => {
    const text = suggestPolicy(drop({ more: { destination: { namespace: "shop", pod_name: "x", labels: ["k8s:app=true", "k8s:role=007", "k8s:pod-template-hash=1"] } } }));
    expect(text).toContain('app: "true"');
    expect(text).toContain('role: "007"');
    expect(text).not.toContain("hash");
  });
  test("no pod decides, no policy", () => {
    expect(suggestPolicy(drop({ from: "world", to: "host" }))).toBe("");
  });
});
