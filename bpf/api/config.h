/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Load-time configuration: one const volatile struct per feature in .rodata, filled by the agent
 * before load, so the verifier removes what is off. User space fills the very same structs.
 */
#ifndef AXO_API_CONFIG_H
#define AXO_API_CONFIG_H

#include "bpf/api/types.h"

enum tunnel_protocol {
	TUNNEL_NONE = 0,
	TUNNEL_VXLAN = 1,
	TUNNEL_GENEVE = 2,
};

/* Variable node_cfg: what every program needs to know about its node. */
struct node_config {
	__u8 ipv4;
	__u8 ipv6;
	__u8 legacy_routing;   /* enable-host-legacy-routing: leave forwarding to the kernel's stack */
	__u8 has_ktime_coarse; /* kernel >= 5.11 */
	__u8 has_redirect_peer;
	__u8 has_fib_skip_neigh; /* kernel >= 6.3 */
	__u8 conntrack_accounting;
	__u8 extended_protocols; /* enable-extended-ip-protocols: L4 protocols without ports pass where policy lets them */
	__u32 host_ifindex; /* cilium_host */
	__u32 net_ifindex;  /* cilium_net */
	struct axo_mac host_mac;
	__u16 mtu; /* of the pods' devices */
	__be32 router_ip4; /* the node's gateway address for its pods */
	__be32 router_ip6[4];
	__u32 hash_seed;
	__u8 host_firewall; /* enable-host-firewall: the node itself has a policy (generations.host_endpoint) */
	__u8 pad[3];
};

/* Variable tunnel_cfg. With native routing there is a tunnel where DSR needs one: ipcache entries say who is not reached by it. */
struct tunnel_config {
	__u8 protocol; /* enum tunnel_protocol */
	__u8 fast;     /* push and pull outer headers in tc; 0: always the tunnel device */
	__u8 underlay_v6;
	__u8 has_decap_flags; /* bpf_skb_adjust_room knows BPF_F_ADJ_ROOM_DECAP_L3_* (6.3) */
	__be16 port;
	__u16 overhead; /* 50 over IPv4, 70 over IPv6 */
	__u32 ifindex;	/* cilium_vxlan, cilium_geneve */
	__be32 node_ip4; /* outer source address */
	__be32 node_ip6[4];
	__be16 sport_low; /* machine order: range of outer source ports */
	__be16 sport_high;
};

/* Variable trace_cfg. */
enum trace_aggregation { /* monitor-aggregation */
	TRACE_AGGREGATE_NONE = 0,
	TRACE_AGGREGATE_LOWEST = 1,
	TRACE_AGGREGATE_LOW = 2,
	TRACE_AGGREGATE_MEDIUM = 3,
	TRACE_AGGREGATE_MAXIMUM = 4,
};
struct trace_config {
	__u8 drop;    /* bpf-events-drop-enabled */
	__u8 trace;   /* bpf-events-trace-enabled */
	__u8 verdict; /* bpf-events-policy-verdict-enabled */
	__u8 aggregation; /* enum trace_aggregation */
	__u8 report_tcp_flags; /* monitor-aggregation-flags */
	__u8 dns; /* hubble-observe-dns: the DNS messages of pods are told of */
	__u8 pad[2];
	__u32 report_interval; /* ticks; monitor-aggregation-interval. Also how long a decision stays fresh */
	__u32 ring_wakeup_bytes; /* wake the reader when this much waits */
};

/* Variable ct_cfg: lifetimes in ticks (bpf-ct-timeout-*). */
struct ct_config {
	__u32 regular_tcp;
	__u32 regular_any;
	__u32 regular_tcp_syn;
	__u32 regular_tcp_fin;
	__u8 fragments_v4; /* enable-ipv4-fragment-tracking */
	__u8 fragments_v6;
	__u16 pad;
};

/* Variable lb_cfg: services in the packet path, and translation of addresses. */
enum lb_mode { /* bpf-lb-mode */
	LB_MODE_SNAT = 0,
	LB_MODE_DSR = 1,
	LB_MODE_HYBRID = 2,	/* DSR for TCP, SNAT for the rest */
	LB_MODE_ANNOTATION = 3, /* DSR where the service says so (LB_F2_DSR) */
};
enum lb_dispatch { /* bpf-lb-dsr-dispatch */
	LB_DISPATCH_OPTION = 0, /* IPv4 option, IPv6 destination option */
	LB_DISPATCH_IPIP = 1,
	LB_DISPATCH_GENEVE = 2, /* option of the tunnel's header */
};
/* nodeport-addresses: an address is within when it and the mask are equal to this one; the first word of IPv4 counts. */
struct node_port_prefix {
	__be32 addr[4];
	__be32 mask[4];
	__u32 family; /* AXO_FAMILY_*; 0: nobody is within */
};
#define NODE_PORT_PREFIXES 16
struct lb_config {
	__u8 pods;	/* what pods send to services is translated at their devices */
	__u8 node_port; /* what arrives from outside is: NodePort, LoadBalancer, external IPs, host ports */
	__u8 mode;	/* enum lb_mode */
	__u8 dispatch;	/* enum lb_dispatch */
	__u8 external_cluster_ip;	/* bpf-lb-external-clusterip */
	__u8 no_backend_drop;		/* service-no-backend-response=drop; 0: an ICMP error */
	__u8 source_range_all_types;	/* bpf-lb-source-range-all-types */
	__u8 masquerade4;		/* pods' traffic that leaves the cluster gets the node's address */
	__u8 masquerade6;
	__u8 ip_masq_agent;		/* cilium_ipmasq_* names destinations that are spared */
	__u8 masquerade_remote_nodes;	/* enable-remote-node-masquerade */
	__u8 native_routing6_len;	/* prefix length; 0: no prefix */
	__u16 nat_port_low;		/* range of translated source ports, machine order */
	__u16 nat_port_high;
	__be32 native_routing4;		/* ipv4-native-routing-cidr: is spared */
	__be32 native_routing4_mask;	/* 0: no prefix */
	__be32 native_routing6[4];
	__be32 loopback_ip4;		/* source of a pod that reaches itself through a service */
	__be32 loopback_ip6[4];
	__u32 maglev_seed;		/* of the hash over a connection; equal on all nodes */
	__u32 some_node_ports;		/* only addresses within node_port_prefixes serve NodePorts and host ports; 0: all */
	struct node_port_prefix node_port_prefixes[NODE_PORT_PREFIXES];
};

/* Variable sock_cfg: services at sockets. */
struct sock_config {
	__u8 ipv4;
	__u8 ipv6;
	__u8 host_only; /* bpf-lb-sock-hostns-only: pods' sockets are left to the packet path */
	__u8 bind_protection; /* node-port-bind-protection */
	__u16 node_port_low;
	__u16 node_port_high;
	__u64 host_netns_cookie; /* of the node's network namespace; 0: not known, the machine's first */
	__u8 external_ips;	 /* disable-external-ip-mitigation: external IPs of other machines too (CVE-2020-8554) */
	__u8 has_set_retval;	 /* bpf_set_retval (6.1): who is refused learns why */
	__u8 pad[6];
};

/* Variable xdp_cfg: before there is an skb, at uplinks. */
struct xdp_config {
	__u8 prefilter;	 /* drop by source prefix: cilium_cidr_v{4,6}_{fix,dyn} */
	__u8 accelerate; /* bpf-lb-acceleration: replay decisions about services' traffic to other nodes */
	__u8 ask_devices; /* cilium_xdp_devices says of the device that a frame came from, too, how frames leave there */
	__u8 pad[5];
};
/* Bits of map cilium_xdp_devices, by interface index: how frames leave by a device. */
#define XDP_DEVICE_TX 1u       /* its own with XDP_TX; not those of a veth: that does not wake the other end */
#define XDP_DEVICE_REDIRECT 2u /* its own and those of other devices by redirection */
#define PREFILTER_MAX_PREFIXES 16384 /* per family; single addresses and others each */
#define XDP_MAX_DEVICES 256

#endif
