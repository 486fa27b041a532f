// Reconciler<Key, Value>: makes one kind of kernel object equal to a desired map of them.
//
// It starts by reading what is there; what already equals the desired state is not touched, so a
// restart computes an empty diff and says so. Single failures are kept per object and retried with
// backoff; the rest goes on. Removal of what is not desired happens only once the desired state is
// declared complete: after a restart nothing is pruned before all sources have spoken.
// Changes by put/remove_desired are written without reading first; the whole is compared at start, at the interval,
// when retrying and on resync. Operations must not change this reconciler's desired state. Thread: the loop's only.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "base/log.h"
#include "base/result.h"
#include "runtime/controller.h"
#include "runtime/event_loop.h"

namespace axo {

// What the reconciler did since the process started; shown by `status --verbose` and asserted by the restart tests.
struct ReconcileCounters {
    std::uint64_t unchanged_at_start = 0;  // found equal by the first diff
    std::uint64_t added = 0;
    std::uint64_t updated = 0;
    std::uint64_t removed = 0;
    std::uint64_t failed = 0;  // attempts
};

template <class Key, class Value>
class Reconciler {
public:
    // The kernel side. All calls come from the loop; they must not block for long.
    struct Operations {
        std::function<Result<std::map<Key, Value>>()> list;
        std::function<Status(const Key&, const Value&)> put;  // creates or replaces
        std::function<Status(const Key&)> remove;             // what is not there is success
        std::function<std::string(const Key&)> describe;      // for errors and dumps
        // Runs after a batch in which anything was written; e.g. bumps a generation. May be empty.
        std::function<void()> committed;
    };

    Reconciler(EventLoop& loop, ControllerRegistry& registry, std::string name, Operations operations,
               Duration full_interval = std::chrono::minutes(5))
        : name_(name),
          log_(name),
          operations_(std::move(operations)),
          controller_(loop, registry, std::move(name), [this] { return run(); }, full_interval) {}

    // The whole desired state. complete: everything that should exist is in it (see class comment); it stays complete.
    void set_desired(std::map<Key, Value> desired, bool complete) {
        // Only what differs from the previous call is written; nothing has to be read for that.
        for (const auto& [key, value] : desired_) {
            const auto next = desired.find(key);
            if (next == desired.end() || !(next->second == value)) touch(key);
        }
        for (const auto& [key, value] : desired) {
            if (!desired_.contains(key)) touch(key);
        }
        desired_ = std::move(desired);
        complete_ = complete_ || complete;
        controller_.trigger();
    }
    void put_desired(const Key& key, Value value) {
        touch(key);
        desired_.insert_or_assign(key, std::move(value));
        controller_.trigger();
    }
    void remove_desired(const Key& key) {
        touch(key);
        desired_.erase(key);
        controller_.trigger();
    }
    void set_complete() {
        if (complete_) return;
        complete_ = true;
        controller_.trigger();
    }
    // Somebody else may have changed the kernel: compare everything again.
    void resync() {
        full_ = true;
        controller_.trigger();
    }
    // Applies what is pending now instead of on the next turn: for callers that must not continue before. Tells how
    // that went; what failed is retried as ever.
    Status flush() {
        auto outcome = reconcile(false);
        if (!outcome) controller_.trigger();  // so that the controller knows and retries
        return outcome;
    }

    [[nodiscard]] const std::map<Key, Value>& desired() const { return desired_; }
    [[nodiscard]] const ReconcileCounters& counters() const { return counters_; }
    [[nodiscard]] const std::map<Key, Error>& errors() const { return errors_; }
    [[nodiscard]] const std::string& name() const { return name_; }

private:
    // What the kernel held before the first unapplied change of a key, as far as known; nothing: no such object.
    using Before = std::optional<Value>;

    void touch(const Key& key) {
        if (!dirty_.insert(key).second || before_.contains(key)) return;
        const auto applied = desired_.find(key);
        before_.emplace(key, applied == desired_.end() ? Before{} : Before{applied->second});
    }

    // The controller's run: a retry or the interval compares everything, a trigger only needs what has changed.
    Status run() {
        if (auto outcome = reconcile(controller_.timer_run()); !outcome) return outcome;
        return first_error(errors_);
    }

    Status reconcile(bool everything) {
        bool wrote = false;
        const bool all = everything || full_ || (!started_ && complete_);
        auto outcome = all ? reconcile_all(wrote) : started_ ? reconcile_dirty(wrote) : reconcile_early(wrote);
        if (wrote && operations_.committed) operations_.committed();
        return outcome;
    }

    Status reconcile_all(bool& wrote) {
        TRY_ASSIGN(auto actual, listed());
        full_ = false;
        found_.reset();
        dirty_.clear();
        before_.clear();
        const auto previous_errors = std::exchange(errors_, {});
        for (const auto& [key, value] : desired_) wrote |= make_equal(key, value, actual, previous_errors);
        if (complete_) {
            for (auto& [key, value] : actual) {
                if (!desired_.contains(key)) wrote |= drop(key, Before{std::move(value)}, previous_errors);
            }
        }
        if (!started_ && complete_) {
            started_ = true;
            compared_.clear();
            log_.info("First reconciliation done", {{"unchanged", counters_.unchanged_at_start},
                                                    {"added", counters_.added},
                                                    {"updated", counters_.updated},
                                                    {"removed", counters_.removed},
                                                    {"failed", counters_.failed}});
        }
        return first_error(errors_);
    }

    // Before everything is known. Whoever puts a thousand things and wants each applied at once does not pay for a
    // listing a thousand times: what an earlier run left is read once, and remembered until the comparison of
    // everything.
    Status reconcile_early(bool& wrote) {
        if (!found_) {
            TRY_ASSIGN(found_, listed());
            for (const auto& [key, value] : desired_) dirty_.insert(key);
        }
        before_.clear();
        Errors failures;
        for (const Key& key : std::exchange(dirty_, {})) {
            Errors previous;
            if (auto failure = errors_.extract(key)) previous.insert(std::move(failure));
            const auto wanted = desired_.find(key);
            if (wanted == desired_.end()) continue;  // goes with what else is nobody's
            if (make_equal(key, wanted->second, *found_, previous)) {
                wrote = true;
                found_->insert_or_assign(key, wanted->second);
            } else if (const auto failure = errors_.find(key); failure != errors_.end()) {
                failures.insert(*failure);
                found_->erase(key);
            }
        }
        return first_error(failures);
    }

    Status reconcile_dirty(bool& wrote) {
        Errors failures;
        for (const Key& key : std::exchange(dirty_, {})) {
            auto entry = before_.extract(key);
            const Before& before = entry.mapped();
            const auto wanted = desired_.find(key);
            Errors previous;
            // After a failed attempt nobody knows what the kernel holds.
            if (auto failure = errors_.extract(key)) {
                previous.insert(std::move(failure));
            } else if (wanted == desired_.end() ? !before : before && *before == wanted->second) {
                continue;
            }
            wrote |=
                wanted == desired_.end() ? drop(key, before, previous) : put(key, wanted->second, before, previous);
            if (const auto failure = errors_.find(key); failure != errors_.end()) failures.insert(*failure);
        }
        return first_error(failures);
    }

    using Errors = std::map<Key, Error>;

    Result<std::map<Key, Value>> listed() {
        auto actual = operations_.list();
        if (!actual) return std::unexpected(std::move(actual).error().with_context("reading actual state"));
        return actual;
    }
    // Whether it had to be written, and was. actual gives away what is there instead.
    bool make_equal(const Key& key, const Value& value, std::map<Key, Value>& actual, const Errors& previous) {
        const bool first_look = !started_ && compared_.insert(key).second;
        const auto found = actual.find(key);
        if (found == actual.end()) return put(key, value, Before{}, previous);
        if (!(found->second == value)) return put(key, value, Before{std::move(found->second)}, previous);
        if (first_look) ++counters_.unchanged_at_start;
        return false;
    }
    bool put(const Key& key, const Value& value, const Before& before, const Errors& previous) {
        if (auto done = operations_.put(key, value); !done)
            return failed(key, before, std::move(done).error(), previous);
        ++(before ? counters_.updated : counters_.added);
        return true;
    }
    bool drop(const Key& key, const Before& before, const Errors& previous) {
        if (auto done = operations_.remove(key); !done) return failed(key, before, std::move(done).error(), previous);
        ++counters_.removed;
        return true;
    }
    bool failed(const Key& key, const Before& before, Error error, const Errors& previous) {
        ++counters_.failed;
        const auto known = previous.find(key);
        if (known == previous.end() || known->second.message != error.message) {
            log_.warn("Reconciliation failed", {{"object", operations_.describe(key)}, error});
        }
        before_.insert_or_assign(key, before);
        errors_.insert_or_assign(key, std::move(error));
        return false;
    }
    Status first_error(const Errors& errors) const {
        if (errors.empty()) return {};
        const auto& [key, error] = *errors.begin();
        return fail(error.code, operations_.describe(key) + ": " + error.to_string() +
                                    (errors.size() > 1 ? " (and " + std::to_string(errors.size() - 1) + " more)" : ""));
    }

    std::string name_;
    Logger log_;
    Operations operations_;
    std::map<Key, Value> desired_;
    std::set<Key> dirty_;
    std::map<Key, Before> before_;               // of every dirty or failed key
    std::set<Key> compared_;                     // keys the first reconciliation has seen; until started
    std::optional<std::map<Key, Value>> found_;  // what the kernel holds, while it is compared piece by piece
    Errors errors_;
    ReconcileCounters counters_;
    bool complete_ = false;
    bool full_ = false;
    bool started_ = false;
    Controller controller_;
};

}  // namespace axo
