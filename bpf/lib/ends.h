// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// The slow path's first half: who sends, who receives, and whether the packet is the datapath's affair at all.
#pragma once

#include "bpf/lib/fast.h"
#include "bpf/lib/icmp.h"
#include "bpf/lib/policy.h"
#include "bpf/lib/source_nat.h"

static __always_inline int drop_scratch(struct __sk_buff *skb, struct scratch *s, int reason, __u16 line, enum hook hook)
{
	const __u8 direction = is_egress(hook) ? METRIC_EGRESS : METRIC_INGRESS;

	count_packet(reason, direction, CTX_FIELD(skb, len));
	if (trace_cfg.drop) {
		fill_drop(skb, &s->event, reason, direction, line);
		report_event(skb);
	}
	return AXO_DROP;
}

#define DROP(reason) return drop_scratch(skb, s, reason, __LINE__, hook)

// find_ends says so when the packet is to be forwarded: its ends are in the scratch memory.
#define FORWARD 0x7ffffffe

static __always_inline void copy_end(struct local_end *end, const struct endpoint_info *ep)
{
	end->ifindex = ep->ifindex;
	end->identity = ep->sec_id;
	end->id = ep->lxc_id;
	if (node_cfg.host_firewall)
		end->policy_id = ep->lxc_id;
	end->mac = ep->mac;
	end->node_mac = ep->node_mac;
}

// Whose policy is asked, and whose policy's generation stamps depend on. 0: nobody's.
static __always_inline __u16 policy_id(const struct local_end *end)
{
	return node_cfg.host_firewall ? end->policy_id : end->id;
}

// Does this end have a say? The host only when its policy has been computed.
static __always_inline bool has_say(const struct local_end *end)
{
	return node_cfg.host_firewall ? end->id || end->policy : end->id;
}

// An end's policy and its generation, by one load: they belong together.
static __always_inline __u32 read_policy(const struct generations *g, struct local_end *end)
{
	union {
		__u64 whole;
		struct policy_ref ref;
	} policy;

	policy.whole = READ_ONCE(*(const __u64 *)&g->policy[policy_id(end)]);
	end->policy = policy.ref.location;
	return policy.ref.generation;
}

// Does the node's policy decide about this packet's connection as one to a service from outside?
static __always_inline bool is_asked_at_frontend(const struct scratch *s)
{
	return node_cfg.host_firewall && nat_on() && s->frontend.policy;
}

static __always_inline __u32 read_frontend_policy(const struct generations *g, struct scratch *s)
{
	union {
		__u64 whole;
		struct policy_ref ref;
	} policy;

	if (!node_cfg.host_firewall || !nat_on())
		return 0;
	policy.whole = READ_ONCE(*(const __u64 *)&g->policy[s->frontend.policy_id]);
	s->frontend.policy = policy.ref.location;
	return policy.ref.generation;
}

// Without these the node would be none, whatever its policy: neighbour discovery (ARP is not looked at), multicast listening, its
// own address from a DHCP server, and the tunnel's packets between nodes, whose contents are judged when they have been unpacked.
static __always_inline bool is_essential(const struct packet *p, const enum hook hook, const bool v6)
{
	const bool sent = hook == HOOK_NETDEV_EGRESS;
	__u32 peer;

	if (v6 && p->proto == IPPROTO_ICMPV6)
		return (p->icmp_type >= 130 && p->icmp_type <= 136) || p->icmp_type == 143;
	if (p->proto != IPPROTO_UDP || (hook != HOOK_NETDEV && hook != HOOK_NETDEV_EGRESS))
		return false;
	if (p->sport == bpf_htons(sent ? (v6 ? 546 : 68) : (v6 ? 547 : 67)) &&
	    p->dport == bpf_htons(sent ? (v6 ? 547 : 67) : (v6 ? 546 : 68)))
		return true;
	if (!tunnel_cfg.protocol || p->dport != tunnel_cfg.port)
		return false;
	peer = ipcache_identity(sent ? &p->daddr : &p->saddr, v6);
	return is_remote_node(peer);
}

// Between the node itself and somebody elsewhere, with a policy to be asked.
static __always_inline bool is_hosts_affair(const struct scratch *s, const enum hook hook)
{
	return (hook == HOOK_NETDEV || hook == HOOK_OVERLAY || hook == HOOK_NETDEV_EGRESS) && !s->dst.id;
}

// The datapath's affair, whoever the addresses belong to. here: the destination is the node itself.
static __always_inline bool is_translated(const struct scratch *s, bool here)
{
	return nat_on() && (s->nat.stage || s->nat.refuse || (s->nat.dsr && here));
}

// Who sends and who receives. A verdict, or FORWARD.
static __always_inline int find_ends(struct __sk_buff *skb, struct scratch *s, const struct generations *g, const enum hook hook,
				     const bool v6)
{
	struct event_args *ev = &s->event;
	struct packet *p = &s->packet;
	const struct endpoint_info *ep;
	__u16 host = 0; // the host endpoint, where its policy is to be asked
	int parsed;

	__builtin_memset(ev, 0, sizeof(*ev));
	__builtin_memset(&s->src, 0, sizeof(s->src));
	__builtin_memset(&s->dst, 0, sizeof(s->dst));
	parsed = v6 ? parse6(skb) : parse4(skb);

	// --- destination, as far as it decides whether this packet is ours at all
	s->bucket_src = addr_bucket(&p->saddr, v6);
	s->bucket_dst = addr_bucket(&p->daddr, v6);
	s->generation_dst = READ_ONCE(g->ipcache[s->bucket_dst & (GENERATION_BUCKETS - 1)]);
	s->stamp = 1 + READ_ONCE(g->node) + READ_ONCE(g->ipcache[s->bucket_src & (GENERATION_BUCKETS - 1)]) + s->generation_dst;
	if (nat_on()) {
		__builtin_memset(&s->nat, 0, sizeof(s->nat));
		if (parsed >= 0)
			v6 ? translate6(skb, hook) : translate4(skb, hook);
	}
	ep = lookup_endpoint(&p->daddr, v6);
	s->to_host = ep && (ep->flags & ENDPOINT_F_HOST);
	if (ep && !s->to_host)
		copy_end(&s->dst, ep);
	// Of the node's link-local addresses there is one per device; a pod's link has nobody else on it.
	if (v6 && is_link_local6(&p->daddr) && (hook == HOOK_POD_EGRESS || (node_cfg.host_firewall && hook == HOOK_NETDEV)))
		s->to_host = 1;
	if (node_cfg.host_firewall) {
		host = READ_ONCE(g->host_endpoint);
		if (nat_on())
			s->frontend.policy_id = s->nat.flags & FLOW_F_NODE_PORT ? host : 0;
		if (is_essential(p, hook, v6))
			host = 0;
		if (s->to_host) {
			s->dst.identity = ID_HOST;
			s->dst.policy_id = host;
		}
	}
	switch (hook) {
	case HOOK_NETDEV:
		if (node_cfg.host_firewall && s->dst.policy_id && s->to_host)
			break;
		if (is_translated(s, s->to_host))
			break;
		// Otherwise the node's own traffic, and in legacy routing everybody's, is the stack's business.
		if (!s->dst.id || node_cfg.legacy_routing)
			return AXO_PASS;
		break;
	case HOOK_OVERLAY:
		if (!policy_id(&s->dst) && !is_translated(s, dsr_by_geneve() && s->to_host))
			return AXO_PASS;
		break;
	case HOOK_NETDEV_EGRESS:
		if (nat_on() && s->nat.stage == NAT_LEAVE) {
			int refused = v6 ? leave_node6(skb) : leave_node4(skb);

			if (refused)
				s->nat.refuse = -refused;
		}
		if (is_translated(s, false))
			break;
		ep = lookup_endpoint(&p->saddr, v6);
		if (!host || is_group(&p->daddr, v6) || !((ep && (ep->flags & ENDPOINT_F_HOST)) || (v6 && is_link_local6(&p->saddr)))) {
			count_packet(FORWARDED, METRIC_EGRESS, CTX_FIELD(skb, len));
			return AXO_PASS;
		}
		break;
	case HOOK_HOST:
		if (s->to_host || is_link_scope(&p->daddr, v6))
			return AXO_PASS;
		break;
	case HOOK_POD_INGRESS:
		if (!s->dst.id || s->dst.ifindex != CTX_FIELD(skb, ifindex))
			return AXO_PASS;
		break;
	case HOOK_POD_EGRESS:
		break;
	}
	ev->endpoint_dst = policy_id(&s->dst);
	ev->identity_dst = s->dst.identity;

	// --- source
	if (hook == HOOK_POD_EGRESS) {
		__u32 ifindex = CTX_FIELD(skb, ifindex), differs;
		const struct endpoint_device *dev = bpf_map_lookup_elem(&cilium_lxc_dev, &ifindex);

		if (!dev)
			DROP(DROP_NO_LXC);
		s->src.id = ev->endpoint_src = dev->lxc_id;
		if (node_cfg.host_firewall)
			s->src.policy_id = dev->lxc_id;
		s->src.identity = ev->identity_src = dev->sec_id;
		s->src.ifindex = ifindex;
		s->src.mac = dev->mac;
		s->src.node_mac = dev->node_mac;
		differs = v6 ? (p->saddr.ip6[0] ^ dev->ip6[0]) | (p->saddr.ip6[1] ^ dev->ip6[1]) |
				       (p->saddr.ip6[2] ^ dev->ip6[2]) | (p->saddr.ip6[3] ^ dev->ip6[3])
			     : p->saddr.ip4 ^ dev->ip4;
		if (differs && !(dev->flags & ENDPOINT_DEV_F_NO_SIP_CHECK)) {
			if (!v6 || !is_link_scope(&p->saddr, true) || !is_link_scope(&p->daddr, true))
				DROP(DROP_INVALID_SIP);
			// Neighbour discovery and multicast listening use link-local sources: not forwarded, no event.
			if (!s->to_host || is_essential(p, hook, true))
				return AXO_PASS;
		}
	} else if (hook == HOOK_OVERLAY) {
		const __u32 identity = READ_ONCE(s->tunnel_identity);

		s->src.identity = identity;
		if (identity == NO_TUNNEL_KEY)
			DROP(DROP_NO_TUNNEL_KEY);
		if (identity <= ID_HOST || identity > MAX_GLOBAL_IDENTITY)
			DROP(DROP_INVALID_IDENTITY);
		if (identity == ID_WORLD || identity == ID_WORLD_IPV4 || identity == ID_WORLD_IPV6)
			s->src.identity = ipcache_identity(&p->saddr, v6);
		// What tells one node from another stays on each node; on the wire all are remote nodes.
		if (identity == ID_REMOTE_NODE) {
			__u32 known = ipcache_identity(&p->saddr, v6);

			if (known == ID_KUBE_APISERVER || known >> 24 == NODE_IDENTITY_SCOPE)
				s->src.identity = known;
		}
	} else if (hook == HOOK_NETDEV_EGRESS) {
		ep = nat_on() ? lookup_endpoint(&p->saddr, v6) : NULL;
		if (ep && !(ep->flags & ENDPOINT_F_HOST)) {
			// A pod's, which its own device has judged already.
			s->src.identity = ep->sec_id;
		} else {
			s->src.identity = ID_HOST;
			s->src.policy_id = host;
		}
	} else {
		ep = lookup_endpoint(&p->saddr, v6);
		if (ep && (ep->flags & ENDPOINT_F_HOST)) {
			// The node does not send to itself over the wire: somebody else claims to be it.
			s->src.identity = hook == HOOK_NETDEV ? world_identity(v6) : ID_HOST;
			if (node_cfg.host_firewall && hook != HOOK_NETDEV)
				s->src.policy_id = host;
		} else if (ep) {
			copy_end(&s->src, ep);
			// A local pod's address never comes in from the wire.
			if (hook == HOOK_NETDEV)
				DROP(DROP_INVALID_SIP);
		} else {
			s->src.identity = ipcache_identity(&p->saddr, v6);
		}
	}
	ev->identity_src = s->src.identity;
	ev->endpoint_src = policy_id(&s->src);
	s->stamp += read_policy(g, &s->src) + read_policy(g, &s->dst) + read_frontend_policy(g, s);
	if (parsed < 0) {
		// What could not be parsed is reported with as much as is known of it by now.
		if (!node_cfg.host_firewall || !is_hosts_affair(s, hook))
			DROP(-parsed);
		// Protocols without ports are judged all the same; what cannot be tracked passes while nothing is enforced.
		if (parsed != -DROP_CT_UNKNOWN_PROTO) {
			if ((s->src.policy | s->dst.policy) & (POLICY_REF_F_INGRESS | POLICY_REF_F_EGRESS))
				DROP(-parsed);
			if (hook == HOOK_NETDEV_EGRESS)
				count_packet(FORWARDED, METRIC_EGRESS, CTX_FIELD(skb, len));
			return AXO_PASS;
		}
	}
	if (nat_on() && s->nat.refuse) {
		if (!s->nat.answer)
			DROP(s->nat.refuse);
		// Whom the node's policy keeps out is not told what else is missing.
		if (is_asked_at_frontend(s)) {
			s->reply = 0;
			s->is_new = 1;
			if (ask_frontend(skb) != AXO_PASS)
				return AXO_DROP;
		}
		drop_scratch(skb, s, s->nat.refuse, __LINE__, hook);
		return reply_port_unreachable(skb, is_at_ingress(hook), v6);
	}
	// Groups end at the pod's own link: the node's stack may listen, nothing is forwarded. So does discovery.
	if (hook == HOOK_POD_EGRESS && (is_group(&p->daddr, v6) || (v6 && is_link_local6(&p->daddr) && is_essential(p, hook, true))))
		return AXO_PASS;
	s->ifindex_in = hook == HOOK_OVERLAY ? tunnel_cfg.ifindex : CTX_FIELD(skb, ifindex);
	return FORWARD;
}
