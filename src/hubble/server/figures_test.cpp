// What flows cost. bench/hubble_bench.py reads the lines that these print; as tests they hold only what no machine and
// no build without optimisation may miss.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <ctime>
#include <thread>

#include "hubble/core/flow_metrics.h"
#include "hubble/core/observer.h"
#include "hubble/server/filter.h"
#include "hubble/server/flow_query.h"
#include "hubble/server/history_store.h"

namespace axo::hubble {
namespace {

constexpr std::uint32_t kPods = 2000;

double cpu_seconds() {
    timespec now{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

IpAddress pod_address(std::uint32_t pod) {
    return IpAddress::v4(htonl(0x0A000000U + pod));
}

// 2,000 pods of 100 identities, a policy, a Service.
std::unique_ptr<Observer> make_observer(std::size_t capacity) {
    auto observer = std::make_unique<Observer>(
        ObserverSettings{.cluster = "east", .node = "n1", .node_labels = {}, .version = "v", .capacity = capacity},
        nullptr);
    for (std::uint32_t identity = 0; identity < 100; ++identity)
        observer->names().set_identity(1000 + identity, {{"k8s", "app", "app-" + std::to_string(identity)},
                                                         {"k8s", "io.kubernetes.pod.namespace", "shop"},
                                                         {"k8s", "io.cilium.k8s.policy.serviceaccount", "default"}});
    for (std::uint32_t pod = 0; pod < kPods; ++pod)
        observer->names().set_address(pod_address(pod), {.endpoint_id = pod % 100,
                                                         .identity = 1000 + pod % 100,
                                                         .name_space = "shop",
                                                         .pod = "app-7d4b8f9c6-" + std::to_string(pod),
                                                         .workloads = {{"app", "Deployment"}}});
    for (std::uint32_t i = 0; i < 200; ++i)
        observer->names().set_service({IpAddress::v4(htonl(0x0A600000U + i)), 80, IPPROTO_TCP},
                                      NameTable::Scope::kExternal,
                                      std::make_shared<const ServiceName>(ServiceName{"shop", "s" + std::to_string(i)}),
                                      static_cast<std::uint16_t>(i));
    return observer;
}

flow_event event_number(std::uint32_t i) {
    flow_event event{};
    const std::uint32_t source = i * 7919 % kPods, destination = i * 104729 % kPods;
    event.type = i % 4 == 0 ? EVENT_POLICY_VERDICT : i % 10 == 1 ? EVENT_DROP : EVENT_TRACE;
    event.subtype = event.type == EVENT_DROP ? 133 : 0;
    event.reason = i % 2 == 0 ? TRACE_REASON_NEW : TRACE_REASON_REPLY;
    event.ethertype = 0x0800;
    event.proto = IPPROTO_TCP;
    event.tcp_flags = 0x10;
    event.sport = htons(static_cast<std::uint16_t>(20000 + i % 30000));
    event.dport = htons(443);
    event.ifindex = 10 + i % 100;
    event.length = 66 + i % 1400;
    event.packets = i % 1000;
    event.bytes = i % 1000 * 700;
    event.identity_src = 1000 + source % 100;
    event.identity_dst = 1000 + destination % 100;
    event.rule_cookie = 16 + i % 50;
    const IpAddress from = pod_address(source), to = pod_address(destination);
    std::memcpy(&event.saddr, from.bytes().data(), 4);
    std::memcpy(&event.daddr, to.bytes().data(), 4);
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    event.time_ns = static_cast<std::uint64_t>(std::chrono::nanoseconds(now).count());
    return event;
}

double us_per_flow(Observer& observer, std::uint32_t count) {
    for (std::uint32_t i = 0; i < 10'000; ++i) observer.observe(event_number(i));
    const double before_events = cpu_seconds();
    std::uint64_t sum = 0;
    for (std::uint32_t i = 0; i < count; ++i) sum += event_number(i).length;
    const double before = cpu_seconds();
    for (std::uint32_t i = 0; i < count; ++i) observer.observe(event_number(i));
    const double making = before - before_events;
    EXPECT_NE(sum, 0U);
    return (cpu_seconds() - before - making) * 1e6 / count;
}

TEST(HubbleFigures, DecodingAndNamingAFlowIsCheap) {
    auto observer = make_observer(4095);
    const double plain = us_per_flow(*observer, 300'000);
    auto metrics =
        FlowMetrics::parse("drop flow tcp policy:sourceContext=workload;destinationContext=workload").value();
    observer->set_sink([&](const FlowRecord& record) { metrics->count(record); });
    const double measured = us_per_flow(*observer, 300'000);
    std::printf("    hubble_cpu_us_per_flow                                         %10.3f us\n", plain);
    std::printf("    hubble_cpu_us_per_flow, with metrics                           %10.3f us\n", measured);
    EXPECT_LT(plain, 30);
}

// At a given rate, with a client that follows: what it gets and what it is told it missed is all there was.
TEST(HubbleFigures, ManyEventsAreAllAccountedFor) {
    auto observer = make_observer(16383);
    ::observer::GetFlowsRequest request;
    request.set_follow(true);
    auto call = query_flows(request.SerializeAsString(), *observer, nullptr).value();
    constexpr std::uint32_t kRate = 60'000, kSeconds = 2;
    std::atomic<bool> done = false;
    std::uint64_t seen = 0, lost = 0;
    std::thread client([&] {
        std::string message;
        ::observer::GetFlowsResponse response;
        for (;;) {
            message.clear();
            const bool last = done;
            const auto next = call->next(message);
            if (next == rpc::Call::Next::kLater) {
                if (last) return;
                std::this_thread::sleep_for(std::chrono::milliseconds(5));
            }
            if (next != rpc::Call::Next::kMessage) continue;
            response.ParseFromString(message);
            if (response.has_flow()) ++seen;
            if (response.has_lost_events()) lost += response.lost_events().num_events_lost();
        }
    });
    const double cpu = cpu_seconds();
    const auto start = std::chrono::steady_clock::now();
    for (std::uint32_t i = 0; i < kRate * kSeconds;) {
        const auto due = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() * kRate;
        while (i < due && i < kRate * kSeconds) observer->observe(event_number(i++));
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    const double busy = cpu_seconds() - cpu;
    const double took = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    done = true;
    client.join();
    EXPECT_EQ(seen + lost, kRate * kSeconds);
    std::printf("    hubble_events_per_s                                            %10.0f 1/s\n",
                kRate * kSeconds / took);
    std::printf("    hubble_events_accounted                                        %10.3f %%\n",
                100.0 * static_cast<double>(seen + lost) / (kRate * kSeconds));
    std::printf("    hubble_events_delivered                                        %10.3f %%\n",
                100.0 * static_cast<double>(seen) / (kRate * kSeconds));
    std::printf("    hubble_events core used                                        %10.3f %%\n", 100.0 * busy / took);
}

TEST(HubbleFigures, AMillionFlowsAreKeptSmallAndLookedThroughQuickly) {
    const auto path = std::filesystem::temp_directory_path() / ("axo-figures-" + std::to_string(::getpid()));
    {
        auto store = HistoryStore::open({.path = path, .max_bytes = 1U << 30}).value();
        auto observer = make_observer(4095);
        observer->set_sink([&](const FlowRecord& record) { store->add(record); });
        constexpr std::uint32_t kFlows = 1'000'000;
        for (std::uint32_t i = 0; i < kFlows; ++i) {
            observer->observe(event_number(i));
            if (i % 16384 == 0) store->flush();
        }
        store->flush();
        const HistoryStore::Status status = store->status();
        EXPECT_EQ(status.flows + status.lost, kFlows);
        FlowFilterSet::Filters filters;
        auto& wanted = *filters.Add();
        wanted.add_verdict(::flow::DROPPED);
        wanted.add_source_label("app=app-9");
        const auto filter = FlowFilterSet::compile(filters, {}, flow_context(*observer)).value();
        const auto start = std::chrono::steady_clock::now();
        std::size_t fits = 0, seen = 0;
        for (auto block = store->seek(0); block != History::kEnd; block = store->next(block)) {
            for (const FlowRecord& record : store->read(block)) {
                ++seen;
                if (filter.matches(record)) ++fits;
            }
        }
        const double ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
        EXPECT_EQ(seen, status.flows);
        EXPECT_GT(fits, 0U);
        std::printf("    hubble_query_ms                                                %10.1f ms\n",
                    ms * kFlows / static_cast<double>(seen));
        std::printf("    hubble_bytes_per_flow                                          %10.2f B\n",
                    static_cast<double>(status.bytes) / static_cast<double>(status.flows));
        EXPECT_LE(status.bytes, status.flows * 80);
    }
    std::filesystem::remove_all(path);
}

}  // namespace
}  // namespace axo::hubble
