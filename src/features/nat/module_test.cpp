#include "features/nat/module.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

namespace axo::nat {
namespace {

IpAddress ip(const char* text) {
    return IpAddress::parse(text).value();
}
Prefix prefix(const char* text) {
    return Prefix::parse(text).value();
}

class NatModuleTest : public testing::Test {
protected:
    void SetUp() override {
        if (::geteuid() != 0) GTEST_SKIP() << "needs root";
        char pattern[] = "/tmp/axo-nat-XXXXXX";
        root_ = ::mkdtemp(pattern);
    }
    void TearDown() override {
        if (!root_.empty()) std::filesystem::remove_all(root_);
    }
    void write(const std::string& text) { std::ofstream(root_ / "config") << text; }
    std::unique_ptr<NatModule> start(ModuleSettings settings) {
        settings.ip_masq_file = root_ / "config";
        auto addresses = NatAddressMap::create_private();
        auto prefixes = IpMasqMap::create_private();
        EXPECT_TRUE(addresses && prefixes);
        return std::make_unique<NatModule>(
            loop_, registry_, std::move(settings), std::move(*addresses), std::move(*prefixes),
            ObjectVerdicts{
                .rejected = [this](const std::string& where, const Error& error) { problems_[where] = error.message; },
                .accepted = [this](const std::string& where) { problems_.erase(where); }});
    }
    void run(Duration time) {
        const auto stop = loop_.after(time, [this] { loop_.stop(); });
        loop_.run();
    }
    std::set<Prefix> desired(const NatModule& module) {
        std::set<Prefix> all;
        for (const auto& [prefix, none] : module.prefixes().desired()) all.insert(prefix);
        return all;
    }
    EventLoop loop_;
    ControllerRegistry registry_;
    std::filesystem::path root_;
    std::map<std::string, std::string> problems_;
};

const std::vector<Device> kDevices = {{.name = "eth0", .link = IfIndex(2), .addresses = {ip("10.1.0.5")}}};

TEST_F(NatModuleTest, AddressesFollowTheDevices) {
    const auto module = start({.addresses = {}, .translate = true});
    module->set_devices(kDevices, kDevices);
    run(std::chrono::milliseconds(50));
    EXPECT_EQ(module->addresses().desired().at(IfIndex(2)).ipv4, ip("10.1.0.5"));
    EXPECT_EQ(module->addresses().counters().added, 1U);
    auto moved = kDevices;
    moved[0].addresses = {ip("10.1.0.6")};
    module->set_devices(moved, moved);
    module->set_devices(moved, moved);
    run(std::chrono::milliseconds(50));
    EXPECT_EQ(module->addresses().counters().updated, 1U);
    EXPECT_TRUE(module->addresses().errors().empty());
}

TEST_F(NatModuleTest, NothingIsTranslatedWhenNothingHasTo) {
    const auto module = start({});
    module->set_devices(kDevices, kDevices);
    run(std::chrono::milliseconds(50));
    EXPECT_TRUE(module->addresses().desired().empty());
}

TEST_F(NatModuleTest, AMissingDeviceIsReportedUntilItIsThere) {
    ModuleSettings settings{.addresses = {}, .translate = true};
    settings.addresses.address_device = "egress0";
    const auto module = start(settings);
    module->set_devices(kDevices, kDevices);
    EXPECT_EQ(problems_["derive-masq-ip-addr-from-device"],
              "'egress0': there is no such device; nothing is masqueraded");
    auto all = kDevices;
    all.push_back({.name = "egress0", .link = IfIndex(7), .addresses = {ip("198.51.100.7")}});
    module->set_devices(kDevices, all);
    EXPECT_TRUE(problems_.empty());
    EXPECT_EQ(module->addresses().desired().at(IfIndex(2)).ipv4, ip("198.51.100.7"));
}

TEST_F(NatModuleTest, TheFileIsReadAgainAndABadOneKeepsTheLastGoodOne) {
    write("nonMasqueradeCIDRs: [10.7.0.0/16]\nmasqLinkLocal: true\n");
    ModuleSettings settings{.addresses = {}, .translate = true, .ip_masq_agent = true};
    settings.addresses.ipv6 = false;
    const auto module = start(settings);
    run(std::chrono::milliseconds(100));
    EXPECT_EQ(desired(*module), std::set<Prefix>{prefix("10.7.0.0/16")});

    write("nonMasqueradeCIDRs: [10.7.0.0/16, 10.8.0.0/40]\n");
    run(std::chrono::milliseconds(200));
    EXPECT_EQ(problems_[(root_ / "config").string()],
              "nonMasqueradeCIDRs[1]=\"10.8.0.0/40\": accepted: a CIDR, e.g. 10.0.0.0/8 or fd00::/8");
    EXPECT_EQ(desired(*module), std::set<Prefix>{prefix("10.7.0.0/16")});

    write("nonMasqueradeCIDRs: [10.8.0.0/16]\nmasqLinkLocal: true\n");
    run(std::chrono::milliseconds(200));
    EXPECT_TRUE(problems_.empty());
    EXPECT_EQ(desired(*module), std::set<Prefix>{prefix("10.8.0.0/16")});
    EXPECT_EQ(module->prefixes().counters().added, 2U);
    EXPECT_EQ(module->prefixes().counters().removed, 1U);

    std::filesystem::remove(root_ / "config");
    run(std::chrono::milliseconds(200));
    EXPECT_EQ(desired(*module).size(), default_non_masquerade_cidrs().size() + 1);  // and IPv4 link-local
}

TEST_F(NatModuleTest, ABadFileAtTheStartLeavesTheMapAlone) {
    write("nonMasqueradeCIDRs: nothing\n");
    const auto module = start({.addresses = {}, .translate = true, .ip_masq_agent = true});
    run(std::chrono::milliseconds(100));
    EXPECT_EQ(problems_.size(), 1U);
    EXPECT_EQ(module->prefixes().counters().removed + module->prefixes().counters().added, 0U);
}

}  // namespace
}  // namespace axo::nat
