// For tests: a policy module on a store in a temporary directory, on slabs and generations that nobody else sees.
#pragma once

#include <unistd.h>

#include <algorithm>

#include "features/policy/listing.h"
#include "features/policy/module.h"
#include "io/store_fixture.h"
#include "maps/private_map.h"

namespace axo::policy {

// A store of which single kinds answer late.
class LateStore : public ObjectStore {
public:
    explicit LateStore(ObjectStore& store) : store_(store) {}
    std::string late_kind;
    std::function<void()> say_synced;  // what the late kind has not said yet

    Task<Result<Json>> get(const ResourceType& type, ObjectKey key) override { return store_.get(type, key); }
    Task<Result<std::vector<Json>>> list(const ResourceType& type) override { return store_.list(type); }
    using ObjectStore::watch;
    std::unique_ptr<Watch> watch(const ResourceType& type, WatchHandler handler, WatchOptions options) override {
        if (type.kind == late_kind) {
            handler.synced = [this, synced = handler.synced] {
                say_synced = [before = std::move(say_synced), synced] {
                    if (before) before();
                    synced();
                };
            };
        }
        return store_.watch(type, std::move(handler), std::move(options));
    }
    Task<Result<Json>> create(const ResourceType& type, Json object) override { return store_.create(type, object); }
    Task<Result<Json>> update(const ResourceType& type, Json object) override { return store_.update(type, object); }
    Task<Result<Json>> update_status(const ResourceType& type, Json object) override {
        ++status_writes;
        return store_.update_status(type, object);
    }
    Task<Status> remove(const ResourceType& type, ObjectKey key) override { return store_.remove(type, key); }
    [[nodiscard]] std::string describe() const override { return store_.describe(); }
    int status_writes = 0;

private:
    ObjectStore& store_;
};

inline std::string cnp_manifest(const std::string& name, const std::string& spec) {
    return "{apiVersion: cilium.io/v2, kind: CiliumNetworkPolicy, metadata: {name: " + name +
           ", namespace: default}, spec: " + spec + "}";
}
inline std::string ccnp_manifest(const std::string& name, const std::string& spec) {
    return "{apiVersion: cilium.io/v2, kind: CiliumClusterwideNetworkPolicy, metadata: {name: " + name +
           "}, spec: " + spec + "}";
}
inline LabelSet pod(const std::string& app) {
    return LabelSet::from_strings(
        {"k8s:app=" + app, "k8s:io.kubernetes.pod.namespace=default", "k8s:io.cilium.k8s.policy.cluster=default"});
}
inline Prefix prefix(const std::string& text) {
    return Prefix::parse(text).value();
}

class ModuleTest : public StoreTest {
protected:
    static constexpr IdentityId kWeb{1001}, kClient{1002}, kOther{1003};

    void SetUp() override {
        if (::geteuid() != 0) GTEST_SKIP() << "needs root";
        LIBBPF_OPTS(bpf_map_create_opts, options);
        options.map_flags = BPF_F_MMAPABLE | BPF_F_INNER_MAP;
        const Fd inner(::bpf_map_create(BPF_MAP_TYPE_ARRAY, "inner", 4, sizeof(policy_row), 1, &options));
        auto outer = create_private_map({.name = "policy_slabs",
                                         .type = BPF_MAP_TYPE_ARRAY_OF_MAPS,
                                         .key_size = 4,
                                         .value_size = 4,
                                         .max_entries = POLICY_SLABS,
                                         .inner_map_fd = inner.get()});
        ASSERT_TRUE(outer) << outer.error().to_string();
        outer_ = std::make_unique<RawBpfMap>(std::move(*outer));
        auto generations = Generations::create_private();
        ASSERT_TRUE(generations) << generations.error().to_string();
        generations_ = std::make_unique<Generations>(std::move(*generations));
        late_ = std::make_unique<LateStore>(*store_);
        settings_.sources.context.host_firewall = true;
        make();
    }
    void TearDown() override { module_.reset(); }

    // As an agent finds things that starts where another one ended.
    void make() {
        module_.reset();
        synced_ = false;
        auto slabs = PolicySlabs::use(RawBpfMap::from_fd(Fd(::dup(outer_->fd())), "policy_slabs").value(), max_bytes_);
        ASSERT_TRUE(slabs) << slabs.error().to_string();
        slabs_ = std::make_unique<PolicySlabs>(std::move(*slabs));
        module_ = std::make_unique<PolicyModule>(
            loop_, registry_, *late_, settings_, *slabs_, *generations_,
            PolicyModule::Callbacks{
                .prefixes =
                    [this](const std::map<Prefix, IdentityId>& prefixes) {
                        if (on_prefixes_) on_prefixes_(prefixes);
                        ipcache_ = prefixes;
                    },
                .api_server = [this](const std::set<IpAddress>& ips) { api_server_ = ips; },
                .host_changing = [this] { host_events_ += "-"; },
                .host_changed = [this] { host_events_ += "+"; },
                .rejected = [this](const std::string& where, const Error& error) { rejected_[where] = error.message; },
                .accepted =
                    [this](const std::string& where) {
                        if (on_accepted_) on_accepted_(where);
                        rejected_.erase(where);
                    }});
        module_->set_identity(identity::kWorld, LabelSet::reserved("world"));
        module_->set_identity(kWeb, pod("web"));
        module_->set_identity(kClient, pod("client"));
    }
    void start() {
        (void)store_->list(resources::kNetworkPolicy);  // has read what was written
        module_->start([this] { synced_ = true; });
        ASSERT_TRUE(wait_until([this] { return synced_; }));
    }
    // The file's content has been read and is in force.
    void apply(const std::string& file, const std::string& text) {
        const std::uint64_t before = module_->revision();
        write(file, text);
        ASSERT_TRUE(wait_until([&] { return module_->revision() > before; })) << text;
    }
    void withdraw(const std::string& file) {
        const std::uint64_t before = module_->revision();
        erase(file);
        ASSERT_TRUE(wait_until([&] { return module_->revision() > before; })) << file;
    }
    Status set(std::uint16_t id, const std::string& app, bool audit = false) {
        return module_->set_endpoint(EndpointId(id), {.labels = pod(app), .named_ports = {}, .host = false}, audit);
    }
    [[nodiscard]] std::uint32_t reference(std::uint16_t id) const { return generations_->policy(EndpointId(id)); }
    [[nodiscard]] PolicyLocation location(std::uint16_t id) const {
        return PolicyLocation::of_reference(reference(id));
    }
    // What a program decides; nothing while the policy is not computed.
    [[nodiscard]] std::optional<Lookup> verdict(std::uint16_t id, Direction direction, IdentityId peer,
                                                std::uint16_t port = 80) const {
        const std::uint32_t now = reference(id);
        if ((now & POLICY_REF_F_READY) == 0) return std::nullopt;
        if ((now & (direction == Direction::kIngress ? POLICY_REF_F_INGRESS : POLICY_REF_F_EGRESS)) == 0)
            return Lookup{.action = POLICY_ALLOW};
        const auto rows = slabs_->image(location(id));
        if (!rows) return std::nullopt;
        return lookup(*rows, direction, peer, 6, port);
    }
    [[nodiscard]] bool allows(std::uint16_t id, Direction direction, IdentityId peer, std::uint16_t port = 80) const {
        const auto found = verdict(id, direction, peer, port);
        EXPECT_TRUE(found) << "endpoint " << id << " has no readable policy";
        return found && found->allowed();
    }
    bool usage_becomes(std::size_t images, std::uint64_t bytes) {
        return wait_until([&] { return slabs_->usage().images == images && slabs_->usage().used_bytes == bytes; });
    }

    std::unique_ptr<RawBpfMap> outer_;
    std::unique_ptr<PolicySlabs> slabs_;
    std::unique_ptr<Generations> generations_;
    std::unique_ptr<LateStore> late_;
    std::uint64_t max_bytes_ = PolicySlabs::kDefaultMaxBytes;
    ModuleSettings settings_;
    std::map<Prefix, IdentityId> ipcache_;
    std::function<void(const std::map<Prefix, IdentityId>&)> on_prefixes_;
    std::function<void(const std::string&)> on_accepted_;
    std::set<IpAddress> api_server_;
    std::string host_events_;
    std::map<std::string, std::string> rejected_;
    bool synced_ = false;
    std::unique_ptr<PolicyModule> module_;
};

}  // namespace axo::policy
