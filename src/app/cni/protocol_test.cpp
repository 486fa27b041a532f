#include "app/cni/protocol.h"

#include <gtest/gtest.h>

#include "app/cni/validate.h"

namespace axo::cni {
namespace {

using nlohmann::json;
using Variables = std::map<std::string, std::string>;

constexpr const char* kConf =
    R"({"cniVersion":"1.0.0","name":"cilium","type":"cilium-cni","enable-debug":true,"log-file":"/tmp/x.log","mtu":1400})";

Variables add_variables() {
    return {
        {"CNI_COMMAND", "ADD"},
        {"CNI_CONTAINERID", "abc_1.2-3"},
        {"CNI_NETNS", "/var/run/netns/x"},
        {"CNI_IFNAME", "eth0"},
        {"CNI_ARGS",
         "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=nginx-0;K8S_POD_INFRA_CONTAINER_ID=abc;K8S_POD_UID=d0c1-2"}};
}

Outcome<Request> parse(const Variables& variables, std::string_view input) {
    return parse_request(
        [&](const char* name) {
            const auto it = variables.find(name);
            return it == variables.end() ? std::string() : it->second;
        },
        input);
}

int code_of(const Variables& variables, std::string_view input) {
    const auto request = parse(variables, input);
    return request ? 0 : static_cast<int>(request.error().code);
}

TEST(CniRequest, AddIsReadWhole) {
    const auto request = parse(add_variables(), kConf);
    ASSERT_TRUE(request) << request.error().message;
    EXPECT_EQ(request->command, Command::kAdd);
    EXPECT_EQ(request->attachment.key(), "abc_1.2-3:eth0");
    EXPECT_EQ(request->netns, "/var/run/netns/x");
    EXPECT_EQ(request->pod.name, "nginx-0");
    EXPECT_EQ(request->pod.name_space, "default");
    EXPECT_EQ(request->pod.uid, "d0c1-2");
    EXPECT_EQ(request->conf.cni_version, "1.0.0");
    EXPECT_EQ(request->conf.name, "cilium");
    EXPECT_TRUE(request->conf.debug);
    EXPECT_EQ(request->conf.mtu, 1400U);
    EXPECT_FALSE(request->conf.previous);
}

TEST(CniRequest, HostInterfaceIsLxcAndTwelveDigitsOfTheHash) {
    // printf 'abc:eth0' | sha256sum
    EXPECT_EQ((Attachment{"abc", "eth0"}.host_interface()), "lxcb133159de544");
}

TEST(CniRequest, EveryMissingVariableIsNamed) {
    const auto request = parse({{"CNI_COMMAND", "ADD"}}, kConf);
    ASSERT_FALSE(request);
    EXPECT_EQ(static_cast<int>(request.error().code), 4);
    EXPECT_EQ(request.error().message, "required env variables [CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME] missing");
}

TEST(CniRequest, DelNeedsNoNamespace) {
    Variables variables = add_variables();
    variables["CNI_COMMAND"] = "DEL";
    variables.erase("CNI_NETNS");
    variables["CNI_ARGS"] = "not pairs";  // what removes must not fail for what only ADD needs
    const auto request = parse(variables, kConf);
    ASSERT_TRUE(request) << request.error().message;
    EXPECT_EQ(request->netns, "");
}

TEST(CniRequest, RefusesWhatBreaksPathsAndNames) {
    const auto with = [](const char* name, const std::string& value) {
        Variables variables = add_variables();
        variables[name] = value;
        return code_of(variables, kConf);
    };
    EXPECT_EQ(with("CNI_CONTAINERID", "../../etc/passwd"), 4);
    EXPECT_EQ(with("CNI_CONTAINERID", "a/b"), 4);
    EXPECT_EQ(with("CNI_CONTAINERID", "a:b"), 4);
    EXPECT_EQ(with("CNI_CONTAINERID", "-a"), 4);
    EXPECT_EQ(with("CNI_CONTAINERID", std::string(513, 'a')), 4);
    EXPECT_EQ(with("CNI_IFNAME", "abcdefghijklmnop"), 4);
    EXPECT_EQ(with("CNI_IFNAME", "abcdefghijklmno"), 0);
    EXPECT_EQ(with("CNI_IFNAME", ".."), 4);
    EXPECT_EQ(with("CNI_IFNAME", "a/b"), 4);
    EXPECT_EQ(with("CNI_IFNAME", "a b"), 4);
    EXPECT_EQ(with("CNI_IFNAME", "eth%d"), 4);
    EXPECT_EQ(with("CNI_IFNAME", "a:b"), 4);
    EXPECT_EQ(with("CNI_IFNAME", "lo"), 4);
    EXPECT_EQ(with("CNI_NETNS", "netns/x"), 4);
    EXPECT_EQ(with("CNI_NETNS", "/var/run/../x"), 4);
    EXPECT_EQ(with("CNI_NETNS", "/" + std::string(5000, 'a')), 4);
    EXPECT_EQ(with("CNI_ARGS", "K8S_POD_NAME=../x;K8S_POD_NAMESPACE=default"), 4);
    EXPECT_EQ(with("CNI_ARGS", "K8S_POD_NAME=x;K8S_POD_NAMESPACE=a/b"), 4);
    EXPECT_EQ(with("CNI_ARGS", "K8S_POD_NAME=x"), 4);
    EXPECT_EQ(with("CNI_ARGS", "FOO"), 4);
    EXPECT_EQ(with("CNI_ARGS", "FOO=1"), 4);
    EXPECT_EQ(with("CNI_ARGS", "FOO=1;IgnoreUnknown=true"), 0);
    EXPECT_EQ(with("CNI_ARGS", "IgnoreUnknown=maybe"), 4);
    EXPECT_EQ(with("CNI_COMMAND", "ADDD"), 4);
}

TEST(CniRequest, ConfigurationErrorsAreNumbered) {
    const Variables add = add_variables();
    EXPECT_EQ(code_of(add, ""), 6);
    EXPECT_EQ(code_of(add, "{"), 6);
    EXPECT_EQ(code_of(add, "[]"), 6);
    EXPECT_EQ(code_of(add, R"({"cniVersion":"9.9.9","name":"x"})"), 1);
    EXPECT_EQ(code_of(add, R"({"cniVersion":1,"name":"x"})"), 7);
    EXPECT_EQ(code_of(add, R"({"cniVersion":"1.0.0"})"), 7);
    EXPECT_EQ(code_of(add, R"({"cniVersion":"1.0.0","name":"a/b"})"), 7);
    EXPECT_EQ(code_of(add, R"({"cniVersion":"1.0.0","name":"x","mtu":"big"})"), 7);
    EXPECT_EQ(code_of(add, R"({"cniVersion":"1.0.0","name":"x","mtu":20})"), 7);
    EXPECT_EQ(code_of(add, R"({"cniVersion":"1.0.0","name":"x","mtu":18446744073709551615})"), 7);
    EXPECT_EQ(code_of(add, R"({"cniVersion":"1.0.0","name":"x","enable-debug":"yes"})"), 7);
    EXPECT_EQ(code_of(add, R"({"cniVersion":"1.0.0","name":"x","chaining-mode":"generic-veth"})"), 2);
    EXPECT_EQ(code_of(add, R"({"cniVersion":"1.0.0","name":"x","ipam":{"type":"host-local"}})"), 2);
    EXPECT_EQ(code_of(add, R"({"cniVersion":"1.0.0","name":"x","prevResult":[]})"), 7);
    EXPECT_EQ(code_of(add, R"({"cniVersion":"1.0.0","name":"x","prevResult":{"ips":[{"address":"10.0.0.300/32"}]}})"),
              7);
    EXPECT_EQ(
        code_of(add,
                R"({"cniVersion":"1.0.0","name":"x","prevResult":{"ips":[{"address":"10.0.0.3/32","interface":7}]}})"),
        7);
    EXPECT_EQ(code_of(add, R"({"cniVersion":"0.3.1","name":"x"})"), 0);
}

TEST(CniRequest, CommandsExistFromTheirVersionOn) {
    Variables variables = add_variables();
    variables["CNI_COMMAND"] = "CHECK";
    EXPECT_EQ(code_of(variables, R"({"cniVersion":"0.3.1","name":"x","prevResult":{}})"), 1);
    EXPECT_EQ(code_of(variables, R"({"cniVersion":"0.4.0","name":"x","prevResult":{}})"), 0);
    EXPECT_EQ(code_of(variables, R"({"cniVersion":"0.4.0","name":"x"})"), 7);
    EXPECT_EQ(code_of({{"CNI_COMMAND", "STATUS"}}, R"({"cniVersion":"1.0.0","name":"x"})"), 1);
    EXPECT_EQ(code_of({{"CNI_COMMAND", "STATUS"}}, R"({"cniVersion":"1.1.0","name":"x"})"), 0);
    EXPECT_EQ(code_of({{"CNI_COMMAND", "GC"}}, R"({"cniVersion":"1.0.0","name":"x","cni.dev/valid-attachments":[]})"),
              1);
}

TEST(CniRequest, GcTellsAnEmptyListFromNone) {
    const Variables gc = {{"CNI_COMMAND", "GC"}};
    EXPECT_EQ(code_of(gc, R"({"cniVersion":"1.1.0","name":"x"})"), 7);
    EXPECT_EQ(code_of(gc, R"({"cniVersion":"1.1.0","name":"x","cni.dev/valid-attachments":[{"containerID":"a"}]})"), 7);
    EXPECT_EQ(code_of(gc, R"({"cniVersion":"1.1.0","name":"x","cni.dev/valid-attachments":{}})"), 7);
    const auto empty = parse(gc, R"({"cniVersion":"1.1.0","name":"x","cni.dev/valid-attachments":[]})");
    ASSERT_TRUE(empty);
    EXPECT_TRUE(empty->conf.valid_attachments->empty());
    const auto one = parse(
        gc, R"({"cniVersion":"1.1.0","name":"x","cni.dev/valid-attachments":[{"containerID":"a","ifname":"eth0"}]})");
    ASSERT_TRUE(one);
    EXPECT_EQ(*one->conf.valid_attachments, (std::vector<Attachment>{{"a", "eth0"}}));
}

TEST(CniRequest, VersionNeedsNothing) {
    EXPECT_EQ(code_of({{"CNI_COMMAND", "VERSION"}}, ""), 0);
    EXPECT_EQ(code_of({{"CNI_COMMAND", "VERSION"}}, R"({"cniVersion":"1.0.0"})"), 0);
    EXPECT_EQ(answer_version(""), "1.1.0");
    EXPECT_EQ(answer_version(R"({"cniVersion":"0.4.0"})"), "0.4.0");
    EXPECT_EQ(answer_version(R"({"cniVersion":"7"})"), "1.1.0");
    EXPECT_EQ(encode_versions("0.4.0"),
              R"({"cniVersion":"0.4.0","supportedVersions":["0.1.0","0.2.0","0.3.0","0.3.1","0.4.0","1.0.0","1.1.0"]})"
              "\n");
}

AddResult sample() {
    AddResult result;
    const auto v4 = *IpAddress::parse("10.0.0.5");
    const auto v6 = *IpAddress::parse("fd00::5");
    const auto gateway4 = *IpAddress::parse("10.0.0.1");
    const auto gateway6 = *IpAddress::parse("fd00::1");
    result.interfaces = {{"lxcb133159de544", "02:00:00:00:00:01", "", 1500},
                         {"eth0", "02:00:00:00:00:02", "/var/run/netns/x", 1500}};
    result.ips = {{v4, 32, gateway4, 1}, {v6, 128, gateway6, 1}};
    result.routes = {{Prefix::host(gateway4), {}, 0},
                     {*Prefix::parse("0.0.0.0/0"), gateway4, 1450},
                     {Prefix::host(gateway6), {}, 0},
                     {*Prefix::parse("::/0"), gateway6, 1450}};
    return result;
}

TEST(CniResult, GoldenPerVersion) {
    const std::string interfaces = R"("interfaces":[{"name":"lxcb133159de544","mac":"02:00:00:00:00:01"},
        {"name":"eth0","mac":"02:00:00:00:00:02","sandbox":"/var/run/netns/x"}])";
    const std::string routes =
        R"("routes":[{"dst":"10.0.0.1/32"},{"dst":"0.0.0.0/0","gw":"10.0.0.1"},{"dst":"fd00::1/128"},{"dst":"::/0","gw":"fd00::1"}])";
    const auto expect = [](const std::string& version, const std::string& golden) {
        EXPECT_EQ(json::parse(encode_result(sample(), version)), json::parse(golden)) << version;
    };
    for (const std::string version : {"0.1.0", "0.2.0"}) {
        expect(version, R"({"cniVersion":")" + version + R"(","dns":{},
            "ip4":{"ip":"10.0.0.5/32","gateway":"10.0.0.1","routes":[{"dst":"10.0.0.1/32"},{"dst":"0.0.0.0/0","gw":"10.0.0.1"}]},
            "ip6":{"ip":"fd00::5/128","gateway":"fd00::1","routes":[{"dst":"fd00::1/128"},{"dst":"::/0","gw":"fd00::1"}]}})");
    }
    for (const std::string version : {"0.3.0", "0.3.1", "0.4.0"}) {
        expect(version, R"({"cniVersion":")" + version + R"(","dns":{},)" + interfaces + "," + routes +
                            R"(,"ips":[{"version":"4","address":"10.0.0.5/32","gateway":"10.0.0.1","interface":1},
                       {"version":"6","address":"fd00::5/128","gateway":"fd00::1","interface":1}]})");
    }
    expect(
        "1.0.0",
        R"({"cniVersion":"1.0.0","dns":{},)" + interfaces + "," + routes +
            R"(,"ips":[{"address":"10.0.0.5/32","gateway":"10.0.0.1","interface":1},{"address":"fd00::5/128","gateway":"fd00::1","interface":1}]})");
    expect("1.1.0", R"({"cniVersion":"1.1.0","dns":{},
        "interfaces":[{"name":"lxcb133159de544","mac":"02:00:00:00:00:01","mtu":1500},
                      {"name":"eth0","mac":"02:00:00:00:00:02","sandbox":"/var/run/netns/x","mtu":1500}],
        "routes":[{"dst":"10.0.0.1/32"},{"dst":"0.0.0.0/0","gw":"10.0.0.1","mtu":1450},{"dst":"fd00::1/128"},{"dst":"::/0","gw":"fd00::1","mtu":1450}],
        "ips":[{"address":"10.0.0.5/32","gateway":"10.0.0.1","interface":1},{"address":"fd00::5/128","gateway":"fd00::1","interface":1}]})");
}

TEST(CniResult, PreviousResultComesBack) {
    const auto back = decode_result(encode_result(sample(), "1.1.0"));
    ASSERT_TRUE(back) << back.error().message;
    EXPECT_EQ(*back, sample());
    // The oldest form knows no interfaces; addresses and routes survive.
    const auto old = decode_result(encode_result(sample(), "0.2.0"));
    ASSERT_TRUE(old) << old.error().message;
    ASSERT_EQ(old->ips.size(), 2U);
    EXPECT_EQ(old->ips[1].address, sample().ips[1].address);
    EXPECT_EQ(old->routes.size(), 4U);
}

TEST(CniResult, ErrorsCarryVersionCodeAndDetails) {
    EXPECT_EQ(json::parse(encode_error({ErrorCode::kTryAgainLater, "busy", "later"}, "0.4.0")),
              json::parse(R"({"cniVersion":"0.4.0","code":11,"msg":"busy","details":"later"})"));
    // Bytes that are no UTF-8 (a path from the environment) must not break the answer.
    EXPECT_TRUE(json::accept(encode_error({ErrorCode::kIo, "\xff\xfe", ""}, "1.0.0")));
}

}  // namespace
}  // namespace axo::cni
