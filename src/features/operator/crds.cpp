#include "features/operator/crds.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "base/embedded_text.h"
#include "base/log.h"
#include "io/resources.h"
#include "model/yaml.h"

namespace axo {

extern "C" const EmbeddedText axo_crds_begin[], axo_crds_end[];  // cmake/text.cmake

namespace {

constexpr std::string_view kSchemaVersion = "io.cilium.k8s.crd.schema.version";
constexpr std::string_view kRevision = "axoneme.io/crd-revision";
constexpr Duration kPoll = std::chrono::milliseconds(100);

const Logger& log() {
    static const Logger logger("crds");
    return logger;
}

std::string metadata(const Json& crd, const char* map, std::string_view key) {
    const auto at = [](const Json& object, std::string_view member) -> const Json& {
        static const Json absent;
        const auto found = object.is_object() ? object.find(member) : object.end();
        return object.is_object() && found != object.end() ? *found : absent;
    };
    const Json& value = at(at(at(crd, "metadata"), map), key);
    return value.is_string() ? value.get<std::string>() : std::string();
}

// "1.32.6" as numbers; nullopt for what is none.
std::optional<std::vector<int>> version_of(std::string_view text) {
    std::vector<int> parts;
    while (true) {
        int number = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
        if (error != std::errc{} || number < 0) return std::nullopt;
        parts.push_back(number);
        text.remove_prefix(static_cast<std::size_t>(end - text.data()));
        if (text.empty()) return parts;
        if (text.front() != '.') return std::nullopt;
        text.remove_prefix(1);
    }
}

bool is_served(const Json& crd) {
    for (const Json& condition : crd.value("status", Json::object()).value("conditions", Json::array())) {
        if (condition.value("type", "") == "Established" && condition.value("status", "") == "True") return true;
    }
    return false;
}

}  // namespace

std::vector<EmbeddedCrd> embedded_crds() {
    std::vector<EmbeddedCrd> all;
    for (const EmbeddedText* text = axo_crds_begin; text != axo_crds_end; ++text)
        all.push_back({text->name, {text->begin, text->end}});
    // Agents wait for these.
    static constexpr std::array<std::string_view, 6> kFirst{"ciliumnodes",
                                                            "ciliumidentities",
                                                            "ciliumendpoints",
                                                            "ciliumnetworkpolicies",
                                                            "ciliumclusterwidenetworkpolicies",
                                                            "ciliumcidrgroups"};
    std::ranges::stable_sort(
        all, {}, [](const EmbeddedCrd& crd) { return std::ranges::find(kFirst, crd.plural) - kFirst.begin(); });
    return all;
}

CrdStep crd_step(const Json& wanted, const Json& present) {
    if (present.is_null()) return CrdStep::kCreate;
    const auto ours = version_of(metadata(wanted, "labels", kSchemaVersion));
    const auto theirs = version_of(metadata(present, "labels", kSchemaVersion));
    if (!theirs || *theirs < *ours) return CrdStep::kReplace;
    if (*theirs > *ours) return CrdStep::kNothing;
    const auto our_revision = version_of(metadata(wanted, "annotations", kRevision));
    const auto their_revision = version_of(metadata(present, "annotations", kRevision));
    return their_revision && *their_revision < *our_revision ? CrdStep::kReplace : CrdStep::kNothing;
}

Json replaced_crd(const Json& wanted, const Json& present) {
    Json next = present;
    next["metadata"].merge_patch({{"labels", wanted["metadata"].value("labels", Json::object())},
                                  {"annotations", wanted["metadata"].value("annotations", Json::object())}});
    next["spec"] = wanted["spec"];
    Json& versions = next["spec"]["versions"];
    const auto has = [&](const Json& name) {
        return std::ranges::any_of(versions, [&](const Json& version) { return version["name"] == name; });
    };
    const Json stored = present.value("status", Json::object()).value("storedVersions", Json::array());
    for (const Json& version : present.value("spec", Json::object()).value("versions", Json::array())) {
        if (has(version["name"]) || std::ranges::find(stored, version["name"]) == stored.end()) continue;
        versions.push_back(version);
        versions.back()["storage"] = false;
    }
    return next;
}

CrdRegistration::CrdRegistration(EventLoop& loop, ControllerRegistry& registry, ObjectStore& store, Duration patience)
    : loop_(loop),
      store_(store),
      patience_(patience),
      controller_(loop, registry, "register-crds", [this] { return register_all(); }) {
    controller_.trigger();
}

// One failure does not keep the others away: what can be served is. An API server works on each for a while, so all are
// written before any is waited for.
Task<Status> CrdRegistration::register_all() {
    Status outcome;
    std::vector<ObjectKey> written;
    for (const EmbeddedCrd& crd : embedded_crds()) {
        CO_AWAIT(Result<bool> wrote, register_one(crd));
        if (wrote && *wrote) written.push_back({"", crd.name()});
        if (!wrote && outcome) outcome = std::unexpected(std::move(wrote).error());
    }
    for (const ObjectKey& key : written) {
        CO_AWAIT(Status served, wait_until_served(key));
        if (!served && outcome) outcome = std::move(served);
    }
    co_return outcome;
}

// Whether it has been written.
Task<Result<bool>> CrdRegistration::register_one(EmbeddedCrd crd) {
    const ObjectKey key{"", crd.name()};
    CO_AWAIT(Result<Json> present, store_.get(resources::kCustomResourceDefinition, key));
    if (!present && present.error().code != Code::kNotFound)
        co_return std::unexpected(std::move(present).error().with_context("CustomResourceDefinition " + key.name));
    CO_TRY_ASSIGN(const Json wanted, parse_yaml(crd.yaml));
    const CrdStep step = crd_step(wanted, present ? *present : Json());
    if (step == CrdStep::kNothing) co_return false;
    if (step == CrdStep::kCreate) {
        CO_AWAIT(Result<Json> created, store_.create(resources::kCustomResourceDefinition, wanted));
        if (!created && created.error().code != Code::kAlreadyExists)
            co_return std::unexpected(std::move(created).error().with_context("create " + key.name));
    } else {
        CO_AWAIT(Result<Json> replaced,
                 store_.update(resources::kCustomResourceDefinition, replaced_crd(wanted, *present)));
        if (!replaced) co_return std::unexpected(std::move(replaced).error().with_context("update " + key.name));
    }
    log().info(
        step == CrdStep::kCreate ? "CustomResourceDefinition created" : "CustomResourceDefinition brought up to date",
        {{"name", key.name}, {"from", present ? metadata(*present, "labels", kSchemaVersion) : ""}});
    co_return true;
}

Task<Status> CrdRegistration::wait_until_served(ObjectKey key) {
    for (Duration waited{0}; waited < patience_; waited += kPoll) {
        CO_TRY_ASSIGN(const Json present, store_.get(resources::kCustomResourceDefinition, key));
        if (is_served(present)) co_return Status{};
        auto pause = sleep_for(loop_, kPoll);
        co_await std::move(pause);
    }
    if (patience_ == Duration{0}) co_return Status{};
    co_return fail(Code::kUnavailable,
                   "CustomResourceDefinition " + key.name + ": the API server does not serve it yet");
}

}  // namespace axo
