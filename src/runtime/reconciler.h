// Reconciler<Key, Value>: makes one kind of kernel object equal to a desired map of them.
//
// It starts by reading what is there; what already equals the desired state is not touched, so a
// restart computes an empty diff and says so. Single failures are kept per object and retried with
// backoff; the rest goes on. Removal of what is not desired happens only once the desired state is
// declared complete: after a restart nothing is pruned before all sources have spoken.
// Thread: the loop's only.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

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
          controller_(loop, registry, std::move(name), [this] { return reconcile(); }, full_interval) {}

    // The whole desired state. complete: everything that should exist is in it (see class comment).
    void set_desired(std::map<Key, Value> desired, bool complete) {
        desired_ = std::move(desired);
        complete_ = complete_ || complete;
        full_ = true;
        controller_.trigger();
    }
    void put_desired(const Key& key, Value value) {
        desired_.insert_or_assign(key, std::move(value));
        dirty_.insert(key);
        controller_.trigger();
    }
    void remove_desired(const Key& key) {
        desired_.erase(key);
        dirty_.insert(key);
        controller_.trigger();
    }
    void set_complete() {
        if (complete_) return;
        complete_ = true;
        full_ = true;
        controller_.trigger();
    }
    // Somebody else may have changed the kernel: compare everything again.
    void resync() {
        full_ = true;
        controller_.trigger();
    }
    // Applies what is pending now instead of on the next turn: for callers that must not continue before.
    Status flush() { return reconcile(); }

    [[nodiscard]] const std::map<Key, Value>& desired() const { return desired_; }
    [[nodiscard]] const ReconcileCounters& counters() const { return counters_; }
    [[nodiscard]] const std::map<Key, Error>& errors() const { return errors_; }
    [[nodiscard]] const std::string& name() const { return name_; }

private:
    Status reconcile() {
        bool wrote = false;
        Status outcome;
        if (full_ || !started_ || !errors_.empty()) {
            outcome = reconcile_all(wrote);
        } else {
            outcome = reconcile_dirty(wrote);
        }
        if (wrote && operations_.committed) operations_.committed();
        return outcome;
    }

    Status reconcile_all(bool& wrote) {
        auto actual = operations_.list();
        if (!actual) return std::unexpected(std::move(actual).error().with_context("reading actual state"));
        full_ = false;
        dirty_.clear();
        errors_.clear();
        for (const auto& [key, value] : desired_) {
            const auto found = actual->find(key);
            if (found == actual->end()) {
                wrote |= apply(key, value, counters_.added);
            } else if (!(found->second == value)) {
                wrote |= apply(key, value, counters_.updated);
            } else if (!started_) {
                ++counters_.unchanged_at_start;
            }
        }
        if (complete_) {
            for (const auto& [key, value] : *actual) {
                if (!desired_.contains(key)) wrote |= drop(key);
            }
        }
        if (!started_ && complete_) {
            started_ = true;
            log_.info("first reconciliation done",
                      {{"unchanged", counters_.unchanged_at_start}, {"added", counters_.added},
                       {"updated", counters_.updated}, {"removed", counters_.removed}, {"failed", counters_.failed}});
        }
        return first_error();
    }

    Status reconcile_dirty(bool& wrote) {
        auto dirty = std::exchange(dirty_, {});
        for (const Key& key : dirty) {
            const auto wanted = desired_.find(key);
            if (wanted != desired_.end()) {
                wrote |= apply(key, wanted->second, counters_.added);
            } else {
                wrote |= drop(key);
            }
        }
        return first_error();
    }

    bool apply(const Key& key, const Value& value, std::uint64_t& counter) {
        if (auto done = operations_.put(key, value); !done) return failed(key, std::move(done).error());
        ++counter;
        return true;
    }
    bool drop(const Key& key) {
        if (auto done = operations_.remove(key); !done) return failed(key, std::move(done).error());
        ++counters_.removed;
        return true;
    }
    bool failed(const Key& key, Error error) {
        ++counters_.failed;
        log_.warn("reconciliation failed", {{"object", operations_.describe(key)}, error});
        errors_.insert_or_assign(key, std::move(error));
        return false;
    }
    Status first_error() const {
        if (errors_.empty()) return {};
        const auto& [key, error] = *errors_.begin();
        return fail(error.code, operations_.describe(key) + ": " + error.to_string() +
                                    (errors_.size() > 1 ? " (and " + std::to_string(errors_.size() - 1) + " more)" : ""));
    }

    std::string name_;
    Logger log_;
    Operations operations_;
    std::map<Key, Value> desired_;
    std::set<Key> dirty_;
    std::map<Key, Error> errors_;
    ReconcileCounters counters_;
    bool complete_ = false;
    bool full_ = true;
    bool started_ = false;
    Controller controller_;
};

}  // namespace axo
