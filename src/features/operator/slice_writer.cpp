#include "features/operator/slice_writer.h"

#include <algorithm>
#include <random>

#include "base/log.h"
#include "io/resources.h"

namespace axo {
namespace {

constexpr double kPerSecond = 10, kBurst = 20;

// As Cilium's operator names them.
std::string new_name() {
    static std::mt19937_64 random{std::random_device{}()};
    std::string name = "ces-";
    for (int i = 0; i < 9; ++i) name += "bcdfghjklmnpqrstvwxyz2456789"[random() % 28];
    return name;
}

ObjectVerdicts ignored() {
    return {.rejected = [](const std::string&, const Error&) {}, .accepted = [](const std::string&) {}};
}

}  // namespace

SliceWriter::SliceWriter(EventLoop& loop, ControllerRegistry& registry, ObjectStore& store, std::size_t limit)
    : loop_(loop),
      store_(store),
      slices_(limit, new_name),
      tokens_(kBurst),
      refilled_(std::chrono::steady_clock::now()),
      controller_(loop, registry, "sync-ciliumendpointslices", [this] { return work(); }) {
    endpoint_watch_ = watch_objects<CiliumEndpoint>(
        store_, resources::kCiliumEndpoint,
        {.upserted =
             [this](const ObjectKey& key, const CiliumEndpoint& endpoint) {
                 if (endpoint.identity.value == 0 || endpoint.addressing.empty())
                     slices_.remove_endpoint(key);
                 else
                     slices_.set_endpoint(key, CiliumEndpointSlice::endpoint_of(endpoint));
                 controller_.trigger();
             },
         .deleted =
             [this](const ObjectKey& key) {
                 slices_.remove_endpoint(key);
                 controller_.trigger();
             },
         .synced =
             [this] {
                 endpoints_synced_ = true;
                 synced();
             },
         .verdicts = ignored()});
    slice_watch_ = watch_objects<CiliumEndpointSlice>(store_, resources::kCiliumEndpointSlice,
                                                      {.upserted =
                                                           [this](const ObjectKey&, const CiliumEndpointSlice& slice) {
                                                               slices_.seen(slice);
                                                               controller_.trigger();
                                                           },
                                                       .deleted =
                                                           [this](const ObjectKey& key) {
                                                               slices_.seen_gone(key.name);
                                                               controller_.trigger();
                                                           },
                                                       .synced =
                                                           [this] {
                                                               slices_synced_ = true;
                                                               synced();
                                                           },
                                                       .verdicts = ignored()});
}

void SliceWriter::synced() {
    if (!endpoints_synced_ || !slices_synced_) return;
    slices_.complete();
    controller_.trigger();
}

bool SliceWriter::take_token() {
    const auto now = std::chrono::steady_clock::now();
    tokens_ = std::min(kBurst, tokens_ + std::chrono::duration<double>(now - refilled_).count() * kPerSecond);
    refilled_ = now;
    if (tokens_ < 1) return false;
    tokens_ -= 1;
    return true;
}

Task<Status> SliceWriter::work() {
    Status outcome;
    const std::set<std::string> dirty = slices_.dirty();
    for (const std::string& name : dirty) {
        if (!take_token()) {
            later_ = loop_.after(std::chrono::milliseconds(100), [this] { controller_.trigger(); });
            break;
        }
        CO_AWAIT(Status done, write(name));
        if (!done && outcome)
            outcome = std::unexpected(std::move(done).error().with_context("CiliumEndpointSlice " + name));
    }
    co_return outcome;
}

Task<Status> SliceWriter::write(std::string name) {
    const auto wanted = slices_.wanted(name);
    if (!wanted) {
        CO_TRY(store_.remove(resources::kCiliumEndpointSlice, {"", name}));
        slices_.seen_gone(name);
        co_return Status{};
    }
    CO_AWAIT(auto current, store_.get(resources::kCiliumEndpointSlice, {"", name}));
    if (!current && current.error().code != Code::kNotFound) co_return forward_error(std::move(current).error());
    Json stored;
    if (current) {
        CO_TRY_ASSIGN(stored, store_.update(resources::kCiliumEndpointSlice, updated_json(*current, *wanted)));
    } else {
        CO_TRY_ASSIGN(stored, store_.create(resources::kCiliumEndpointSlice, wanted->to_json()));
    }
    // The watch says the same later, if nothing else has happened.
    if (const auto parsed = CiliumEndpointSlice::parse(stored)) slices_.seen(*parsed);
    co_return Status{};
}

}  // namespace axo
