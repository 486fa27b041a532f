#include "io/lease.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "base/log.h"
#include "io/resources.h"
#include "model/time.h"

namespace axo {
namespace {

using Json = nlohmann::json;
using Clock = std::chrono::steady_clock;

// What decides about leadership, as far as a Lease that anybody may have written can be trusted to hold it.
struct LeaseRecord {
    std::string holder;
    std::string renewed;  // never compared with our clock: only whether it changes counts
    Duration duration{0};
    std::int64_t transitions = 0;

    friend bool operator==(const LeaseRecord&, const LeaseRecord&) = default;
};

std::string text_of(const Json& spec, const char* name) {
    const auto it = spec.find(name);
    return it != spec.end() && it->is_string() ? it->get<std::string>() : std::string();
}

std::int64_t number_of(const Json& spec, const char* name) {
    const auto it = spec.find(name);
    return it != spec.end() && it->is_number_integer() ? it->get<std::int64_t>() : 0;
}

LeaseRecord read_record(const Json& lease) {
    const auto spec = lease.find("spec");
    if (spec == lease.end() || !spec->is_object()) return {};
    return {.holder = text_of(*spec, "holderIdentity"),
            .renewed = text_of(*spec, "renewTime"),
            .duration =
                std::chrono::seconds(std::clamp<std::int64_t>(number_of(*spec, "leaseDurationSeconds"), 0, 24 * 3600)),
            .transitions = number_of(*spec, "leaseTransitions")};
}

std::int64_t whole_seconds(Duration duration) {
    return std::max<std::int64_t>(1, std::chrono::ceil<std::chrono::seconds>(duration).count());
}

}  // namespace

struct LeaderElection::Impl {
    Impl(EventLoop& l, ObjectStore& s, LeaseConfig c, Callbacks b)
        : loop(l), store(s), config(std::move(c)), callbacks(std::move(b)) {}

    void start() {
        watch = store.watch(resources::kLease, {.upserted =
                                                    [this](const ObjectKey& key, const Json& lease) {
                                                        if (key == config.lease) seen(lease);
                                                    },
                                                .deleted =
                                                    [this](const ObjectKey& key) {
                                                        if (key == config.lease && !leading) arm(Duration{0});
                                                    },
                                                .synced = {},
                                                .rejected = {}});
        arm(Duration{0});
    }

    void arm(Duration delay) {
        timer = loop.after(delay, [this] { turn(); });
    }
    // Candidates that were started together drift apart, and do not all knock at the same moment.
    [[nodiscard]] Duration jittered(Duration period) {
        return period + Duration(static_cast<std::int64_t>(std::uniform_real_distribution<double>(0.0, 0.2)(random) *
                                                           static_cast<double>(period.count())));
    }

    // Somebody has written the lease, perhaps ourselves.
    void seen(const Json& lease) {
        observe(lease);
        if (leading && observed.holder != config.identity)
            return stop_leading("the lease has been taken by \"" + observed.holder + "\"");
        if (!leading && observed.holder.empty()) arm(Duration{0});  // released: no need to wait for its end
    }

    void observe(const Json& lease) {
        auto record = read_record(lease);
        if (record == observed && observed_at != Clock::time_point{}) return;
        if (record.holder != observed.holder && !record.holder.empty() && record.holder != config.identity) {
            log.info("New leader", {{"lease", config.lease.to_string()}, {"holder", record.holder}});
        }
        observed = std::move(record);
        observed_at = Clock::now();
    }

    void turn() {
        const auto asked = Clock::now();  // the lease runs from before the write, whatever that takes
        auto outcome = acquire_or_renew();
        if (outcome && *outcome) {
            renewed_at = asked;
            arm(leading ? config.retry_period : jittered(config.retry_period));
            if (!leading) start_leading();
            return;
        }
        if (!outcome && outcome.error().code != Code::kAborted && outcome.error().code != Code::kAlreadyExists) {
            log.warn("Cannot acquire or renew the lease", {{"lease", config.lease.to_string()}, outcome.error()});
        }
        arm(leading ? config.retry_period : jittered(config.retry_period));
        if (!leading) return;
        if (observed.holder != config.identity)
            return stop_leading("the lease has been taken by \"" + observed.holder + "\"");
        if (Clock::now() - renewed_at >= config.renew_deadline) stop_leading("it could not be renewed in time");
    }

    // true: it is ours, as of now.
    Result<bool> acquire_or_renew() {
        auto lease = store.get(resources::kLease, config.lease);
        const std::string now = format_time_micro(std::chrono::system_clock::now());
        if (!lease) {
            if (lease.error().code != Code::kNotFound) return std::unexpected(std::move(lease).error());
            Json fresh = {{"apiVersion", resources::kLease.api_version()},
                          {"kind", resources::kLease.kind},
                          {"metadata", {{"name", config.lease.name}, {"namespace", config.lease.name_space}}},
                          {"spec", spec(now, now, 0)}};
            TRY_ASSIGN(const Json created, store.create(resources::kLease, fresh));
            observe(created);
            return true;
        }
        observe(*lease);
        const bool ours = observed.holder == config.identity;
        const Duration duration = observed.duration > Duration{0} ? observed.duration : config.lease_duration;
        if (!ours && !observed.holder.empty() && Clock::now() - observed_at < duration) return false;
        std::string acquired = now;
        if (ours) {
            if (auto kept = text_of((*lease)["spec"], "acquireTime"); !kept.empty()) acquired = std::move(kept);
        }
        Json next = *lease;
        if (!next["spec"].is_object()) next["spec"] = Json::object();
        next["spec"].update(spec(acquired, now, observed.transitions + (ours ? 0 : 1)));
        TRY_ASSIGN(const Json stored, store.update(resources::kLease, next));
        observe(stored);
        return true;
    }

    [[nodiscard]] Json spec(const std::string& acquired, const std::string& renewed, std::int64_t transitions) const {
        return {{"holderIdentity", config.identity},
                {"leaseDurationSeconds", whole_seconds(config.lease_duration)},
                {"acquireTime", acquired},
                {"renewTime", renewed},
                {"leaseTransitions", transitions}};
    }

    void start_leading() {
        leading = true;
        log.info("Started leading", {{"lease", config.lease.to_string()}, {"identity", config.identity}});
        if (callbacks.started_leading) callbacks.started_leading();
    }
    void stop_leading(const std::string& why) {
        leading = false;
        log.warn("Stopped leading",
                 {{"lease", config.lease.to_string()}, {"identity", config.identity}, {"reason", why}});
        if (callbacks.stopped_leading) callbacks.stopped_leading();
    }

    void release() {
        timer.cancel();
        watch.reset();
        if (!std::exchange(leading, false)) return;
        auto lease = store.get(resources::kLease, config.lease);
        if (!lease || read_record(*lease).holder != config.identity) return;
        const std::string now = format_time_micro(std::chrono::system_clock::now());
        (*lease)["spec"].update(
            {{"holderIdentity", ""}, {"leaseDurationSeconds", 1}, {"acquireTime", now}, {"renewTime", now}});
        if (auto released = store.update(resources::kLease, *lease); !released) {
            log.warn("Cannot release the lease; it runs out by itself",
                     {{"lease", config.lease.to_string()}, released.error()});
        }
    }

    EventLoop& loop;
    ObjectStore& store;
    LeaseConfig config;
    Callbacks callbacks;
    Logger log{"leader-election"};
    std::mt19937 random{std::random_device{}()};
    LeaseRecord observed;
    Clock::time_point observed_at{};  // when the record was first seen as it is
    Clock::time_point renewed_at{};
    bool leading = false;
    EventLoop::Handle timer;
    std::unique_ptr<ObjectStore::Watch> watch;
};

LeaderElection::LeaderElection(EventLoop& loop, ObjectStore& store, LeaseConfig config, Callbacks callbacks)
    : impl_(std::make_unique<Impl>(loop, store, std::move(config), std::move(callbacks))) {
    impl_->start();
}

LeaderElection::~LeaderElection() {
    impl_->release();
}

// Not only the flag: after a stop of the whole process (SIGSTOP, suspend) others may have taken over before any
// callback could run.
bool LeaderElection::is_leader() const {
    return impl_->leading && Clock::now() - impl_->renewed_at < impl_->config.lease_duration;
}

std::string LeaderElection::holder() const {
    return impl_->observed.holder;
}

}  // namespace axo
