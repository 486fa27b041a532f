#include <arpa/inet.h>
#include <gtest/gtest.h>

#include <chrono>
#include <set>
#include <thread>

#include "bpf/api/drop_reason.h"
#include "bpf/api/policy.h"
#include "hubble/core/decode.h"
#include "hubble/core/label_query.h"
#include "hubble/core/observer.h"
#include "hubble/core/workload.h"

namespace axo::hubble {
namespace {

flow_event event_of(std::uint8_t type, std::uint8_t subtype, std::uint8_t reason = TRACE_REASON_NEW) {
    flow_event event{};
    event.type = type;
    event.subtype = subtype;
    event.reason = reason;
    event.proto = IPPROTO_TCP;
    event.ethertype = 0x0800;
    return event;
}

void set_ends(flow_event& event, const char* source, const char* destination) {
    const IpAddress from = IpAddress::parse(source).value(), to = IpAddress::parse(destination).value();
    std::memcpy(&event.saddr, from.bytes().data(), from.bytes().size());
    std::memcpy(&event.daddr, to.bytes().data(), to.bytes().size());
    if (from.is_v6()) {
        event.flags |= EVENT_F_IPV6;
        event.ethertype = 0x86DD;
    }
}

FlowRecord decoded(const flow_event& event) {
    FlowRecord record;
    record.event = event;
    decode(record);
    return record;
}

struct Expected {
    const char* what;
    flow_event event;
    Direction direction;
    Verdict verdict;
    Reply reply;
};

TEST(Decode, DirectionReplyAndVerdictAreHubbles) {
    const auto with = [](flow_event event, std::uint16_t source, std::uint16_t destination, std::uint8_t flags = 0) {
        event.endpoint_src = source;
        event.endpoint_dst = destination;
        event.flags = flags;
        return event;
    };
    const auto trace = [](std::uint8_t point, std::uint8_t reason) { return event_of(EVENT_TRACE, point, reason); };
    const Expected all[] = {
        {"a request reaches its pod", with(trace(TRACE_TO_LXC, TRACE_REASON_NEW), 0, 7), Direction::kIngress,
         Verdict::kForwarded, Reply::kNo},
        {"a reply reaches the pod that asked", with(trace(TRACE_TO_LXC, TRACE_REASON_REPLY), 0, 7), Direction::kEgress,
         Verdict::kForwarded, Reply::kYes},
        {"between pods of a node the receiver is who is looked at", with(trace(TRACE_TO_LXC, TRACE_REASON_NEW), 5, 7),
         Direction::kIngress, Verdict::kForwarded, Reply::kNo},
        {"a request leaves its node", with(trace(TRACE_TO_OVERLAY, TRACE_REASON_ESTABLISHED), 5, 0), Direction::kEgress,
         Verdict::kForwarded, Reply::kNo},
        {"a reply leaves its node", with(trace(TRACE_TO_NETWORK, TRACE_REASON_REPLY), 5, 0), Direction::kIngress,
         Verdict::kForwarded, Reply::kYes},
        {"nobody knows", with(trace(TRACE_TO_STACK, TRACE_REASON_UNKNOWN), 5, 0), Direction::kUnknown,
         Verdict::kForwarded, Reply::kUnknown},
        {"no pod of this node", with(trace(TRACE_TO_HOST, TRACE_REASON_NEW), 0, 0), Direction::kUnknown,
         Verdict::kForwarded, Reply::kNo},
        {"refused coming in", with(event_of(EVENT_DROP, DROP_POLICY), 5, 7, EVENT_F_INGRESS), Direction::kIngress,
         Verdict::kDropped, Reply::kUnknown},
        {"refused going out", with(event_of(EVENT_DROP, DROP_POLICY_DENY), 5, 7), Direction::kEgress, Verdict::kDropped,
         Reply::kUnknown},
        {"broken, of a pod", with(event_of(EVENT_DROP, DROP_INVALID_SIP), 5, 0), Direction::kEgress, Verdict::kDropped,
         Reply::kUnknown},
        {"broken, of nobody", with(event_of(EVENT_DROP, DROP_INVALID), 0, 0), Direction::kUnknown, Verdict::kDropped,
         Reply::kUnknown},
        {"allowed", with(event_of(EVENT_POLICY_VERDICT, POLICY_ALLOW), 0, 7, EVENT_F_INGRESS), Direction::kIngress,
         Verdict::kForwarded, Reply::kNo},
        {"denied", with(event_of(EVENT_POLICY_VERDICT, POLICY_DENY), 5, 0), Direction::kEgress, Verdict::kDropped,
         Reply::kUnknown},
        {"would be denied", with(event_of(EVENT_POLICY_VERDICT, POLICY_DENY), 5, 0, EVENT_F_AUDITED),
         Direction::kEgress, Verdict::kAudit, Reply::kNo},
        {"to the proxy", with(event_of(EVENT_POLICY_VERDICT, POLICY_REDIRECT), 5, 0), Direction::kEgress,
         Verdict::kRedirected, Reply::kNo},
    };
    for (const Expected& expected : all) {
        const FlowRecord record = decoded(expected.event);
        EXPECT_EQ(record.direction, expected.direction) << expected.what;
        EXPECT_EQ(record.verdict, expected.verdict) << expected.what;
        EXPECT_EQ(record.reply, expected.reply) << expected.what;
    }
}

LabelSet pod_labels(const std::string& name_space, const std::string& app) {
    return {{"k8s", "io.kubernetes.pod.namespace", name_space}, {"k8s", "app", app}};
}

FlowRecord enriched(NameTable& names, const flow_event& event) {
    FlowRecord record = decoded(event);
    names.enrich(record);
    return record;
}

TEST(Names, WhoIsBehindAnAddressIsWhoWasThen) {
    std::vector<std::uint32_t> asked;
    NameTable names("east", [&](const RuleRef& rule) { asked.push_back(rule->cookie()); });
    const IpAddress web = IpAddress::parse("10.0.0.1").value();
    names.set_address(web, {.endpoint_id = 7,
                            .identity = 300,
                            .name_space = "shop",
                            .pod = "web-1",
                            .workloads = {{"web", "Deployment"}}});
    // Its labels come later.
    names.set_identity(300, pod_labels("shop", "web"));
    names.set_identity(2, LabelSet::reserved("world"));
    const NameTable::Frontend frontend{IpAddress::parse("10.96.0.1").value(), 80, IPPROTO_TCP};
    const auto name = std::make_shared<const ServiceName>(ServiceName{"shop", "web"});
    names.set_service(frontend, NameTable::Scope::kExternal, name, 5);
    names.set_service(frontend, NameTable::Scope::kInternal, name, 6);

    flow_event event = event_of(EVENT_TRACE, TRACE_TO_LXC);
    set_ends(event, "1.2.3.4", "10.0.0.1");
    event.identity_src = 2;
    event.identity_dst = 300;
    event.rule_cookie = 77;
    const FlowRecord before = enriched(names, event);
    EXPECT_EQ(before.destination->pod, "web-1");
    EXPECT_EQ(before.destination->id, 7U);
    EXPECT_EQ(before.destination->cluster, "east");
    EXPECT_EQ(before.destination->labels->texts,
              (std::vector<std::string>{"k8s:app=web", "k8s:io.kubernetes.pod.namespace=shop"}));
    EXPECT_EQ(before.source->identity, 2U);
    EXPECT_EQ(before.source->labels->texts, std::vector<std::string>{"reserved:world"});
    EXPECT_EQ(before.source->cluster, "");
    EXPECT_EQ(asked, std::vector<std::uint32_t>{77});
    EXPECT_EQ(before.rule->info(), nullptr);
    auto told = std::make_shared<RuleInfo>();
    told->text = "rule";
    before.rule->fill(told);
    EXPECT_EQ(enriched(names, event).rule->info()->text, "rule");
    EXPECT_EQ(asked.size(), 1U) << "a cookie is asked about once";

    // The pod goes; another one has its address, and its labels change under way.
    names.remove_address(web);
    EXPECT_EQ(enriched(names, event).destination->pod, "");
    EXPECT_EQ(enriched(names, event).destination->name_space, "shop") << "the identity says so much";
    names.set_address(web, {.endpoint_id = 9, .identity = 300, .name_space = "shop", .pod = "web-2", .workloads = {}});
    names.set_identity(301, pod_labels("shop", "new"));
    event.identity_dst = 301;
    const FlowRecord after = enriched(names, event);
    EXPECT_EQ(after.destination->pod, "web-2");
    EXPECT_EQ(after.destination->identity, 301U) << "the datapath knows better than the table";
    EXPECT_EQ(after.destination->labels->texts[0], "k8s:app=new");
    EXPECT_EQ(before.destination->pod, "web-1");

    set_ends(event, "10.0.0.1", "10.96.0.1");
    event.dport = htons(80);
    EXPECT_EQ(enriched(names, event).destination_service->name, "web");
    event.proto = IPPROTO_UDP;
    EXPECT_EQ(enriched(names, event).destination_service, nullptr);
    event.proto = IPPROTO_TCP;
    EXPECT_EQ(names.remove_service(frontend, NameTable::Scope::kExternal), 5);
    EXPECT_EQ(names.remove_service(frontend, NameTable::Scope::kExternal), std::nullopt);
    EXPECT_EQ(enriched(names, event).destination_service->name, "web");
    EXPECT_EQ(names.remove_service(frontend, NameTable::Scope::kInternal), 6);
    EXPECT_EQ(enriched(names, event).destination_service, nullptr);
}

TEST(Names, NothingIsRememberedOfAnIdentityOrAnOwnerThatHasGone) {
    NameTable names("east", nullptr);
    const IpAddress web = IpAddress::parse("10.0.0.1").value(), api = IpAddress::parse("10.0.0.2").value();
    const AddressOwner owner{.endpoint_id = 7, .identity = 300, .name_space = "shop", .pod = "web-1", .workloads = {}};
    names.set_address(web, owner);
    names.set_address(api, {.endpoint_id = 8, .identity = 300, .name_space = "shop", .pod = "api-1", .workloads = {}});
    names.remove_address(api);  // before its labels are known
    names.set_identity(300, pod_labels("shop", "web"));
    names.set_identity(301, pod_labels("shop", "old"));
    flow_event event = event_of(EVENT_TRACE, TRACE_TO_LXC);
    set_ends(event, "10.0.0.1", "10.0.0.2");
    event.identity_src = 301;
    event.identity_dst = 301;
    const FlowRecord before = enriched(names, event);
    EXPECT_EQ(before.source->labels->texts.at(0), "k8s:app=old");
    EXPECT_EQ(before.destination->labels->texts.at(0), "k8s:app=old");
    EXPECT_EQ(before.destination->pod, "");
    names.remove_identity(301);
    EXPECT_EQ(enriched(names, event).source->labels->texts, std::vector<std::string>{});
    EXPECT_EQ(enriched(names, event).destination->labels->texts, std::vector<std::string>{});
    // The number is somebody else's now: also of an owner that had it before.
    names.remove_identity(300);
    names.set_identity(300, pod_labels("bank", "till"));
    event.identity_src = 300;
    const FlowRecord renamed = enriched(names, event);
    EXPECT_EQ(renamed.source->pod, "web-1");
    EXPECT_EQ(renamed.source->labels->texts.at(0), "k8s:app=till");
    EXPECT_EQ(before.source->labels->texts.at(0), "k8s:app=old");

    // The same news again is no news: what counts by description need not begin anew.
    names.set_address(web, owner);
    names.set_identity(300, pod_labels("bank", "till"));
    EXPECT_EQ(enriched(names, event).source, renamed.source);
    names.set_address(web, {.endpoint_id = 9, .identity = 300, .name_space = "shop", .pod = "web-2", .workloads = {}});
    EXPECT_EQ(enriched(names, event).source->pod, "web-2");
    EXPECT_EQ(enriched(names, event).source->id, 9U);
    EXPECT_EQ(names.remove_address(web)->pod, "web-2");
    EXPECT_EQ(names.remove_address(web), nullptr);
    EXPECT_EQ(enriched(names, event).source->pod, "");
}

FlowRecord numbered(std::uint64_t number) {
    FlowRecord record;
    record.sequence = number;
    return record;
}

TEST(Ring, ASlowReaderIsToldHowMuchItMissed) {
    FlowRing ring(7);
    int woken = 0;
    ring.set_wake([&] { ++woken; });
    for (std::uint64_t i = 1; i <= 5; ++i) ring.add(numbered(i));
    EXPECT_EQ(woken, 0);
    std::vector<FlowRecord> out;
    std::uint64_t missed = 0;
    EXPECT_EQ(ring.read(2, 2, out, missed), 4U);
    EXPECT_EQ(out.at(0).sequence, 2U);
    EXPECT_EQ(out.at(1).sequence, 3U);
    ring.arm();
    for (std::uint64_t i = 6; i <= 20; ++i) ring.add(numbered(i));
    EXPECT_EQ(woken, 1);
    out.clear();
    EXPECT_EQ(ring.read(4, 100, out, missed), 21U);
    EXPECT_EQ(missed, 10U);
    ASSERT_EQ(out.size(), 7U);
    EXPECT_EQ(out.front().sequence, 14U);
    EXPECT_EQ(out.back().sequence, 20U);
    out.clear();
    EXPECT_EQ(ring.read(21, 100, out, missed), 21U);
    EXPECT_EQ(missed, 0U);
    EXPECT_EQ(ring.read_back(21, 3, out), 18U);
    EXPECT_EQ(out.at(0).sequence, 20U);
    EXPECT_EQ(out.at(2).sequence, 18U);
    out.clear();
    EXPECT_EQ(ring.read_back(15, 30, out), 14U);
    EXPECT_EQ(out.size(), 1U);
}

TEST(Uuid, IsVersion4AndNeverTheSame) {
    std::set<std::string> seen;
    for (std::uint64_t i = 0; i < 1000; ++i) {
        const std::string uuid = flow_uuid(i);
        ASSERT_EQ(uuid.size(), 36U);
        EXPECT_EQ(uuid[14], '4');
        EXPECT_NE(std::string("89ab").find(uuid[19]), std::string::npos);
        seen.insert(uuid);
    }
    EXPECT_EQ(seen.size(), 1000U);
}

TEST(LabelQuery, SaysWhatKubernetesSelectorsSay) {
    const std::vector<Label> labels{Label::parse("k8s:app=web"), Label::parse("k8s:tier=3"),
                                    Label::parse("reserved:host")};
    for (const char* yes :
         {"", "app=web", "k8s:app==web", "any:app", "app in (api, web)", "app notin (api)", "!db", "app!=api", "db!=x",
          "tier>2", "tier<10", "app=web,tier", "reserved:host", "host", " app = web , !db "})
        EXPECT_TRUE(LabelQuery::parse(yes).value().matches(labels)) << yes;
    for (const char* no : {"app=api", "container:app=web", "app in (api)", "app notin (web)", "!app", "app!=web",
                           "db=x", "tier>3", "app=web,db", "k8s:host"})
        EXPECT_FALSE(LabelQuery::parse(no).value().matches(labels)) << no;
    for (const char* bad : {"app=web,", "=web", "app in web", "app in (web", "app ~ web", "tier>x", ",", "!", "k8s:"})
        EXPECT_FALSE(LabelQuery::parse(bad)) << bad;
    EXPECT_NE(LabelQuery::parse("app in web").error().message.find("\"app in web\""), std::string::npos);
}

TEST(Workload, IsWhoControlsThePod) {
    const auto owned = [](const std::string& kind, const std::string& name) {
        ObjectMeta meta;
        meta.name = "pod";
        meta.labels["pod-template-hash"] = "7d4b8f9c6";
        meta.owner_references = {{"apps/v1", kind, name, "", true, false}};
        return workload_of(meta).value();
    };
    EXPECT_EQ(owned("ReplicaSet", "web-7d4b8f9c6"), (Workload{"web", "Deployment"}));
    EXPECT_EQ(owned("ReplicaSet", "by-hand"), (Workload{"by-hand", "ReplicaSet"}));
    EXPECT_EQ(owned("Job", "backup-28394857"), (Workload{"backup", "CronJob"}));
    EXPECT_EQ(owned("Job", "once"), (Workload{"once", "Job"}));
    EXPECT_EQ(owned("DaemonSet", "agent"), (Workload{"agent", "DaemonSet"}));
    EXPECT_EQ(workload_by_name("web-7d4b8f9c6-x2x4z"), (Workload{"web", "Deployment"}));
    EXPECT_FALSE(workload_by_name("web-0"));
    EXPECT_FALSE(workload_by_name("nothing"));
}

TEST(Observer, CountsEverythingThatComesAndEverythingThatDoesNot) {
    Observer observer({.cluster = "c", .node = "n", .node_labels = {}, .version = "v", .capacity = 15}, nullptr);
    std::uint64_t sunk = 0;
    observer.set_sink([&](const FlowRecord&) { ++sunk; });
    observer.names().set_identity(300, pod_labels("shop", "web"));
    flow_event event = event_of(EVENT_TRACE, TRACE_TO_LXC);
    set_ends(event, "fd00::1", "fd00::2");
    event.identity_dst = 300;
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    event.time_ns = static_cast<std::uint64_t>(std::chrono::nanoseconds(now).count());
    for (int i = 0; i < 100; ++i) observer.observe(event);
    observer.report_lost(LostSource::kDatapathRing, 42);
    observer.report_lost(LostSource::kDatapathRing, 0);
    const Observer::Status status = observer.status();
    EXPECT_EQ(status.seen, 100U);
    EXPECT_EQ(sunk, 100U);
    EXPECT_EQ(status.flows, 15U);
    EXPECT_EQ(status.lost_datapath, 42U);
    EXPECT_GT(status.rate, 1.0);
    std::vector<FlowRecord> out;
    observer.ring().read_back(observer.ring().span().next, 2, out);
    EXPECT_EQ(out.at(0).lost, 42U);
    EXPECT_EQ(out.at(1).destination_ip().to_string(), "fd00::2");
    const auto wall = std::chrono::nanoseconds(std::chrono::system_clock::now().time_since_epoch()).count();
    EXPECT_NEAR(static_cast<double>(out.at(1).time_ns), static_cast<double>(wall), 1e9);
    EXPECT_EQ(observer.namespaces(), (std::vector<std::pair<std::string, std::string>>{{"c", "shop"}}));
}

}  // namespace
}  // namespace axo::hubble
