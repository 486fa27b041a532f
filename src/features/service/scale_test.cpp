// What thousands of services cost, from their objects (as JSON) to the maps. Times and sizes are printed, and bounded
// so that only a change of complexity breaks a bound, not a loaded machine.
#include <malloc.h>
#include <time.h>

#include <cstdio>
#include <fstream>

#include "features/service/module_fixture.h"

namespace axo::service {
namespace {

// Hands objects to their watches at once; keeps none.
class PassingStore : public ObjectStore {
public:
    explicit PassingStore(EventLoop& loop) : loop_(loop) {}
    Task<Result<Json>> get(const ResourceType&, ObjectKey) override { return fail(Code::kNotFound, "not kept"); }
    Task<Result<std::vector<Json>>> list(const ResourceType&) override { return std::vector<Json>{}; }
    std::unique_ptr<Watch> watch(const ResourceType& type, WatchHandler handler, WatchOptions) override {
        loop_.post(handler.synced);
        handlers_[type.kind] = std::move(handler);
        return std::make_unique<Watch>();
    }
    Task<Result<Json>> create(const ResourceType&, Json) override { return fail(Code::kUnimplemented, ""); }
    Task<Result<Json>> update(const ResourceType&, Json) override { return fail(Code::kUnimplemented, ""); }
    Task<Result<Json>> update_status(const ResourceType&, Json) override { return fail(Code::kUnimplemented, ""); }
    Task<Status> remove(const ResourceType&, ObjectKey) override { return fail(Code::kUnimplemented, ""); }
    [[nodiscard]] std::string describe() const override { return "passing"; }

    void deliver(const std::string& kind, const Json& object) {
        handlers_.at(kind).upserted({object["metadata"]["namespace"], object["metadata"]["name"]}, object);
    }

private:
    EventLoop& loop_;
    std::map<std::string, WatchHandler> handlers_;
};

double now_ms(clockid_t clock) {
    timespec time{};
    ::clock_gettime(clock, &time);
    return static_cast<double>(time.tv_sec) * 1e3 + static_cast<double>(time.tv_nsec) / 1e6;
}

class Stopwatch {
public:
    [[nodiscard]] double wall() const { return now_ms(CLOCK_MONOTONIC) - wall_; }
    [[nodiscard]] double cpu() const { return now_ms(CLOCK_PROCESS_CPUTIME_ID) - cpu_; }

private:
    double wall_ = now_ms(CLOCK_MONOTONIC), cpu_ = now_ms(CLOCK_PROCESS_CPUTIME_ID);
};

double rss_mib() {
    ::malloc_trim(0);
    std::ifstream statm("/proc/self/statm");
    double pages = 0;
    statm >> pages >> pages;
    return pages * static_cast<double>(::sysconf(_SC_PAGESIZE)) / (1 << 20);
}

void report(const char* what, double value, const char* unit) {
    std::printf("    %-62s %10.3f %s\n", what, value, unit);
}

std::string name_of(int number) {
    return "service-" + std::to_string(number);
}
std::string cluster_ip(int number) {
    return "10.96." + std::to_string(number / 250) + "." + std::to_string(number % 250 + 1);
}
std::string pod_ip(int number) {
    return "10." + std::to_string(128 + number / 65025) + "." + std::to_string(number / 255 % 255) + "." +
           std::to_string(number % 255 + 1);
}

Json service_json(int number) {
    const std::string name = name_of(number);
    return {{"apiVersion", "v1"},
            {"kind", "Service"},
            {"metadata",
             {{"name", name},
              {"namespace", "default"},
              {"uid", "b1946ac9-2a5c-4f64-9d6a-" + std::to_string(100000000000 + number)},
              {"resourceVersion", std::to_string(1000 + number)},
              {"creationTimestamp", "2024-05-01T00:00:00Z"},
              {"labels", {{"app", name}, {"app.kubernetes.io/managed-by", "Helm"}}},
              {"annotations", {{"meta.helm.sh/release-name", name}, {"meta.helm.sh/release-namespace", "default"}}}}},
            {"spec",
             {{"type", "ClusterIP"},
              {"clusterIP", cluster_ip(number)},
              {"clusterIPs", {cluster_ip(number)}},
              {"ipFamilies", {"IPv4"}},
              {"ipFamilyPolicy", "SingleStack"},
              {"sessionAffinity", "None"},
              {"internalTrafficPolicy", "Cluster"},
              {"selector", {{"app", name}}},
              {"ports", {{{"name", "http"}, {"port", 80}, {"protocol", "TCP"}, {"targetPort", 8080}}}}}}};
}

Json slice_json(int number, int first_pod, int pods) {
    const std::string name = name_of(number);
    Json endpoints = Json::array();
    for (int i = 0; i < pods; ++i) {
        endpoints.push_back({{"addresses", {pod_ip(first_pod + i)}},
                             {"conditions", {{"ready", true}, {"serving", true}, {"terminating", false}}},
                             {"nodeName", "node-" + std::to_string(i % 50)},
                             {"zone", "zone-" + std::to_string(i % 3)},
                             {"targetRef",
                              {{"kind", "Pod"},
                               {"namespace", "default"},
                               {"name", name + "-7d4b9c6f5d-" + std::to_string(10000 + i)},
                               {"uid", "c2a5c6ac-9d6a-4f64-8c6a-" + std::to_string(100000000000 + i)}}}});
    }
    return {{"apiVersion", "discovery.k8s.io/v1"},
            {"kind", "EndpointSlice"},
            {"addressType", "IPv4"},
            {"metadata",
             {{"name", name + "-abcde"},
              {"namespace", "default"},
              {"uid", "d3a5c6ac-9d6a-4f64-8c6a-" + std::to_string(100000000000 + number)},
              {"resourceVersion", std::to_string(900000 + number)},
              {"labels",
               {{"kubernetes.io/service-name", name},
                {"endpointslice.kubernetes.io/managed-by", "endpointslice-controller.k8s.io"}}}}},
            {"endpoints", std::move(endpoints)},
            {"ports", {{{"name", "http"}, {"port", 8080}, {"protocol", "TCP"}}}}};
}

class ServiceScale : public ServiceModuleTest {
protected:
    void begin() {
        passing_ = std::make_unique<PassingStore>(loop_);
        module_ = std::make_unique<ServiceModule>(loop_, registry_, *passing_, settings_, *maps_, *tables_,
                                                  *generations_, ServiceModule::Callbacks{});
        module_->host_ports_complete();
        ASSERT_TRUE(module_->start([this] { synced_ = true; }));
        ASSERT_TRUE(wait_until([this] { return synced_; }));
    }
    void TearDown() override {
        module_.reset();
        passing_.reset();
    }
    // Runs the loop until the condition holds, looking at each turn.
    void turn_until(const std::function<bool()>& condition) {
        std::function<void()> look = [&] {
            if (condition()) return loop_.stop();
            loop_.post(look);
        };
        loop_.post(look);
        loop_.run();
    }

    std::unique_ptr<PassingStore> passing_;
};

TEST_F(ServiceScale, AThousandServicesOfTenBackends) {
    begin();
    constexpr int kServices = 1000, kPods = 10;
    std::vector<Json> services, slices;
    for (int i = 0; i < kServices; ++i) {
        services.push_back(service_json(i));
        slices.push_back(slice_json(i, i * kPods, kPods));
    }
    const Stopwatch watch;
    for (const Json& one : services) passing_->deliver("Service", one);
    for (const Json& one : slices) passing_->deliver("EndpointSlice", one);
    const double parsed = watch.wall();
    turn_until(
        [&] { return module_->usage().frontends == kServices && module_->usage().backends == kServices * kPods; });
    const double wall = watch.wall(), cpu = watch.cpu();
    report("of which reading the objects", parsed, "ms");
    report("service_sync_ms", wall, "ms");
    report("service_cpu_ms", cpu, "ms");
    EXPECT_LE(cpu, 3000);
    EXPECT_EQ(maps_->services()->size(), 2U * kServices);
    EXPECT_EQ(reached(tcp(cluster_ip(999), 80))->size(), 10U);
    // The same again changes nothing.
    const auto counters = module_->counters();
    const Stopwatch again;
    for (const Json& one : services) passing_->deliver("Service", one);
    for (const Json& one : slices) passing_->deliver("EndpointSlice", one);
    module_->flush();
    report("the same again", again.cpu(), "ms");
    EXPECT_EQ(module_->counters().added + module_->counters().updated, counters.added + counters.updated);
}

TEST_F(ServiceScale, TenThousandServices) {
    begin();
    constexpr int kServices = 10000;
    const double before = rss_mib();
    int pods = 0;
    for (int i = 0; i < kServices; ++i) {
        const int count = i % 5 == 0 ? 4 : 5;
        passing_->deliver("Service", service_json(i));
        passing_->deliver("EndpointSlice", slice_json(i, pods, count));
        pods += count;
    }
    turn_until([&] { return module_->usage().backends == static_cast<std::size_t>(pods); });
    ASSERT_EQ(pods, 48000);
    const double grown = rss_mib() - before;
    report("service_rss_mib: 10,000 services, 48,000 backends", grown, "MiB");
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    EXPECT_LE(grown, 200);
#else
    EXPECT_LE(grown, 26);
#endif

    std::vector<double> times;
    for (int i = 0; i < 201; ++i) {
        const int number = i * 47 % kServices;
        const Json slice = slice_json(number, 100000 + i * 4, 4);
        const LbAddress fresh{ip(pod_ip(100000 + i * 4)), 8080, IPPROTO_TCP};
        const Stopwatch watch;
        passing_->deliver("EndpointSlice", slice);
        turn_until([&] { return module_->backend_id(fresh) != 0; });
        times.push_back(watch.wall());
    }
    std::ranges::sort(times);
    report("backend_ready_ms p50", times[times.size() / 2], "ms");
    report("backend_ready_ms p99", times[times.size() * 99 / 100], "ms");
    EXPECT_LE(times[times.size() / 2], 100);

    // A restart reads all of it back.
    const auto entries = maps_->services()->size();
    forget_tables();
    synced_ = false;
    const Stopwatch watch;
    passing_ = std::make_unique<PassingStore>(loop_);
    module_ = std::make_unique<ServiceModule>(loop_, registry_, *passing_, settings_, *maps_, *tables_, *generations_,
                                              ServiceModule::Callbacks{});
    ASSERT_TRUE(module_->start([this] { synced_ = true; }));
    report("adopting 10,000 services", watch.wall(), "ms");
    EXPECT_EQ(maps_->services()->size(), entries);
    EXPECT_LE(watch.wall(), 5000);
}

}  // namespace
}  // namespace axo::service
