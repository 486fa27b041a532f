// For tests: a service module on a store in a temporary directory, on maps and generations that nobody else sees.
#pragma once

#include <netinet/in.h>
#include <unistd.h>

#include "features/service/module.h"
#include "io/store_fixture.h"

namespace axo::service {

inline IpAddress ip(const std::string& text) {
    return IpAddress::parse(text).value();
}

class ServiceModuleTest : public StoreTest {
protected:
    static constexpr const char* kNode = "n1";

    void SetUp() override {
        if (::geteuid() != 0) GTEST_SKIP() << "needs root";
        create_maps({});
    }
    void TearDown() override { module_.reset(); }

    void create_maps(const LbMaps::Sizes& sizes) {
        auto maps = LbMaps::create_private(sizes);
        ASSERT_TRUE(maps) << maps.error().to_string();
        maps_ = std::make_unique<LbMaps>(std::move(*maps));
        auto tables = LbTables::create_private();
        ASSERT_TRUE(tables) << tables.error().to_string();
        tables_ = std::make_unique<LbTables>(std::move(*tables));
        auto generations = Generations::create_private();
        ASSERT_TRUE(generations) << generations.error().to_string();
        generations_ = std::make_unique<Generations>(std::move(*generations));
        settings_.engine.node_name = kNode;
    }
    // A module that starts on what the maps hold, as a restarted agent's.
    void start() {
        module_.reset();
        // Knows what has been written so far.
        store_ = SyncStore(loop_, open_object_store("dir:" + directory_.string(), loop_));
        rejected_.clear();
        synced_ = false;
        module_ = std::make_unique<ServiceModule>(
            loop_, registry_, *store_, settings_, *maps_, *tables_, *generations_,
            ServiceModule::Callbacks{
                .rejected = [this](const std::string& where, const Error& error) { rejected_[where] = error.message; },
                .accepted = [this](const std::string& where) { rejected_.erase(where); },
                .backend_gone = [this](const LbAddress& address) { gone_.push_back(address.to_string()); },
                .health_ports = [this](const auto& ports) { health_ = ports; }});
        module_->set_node_addresses({ip("192.168.7.1"), ip("fd00:7::1")});
        ASSERT_TRUE(module_->start([this] { synced_ = true; }));
    }
    void start_and_sync() {
        start();
        module_->host_ports_complete();
        ASSERT_TRUE(wait_until([this] { return synced_; }));
    }
    // As an agent that starts later finds them.
    void forget_tables() {
        module_.reset();
        auto fd = Fd(::dup(outer_fd()));
        tables_ = std::make_unique<LbTables>(
            LbTables::use(RawBpfMap::from_fd(std::move(fd), "cilium_lb_tables").value()).value());
    }
    [[nodiscard]] int outer_fd() const { return tables_->raw().fd(); }

    std::optional<lb_service> entry(const LbFrontend& frontend) {
        const auto all = maps_->services().value();
        for (const auto& [key, value] : all) {
            if (key == frontend) return value;
        }
        return std::nullopt;
    }
    // Addresses in the table of a frontend; nullopt: there is none.
    std::optional<std::vector<std::string>> reached(const LbFrontend& frontend) {
        const auto value = entry(frontend);
        if (!value) return std::nullopt;
        std::vector<std::string> all;
        const auto ids = tables_->ids({value->table, value->size}).value();
        for (const std::uint32_t id : ids) {
            const auto backend = maps_->backend(id);
            all.push_back(backend ? backend->address.to_string() : "free");
        }
        return all;
    }
    static LbFrontend tcp(const std::string& address, std::uint16_t port, std::uint8_t scope = LB_SCOPE_EXTERNAL) {
        return {ip(address), port, IPPROTO_TCP, scope};
    }
    bool wait_reached(const LbFrontend& frontend, const std::vector<std::string>& addresses) {
        return wait_until([&] { return reached(frontend) == addresses; });
    }

    void put_service(const std::string& name, const std::string& spec, const std::string& more = {}) {
        write("service-" + name + ".yaml", "{apiVersion: v1, kind: Service, metadata: {name: " + name +
                                               ", namespace: default, uid: u-" + name + more + "}, spec: " + spec +
                                               "}\n");
    }
    // addresses: "10.0.0.1", "10.0.0.2 n2" with the node, "… terminating", "… unready".
    void put_slice(const std::string& service, const std::vector<std::string>& endpoints, int port = 8080,
                   const std::string& family = "IPv4", const std::string& protocol = "TCP") {
        std::string list;
        for (const std::string& endpoint : endpoints) {
            std::istringstream words(endpoint);
            std::string address, word, node = kNode, conditions = "ready: true";
            words >> address;
            while (words >> word) {
                if (word == "terminating") {
                    conditions = "ready: false, serving: true, terminating: true";
                } else if (word == "unready") {
                    conditions = "ready: false";
                } else {
                    node = word;
                }
            }
            list += (list.empty() ? "" : ", ");
            list += "{addresses: ['" + address + "'], nodeName: " + node + ", conditions: {" + conditions + "}}";
        }
        const std::string name = service + "-" + (family == "IPv4" ? "four" : "six");
        write("slice-" + name + ".yaml",
              "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: " + family + ", metadata: {name: " +
                  name + ", namespace: default, labels: {kubernetes.io/service-name: " + service + "}}, endpoints: [" +
                  list + "], ports: [{port: " + std::to_string(port) + ", protocol: " + protocol + "}]}\n");
    }

    ModuleSettings settings_;
    std::unique_ptr<LbMaps> maps_;
    std::unique_ptr<LbTables> tables_;
    std::unique_ptr<Generations> generations_;
    std::unique_ptr<ServiceModule> module_;
    std::map<std::string, std::string> rejected_;
    std::vector<std::string> gone_;
    std::map<std::uint16_t, HealthPort> health_;
    bool synced_ = false;
};

}  // namespace axo::service
