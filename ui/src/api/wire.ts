// What the relay's web API says (docs/hubble.md, "Web API"): Hubble's messages as protojson with the field names of the
// proto files, 64-bit numbers as strings. Only the fields that this page reads.

interface WireWorkload {
  name?: string;
  kind?: string;
}

export interface WireEndpoint {
  ID?: number;
  identity?: number;
  cluster_name?: string;
  namespace?: string;
  labels?: string[];
  pod_name?: string;
  workloads?: WireWorkload[];
}

interface WirePorts {
  source_port?: number;
  destination_port?: number;
  flags?: Record<string, boolean>;
}

interface WireIcmp {
  type?: number;
  code?: number;
}

interface WireLayer4 {
  TCP?: WirePorts;
  UDP?: WirePorts;
  SCTP?: WirePorts;
  ICMPv4?: WireIcmp;
  ICMPv6?: WireIcmp;
  VRRP?: unknown;
  IGMP?: unknown;
}

interface WireLayer7 {
  type?: string;
  latency_ns?: string;
  dns?: { query?: string; ips?: string[]; rcode?: number; qtypes?: string[] };
  http?: { code?: number; method?: string; url?: string; protocol?: string };
}

export interface WirePolicy {
  name?: string;
  namespace?: string;
  kind?: string;
}

interface WireExtension {
  packets?: string;
  bytes?: string;
  drop_rule?: string;
  explanation?: string;
  suggested_policy?: string;
}

export interface WireFlow {
  time?: string;
  uuid?: string;
  verdict?: string;
  drop_reason_desc?: string;
  IP?: { source?: string; destination?: string };
  l4?: WireLayer4;
  source?: WireEndpoint;
  destination?: WireEndpoint;
  Type?: string;
  node_name?: string;
  source_names?: string[];
  destination_names?: string[];
  l7?: WireLayer7;
  source_service?: { name?: string; namespace?: string };
  destination_service?: { name?: string; namespace?: string };
  traffic_direction?: string;
  is_reply?: boolean | null;
  egress_allowed_by?: WirePolicy[];
  ingress_allowed_by?: WirePolicy[];
  egress_denied_by?: WirePolicy[];
  ingress_denied_by?: WirePolicy[];
  extensions?: WireExtension;
}

export interface WireNode {
  name: string;
  state: string;
  message?: string;
  version?: string;
}

interface WireLost {
  source?: string;
  count: number;
  node?: string;
}

/** One line of a stream. */
export interface WireLine {
  flows?: WireFlow[];
  lost?: WireLost;
  nodes?: WireNode[];
  heartbeat?: string;
  end?: { complete: boolean; reason?: string };
}

export interface WireStatus {
  version?: string;
  cluster?: string;
  nodes: WireNode[];
  /** Whether the relay is told which nodes there are. */
  peer_service_connected?: boolean;
}

export interface WireBucket {
  time: string;
  forwarded: number;
  dropped: number;
  audit: number;
  error: number;
}

export interface WireHistory {
  step_seconds: number;
  complete: boolean;
  buckets: WireBucket[];
}

export interface WireObject {
  apiVersion?: string;
  kind?: string;
  metadata?: { name?: string; namespace?: string; labels?: Record<string, string> };
  spec?: Record<string, unknown>;
  specs?: Record<string, unknown>[];
}

export interface WirePolicies {
  policies: WireObject[];
  /** Labels of namespaces, which policies select by. */
  namespaces?: { name: string; labels?: Record<string, string> }[];
}

/** Hubble's FlowFilter, the fields that this page sends. */
export interface WireFilter {
  uuid?: string[];
  source_ip?: string[];
  destination_ip?: string[];
  source_pod?: string[];
  destination_pod?: string[];
  source_label?: string[];
  destination_label?: string[];
  source_service?: string[];
  destination_service?: string[];
  source_workload?: WireWorkload[];
  destination_workload?: WireWorkload[];
  source_port?: string[];
  destination_port?: string[];
  source_identity?: number[];
  destination_identity?: number[];
  verdict?: string[];
  drop_reason_desc?: string[];
  protocol?: string[];
  http_path?: string[];
  http_method?: string[];
  http_status_code?: string[];
  node_name?: string[];
  traffic_direction?: string[];
  reply?: boolean[];
}
