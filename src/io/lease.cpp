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
        watch = store.watch(
            resources::kLease,
            {.upserted =
                 [this](const ObjectKey& key, const Json& lease) {
                     if (key == config.lease) seen(lease);
                 },
             .deleted =
                 [this](const ObjectKey& key) {
                     if (key == config.lease && !leading) arm(Duration{0});
                 },
             .synced = {},
             .rejected = {}},
            {.fields = {{"metadata.name", config.lease.name}, {"metadata.namespace", config.lease.name_space}}});
        arm(Duration{0});
    }

    void arm(Duration delay) {
        timer = loop.after(delay, [this] { turn(); });
    }
    // One attempt at a time; whoever is asked and does not answer must not keep the lease looking ours.
    void turn() {
        if (!attempt.empty()) return;
        const auto asked = Clock::now();  // the lease runs from before the write, whatever that takes
        attempt.spawn(within(loop, config.renew_deadline, "renewing the lease", acquire_or_renew()),
                      [this, asked](const Result<bool>& outcome) { attempted(asked, outcome); });
        if (leading && !attempt.empty())
            patience = loop.after(renewed_at + config.renew_deadline - asked, [this] {
                if (leading && Clock::now() - renewed_at >= config.renew_deadline)
                    stop_leading("it could not be renewed in time");
            });
    }
    // Candidates that were started together drift apart, and do not all knock at the same moment.
    [[nodiscard]] Duration jittered(Duration period) {
        return period + Duration(static_cast<std::int64_t>(std::uniform_real_distribution<double>(0.0, 0.2)(random) *
                                                           static_cast<double>(period.count())));
    }

    // Somebody has written the lease, perhaps ourselves.
    void seen(const Json& lease) {
        observe(lease);
        // Taken, or a version older than our own write, which a watch may bring late: asked for.
        if (leading && observed.holder != config.identity) arm(Duration{0});
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

    void attempted(Clock::time_point asked, const Result<bool>& outcome) {
        patience.cancel();
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
    Task<Result<bool>> acquire_or_renew() {
        CO_AWAIT(auto lease, store.get(resources::kLease, config.lease));
        const std::string now = format_time_micro(std::chrono::system_clock::now());
        if (!lease) {
            if (lease.error().code != Code::kNotFound) co_return std::unexpected(std::move(lease).error());
            Json fresh = {{"apiVersion", resources::kLease.api_version()},
                          {"kind", resources::kLease.kind},
                          {"metadata", {{"name", config.lease.name}, {"namespace", config.lease.name_space}}},
                          {"spec", spec(now, now, 0)}};
            CO_TRY_ASSIGN(const Json created, store.create(resources::kLease, std::move(fresh)));
            observe(created);
            co_return true;
        }
        observe(*lease);
        const bool ours = observed.holder == config.identity;
        const Duration duration = observed.duration > Duration{0} ? observed.duration : config.lease_duration;
        if (!ours && !observed.holder.empty() && Clock::now() - observed_at < duration) co_return false;
        std::string acquired = now;
        if (ours) {
            if (auto kept = text_of((*lease)["spec"], "acquireTime"); !kept.empty()) acquired = std::move(kept);
        }
        Json next = *lease;
        if (!next["spec"].is_object()) next["spec"] = Json::object();
        next["spec"].update(spec(acquired, now, observed.transitions + (ours ? 0 : 1)));
        CO_TRY_ASSIGN(const Json stored, store.update(resources::kLease, std::move(next)));
        observe(stored);
        co_return true;
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

    // What is under way is not waited for: if it succeeds, this release fails, and the lease runs out by itself.
    Task<Status> release() {
        timer.cancel();
        patience.cancel();
        watch.reset();
        attempt.cancel();
        if (!std::exchange(leading, false)) co_return Status{};
        CO_TRY_ASSIGN(Json lease, store.get(resources::kLease, config.lease));
        if (read_record(lease).holder != config.identity) co_return Status{};
        const std::string now = format_time_micro(std::chrono::system_clock::now());
        lease["spec"].update(
            {{"holderIdentity", ""}, {"leaseDurationSeconds", 1}, {"acquireTime", now}, {"renewTime", now}});
        CO_TRY(store.update(resources::kLease, std::move(lease)));
        co_return Status{};
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
    EventLoop::Handle patience;  // until the lease is lost, while an attempt is under way
    std::unique_ptr<ObjectStore::Watch> watch;
    TaskGroup attempt;
};

LeaderElection::LeaderElection(EventLoop& loop, ObjectStore& store, LeaseConfig config, Callbacks callbacks)
    : impl_(std::make_unique<Impl>(loop, store, std::move(config), std::move(callbacks))) {
    impl_->start();
}

LeaderElection::~LeaderElection() {
    TaskGroup at_once;
    at_once.spawn(impl_->release(), [this](const Status& outcome) {
        if (!outcome)
            impl_->log.warn("Cannot release the lease; it runs out by itself",
                            {{"lease", impl_->config.lease.to_string()}, outcome.error()});
    });
}

Task<Status> LeaderElection::resign() {
    return impl_->release();
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
