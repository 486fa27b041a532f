#include "model/json.h"

#include <gtest/gtest.h>

#include "model/cilium_node.h"

namespace axo {
namespace {

Json text(const char* json) {
    return Json::parse(json);
}

TEST(JsonReader, ErrorsNameObjectPathValueAndWhatIsAccepted) {
    const Json json = text(R"({"spec": {"ipam": {"podCIDRs": ["10.0.0.0/24", "10.0.0.1/24"]}}})");
    const JsonReader reader(json, "CiliumNode n1");
    reader.at("spec").at("ipam").cidrs("podCIDRs");
    ASSERT_FALSE(reader.status());
    EXPECT_EQ(reader.status().error().message,
              "CiliumNode n1: spec.ipam.podCIDRs[1]: \"10.0.0.1/24\"; accepted: a CIDR without host bits such as "
              "10.0.1.0/24 or fd00::100/120");
    EXPECT_EQ(reader.status().error().code, Code::kInvalidArgument);
}

TEST(JsonReader, KeepsTheFirstErrorAndGivesFallbacks) {
    const Json json = text(R"({"a": "x", "b": 7, "c": [1], "m": {"k.v": 1}})");
    const JsonReader reader(json, "Thing t");
    EXPECT_EQ(reader.integer("a", 0, 9, 5), 5);
    EXPECT_EQ(reader.string("b", "fallback"), "fallback");
    EXPECT_EQ(reader.status().error().message, "Thing t: a: \"x\"; accepted: a whole number from 0 to 9");

    const JsonReader other(json, "Thing t");
    EXPECT_TRUE(other.string_map("m").empty());
    EXPECT_EQ(other.status().error().message,
              "Thing t: m[\"k.v\"]: 1; accepted: a string (in YAML, quote numbers and true/false)");
}

TEST(JsonReader, WrongShapesNeverThrow) {
    const char* documents[] = {"null",
                               "[]",
                               "3",
                               "\"x\"",
                               R"({"spec": []})",
                               R"({"spec": {"ipam": "x"}})",
                               R"({"metadata": 1})",
                               R"({"spec": {"addresses": {"a": 1}}})",
                               R"({"metadata": {"name": ["x"]}})",
                               R"({"metadata":{"name":"a"},"spec":{"addresses":[1]}})",
                               R"({"metadata":{"name":"a"},"spec":{"nodeidentity":99999999999999999999}})",
                               R"({"metadata":{"name":"a"},"spec":{"nodeidentity":18446744073709551615}})",
                               R"({"metadata":{"name":"a"},"spec":{"nodeidentity":1.5}})"};
    for (const char* document : documents) {
        const auto node = CiliumNode::parse(text(document));
        ASSERT_FALSE(node) << document;
        EXPECT_NE(node.error().message.find("accepted:"), std::string::npos) << node.error().message;
    }
}

TEST(JsonReader, NullCountsAsAbsent) {
    const Json json = text(R"({"a": null, "n": null, "l": null})");
    const JsonReader reader(json, "x");
    EXPECT_EQ(reader.string("a", "f"), "f");
    EXPECT_FALSE(reader.has("n"));
    EXPECT_TRUE(reader.strings("l").empty());
    EXPECT_TRUE(reader.status());
}

TEST(MergeDifference, KeepsWhatNobodyModelled) {
    const Json existing = text(R"({"kind": "CiliumNode", "metadata": {"name": "n", "managedFields": [1]},
        "spec": {"eni": {"vpc-id": "v"}, "ipam": {"pre-allocate": 8, "podCIDRs": ["10.0.0.0/24"]}, "health": {"ipv4": "10.0.0.5"}}})");
    auto node = CiliumNode::parse(existing);
    ASSERT_TRUE(node) << node.error().message;
    node->health_ipv4 = {};
    node->pod_cidrs.push_back(Prefix::parse_cidr("fd00::/120").value());
    node->operator_error = "allocator full";
    const Json updated = updated_json(existing, *node);
    EXPECT_EQ(updated["spec"]["eni"]["vpc-id"], "v");
    EXPECT_EQ(updated["spec"]["ipam"]["pre-allocate"], 8);
    EXPECT_EQ(updated["spec"]["ipam"]["podCIDRs"], text(R"(["10.0.0.0/24", "fd00::/120"])"));
    EXPECT_FALSE(updated["spec"].contains("health")) << "an object of ours that became empty goes away";
    EXPECT_EQ(updated["metadata"]["managedFields"], text("[1]"));
    EXPECT_EQ(updated["status"]["ipam"]["operator-status"]["error"], "allocator full");

    node->operator_error.clear();
    EXPECT_FALSE(updated_json(updated, *node).contains("status"));
}

TEST(MergeDifference, NothingChangedMeansTheSameDocument) {
    const Json existing =
        text(R"({"apiVersion": "cilium.io/v2", "kind": "CiliumNode", "metadata": {"name": "n", "x": {}},
        "spec": {"addresses": [{"ip": "FD00:0::1", "type": "InternalIP", "extra": true}]}, "status": {"azure": {}}})");
    const auto node = CiliumNode::parse(existing);
    ASSERT_TRUE(node);
    EXPECT_EQ(updated_json(existing, *node), existing);
}

TEST(JsonText, ShortensBetweenCharacters) {
    EXPECT_EQ(shortened_text("abc", 3), "abc");
    EXPECT_EQ(shortened_text("abcd", 3), "abc…");
    EXPECT_EQ(shortened_text("aää", 2), "a…");
    Json value = {{"kind", "CiliumNode"}, {"metadata", {{"name", ""}}}};
    for (int i = 0; i < 100; ++i) value["metadata"]["name"].get_ref<std::string&>() += "ä";
    EXPECT_NO_THROW((void)Json(CiliumNode::parse(value).error().message).dump());
}

TEST(JsonText, ReplacesInvalidUtf8) {}

}  // namespace
}  // namespace axo
