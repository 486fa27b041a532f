// Writes v1 Events about objects: what an operator of the cluster sees in `kubectl get events`.
//
// Events that say the same of the same object are one Event with a count; repetitions within some seconds are
// written together, so that something failing in a loop does not keep the disk busy. Events not repeated for an
// hour are removed again. Recording never fails for the caller; what cannot be written is logged.
// Thread: the loop's only.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <string>

#include "io/object_store.h"
#include "model/meta.h"
#include "runtime/event_loop.h"

namespace axo {

enum class EventType { kNormal, kWarning };

// The object an event is about.
struct EventTarget {
    std::string api_version;
    std::string kind;
    ObjectKey key;
    std::string uid;

    // Of an object as a store gives it.
    static EventTarget of(const nlohmann::json& object);
};

class EventRecorder {
public:
    // component: "cilium-operator"; host: the node it runs on, "" for none.
    EventRecorder(EventLoop& loop, ObjectStore& store, std::string component, std::string host = {});
    ~EventRecorder();  // writes what is unwritten, if the store answers at once
    EventRecorder(const EventRecorder&) = delete;
    EventRecorder& operator=(const EventRecorder&) = delete;

    // reason: one CamelCase word, "PodCIDRAllocationFailed"; message: a sentence.
    void record(const EventTarget& target, EventType type, const std::string& reason, const std::string& message);
    void normal(const ResourceType& type, const ObjectMeta& object, const std::string& reason,
                const std::string& message);
    void warning(const ResourceType& type, const ObjectMeta& object, const std::string& reason,
                 const std::string& message);

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace axo
