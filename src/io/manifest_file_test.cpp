#include "io/manifest_file.h"

#include <gtest/gtest.h>

#include "io/resources.h"

namespace axo {
namespace {

constexpr const char* kThree =
    "# the nodes\n"
    "apiVersion: v1\nkind: Node\nmetadata: {name: n1}  # first\n"
    "---\n"
    "\n"
    "---  # empty above\n"
    "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  namespace: shop\n"
    "--- \n"
    "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: shop\n";

ObjectId pod(const std::string& name_space, const std::string& name) {
    return {&resources::kPod, {name_space, name}};
}

TEST(ManifestFile, CutsDocumentsAndTellsTheirLines) {
    const auto file = ManifestFile::parse(kThree, false);
    ASSERT_EQ(file.documents().size(), 3U);
    EXPECT_EQ(file.documents()[0].id.to_string(), "Node n1");
    EXPECT_EQ(file.documents()[1].id, pod("shop", "a"));
    EXPECT_EQ(file.documents()[1].line, 8);
    EXPECT_EQ(file.documents()[2].id.to_string(), "Namespace shop");
    EXPECT_EQ(file.documents()[2].line, 14);
}

TEST(ManifestFile, ReplacingOneKeepsTheTextOfTheOthers) {
    auto file = ManifestFile::parse(kThree, false);
    auto object = file.documents()[1].object;
    object["spec"]["nodeName"] = "n1";
    const std::string text = file.with(pod("shop", "a"), object);
    EXPECT_NE(text.find("# the nodes\n"), std::string::npos);
    EXPECT_NE(text.find("metadata: {name: n1}  # first\n---\n"), std::string::npos);
    file = ManifestFile::parse(text, false);
    ASSERT_EQ(file.documents().size(), 3U);
    EXPECT_EQ(file.documents()[1].object["spec"]["nodeName"], "n1");
    EXPECT_EQ(file.documents()[2].id.to_string(), "Namespace shop");
}

TEST(ManifestFile, TakingDocumentsOutOneByOneLeavesNothing) {
    auto file = ManifestFile::parse(kThree, false);
    file = ManifestFile::parse(file.without(pod("shop", "a")), false);
    ASSERT_EQ(file.documents().size(), 2U);
    file = ManifestFile::parse(file.without({&resources::kNode, {"", "n1"}}), false);
    ASSERT_EQ(file.documents().size(), 1U);
    EXPECT_EQ(file.documents()[0].id.to_string(), "Namespace shop");
    EXPECT_EQ(file.without({&resources::kNamespace, {"", "shop"}}), "");
}

TEST(ManifestFile, OneBadDocumentDoesNotSpoilTheOthers) {
    const auto file = ManifestFile::parse(
        "apiVersion: v1\nkind: Node\nmetadata: {name: n1}\n---\napiVersion: v1\nkind: [broken\n---\napiVersion: v1\nkind: Node\nmetadata: {name: n2}\n",
        false);
    ASSERT_EQ(file.documents().size(), 3U);
    EXPECT_TRUE(file.documents()[0].good);
    EXPECT_FALSE(file.documents()[1].good);
    EXPECT_TRUE(file.documents()[1].problem.message.starts_with("line ")) << file.documents()[1].problem.message;
    EXPECT_TRUE(file.documents()[2].good);
}

TEST(ManifestFile, ProblemsNameLineFieldAndWhatIsAccepted) {
    const auto problem = [](const std::string& text, bool is_json = false) {
        const auto file = ManifestFile::parse(text, is_json);
        return file.documents().empty() ? "no document" : file.documents().back().problem.message;
    };
    EXPECT_EQ(problem("kind: Pod\n"), "line 1: apiVersion is missing");
    EXPECT_TRUE(
        problem("---\napiVersion: apps/v1\nkind: Deployment\n")
            .starts_with("line 2: kind \"Deployment\" of apiVersion \"apps/v1\" is unknown; accepted are v1 Pod, "));
    EXPECT_EQ(problem("apiVersion: v1\nkind: Pod\n"), "line 1: Pod: metadata is missing or not a mapping");
    EXPECT_EQ(problem("apiVersion: v1\nkind: Pod\nmetadata: {}\n"), "line 1: Pod: metadata.name is missing");
    EXPECT_EQ(problem("apiVersion: v1\nkind: Pod\nmetadata: {name: 12}\n"),
              "line 1: Pod: metadata.name: 12 is not a string; quote it");
    EXPECT_NE(problem("apiVersion: v1\nkind: Pod\nmetadata: {name: ../../etc/passwd}\n").find("metadata.name"),
              std::string::npos);
    EXPECT_NE(problem("apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: a/b}\n").find("metadata.namespace"),
              std::string::npos);
    EXPECT_NE(problem("apiVersion: v1\nkind: Node\nmetadata: {name: a, namespace: b}\n").find("no namespaces"),
              std::string::npos);
    EXPECT_NE(problem("- a\n- b\n").find("not an object"), std::string::npos);
    EXPECT_NE(
        problem(
            "apiVersion: v1\nkind: Node\nmetadata: {name: a}\n---\napiVersion: v1\nkind: Node\nmetadata: {name: a}\n")
            .find("defined twice in this file"),
        std::string::npos);
    EXPECT_TRUE(problem("{\n\"kind\": oops\n}", true).starts_with("line 2, column "));
    EXPECT_EQ(problem("%YAML 1.2\n---\n# nothing\n...\n"), "no document");
}

TEST(ManifestFile, JsonFilesStayJson) {
    const auto file =
        ManifestFile::parse("{\"apiVersion\": \"v1\",\n\t\"kind\": \"Node\", \"metadata\": {\"name\": \"n1\"}}", true);
    ASSERT_EQ(file.documents().size(), 1U);
    ASSERT_TRUE(file.documents()[0].good);
    const std::string text = file.with(file.documents()[0].id, file.documents()[0].object);
    EXPECT_TRUE(text.starts_with("{\n  \"apiVersion\": \"v1\""));
}

TEST(ManifestFile, EndlessNestingIsRefused) {
    const std::string deep = R"({"apiVersion":"v1","kind":"Node","metadata":{"name":"n1"},"spec":)" +
                             std::string(200'000, '[') + std::string(200'000, ']') + "}";
    for (const bool is_json : {true, false}) {
        const auto file = ManifestFile::parse(deep, is_json);
        ASSERT_EQ(file.documents().size(), 1U);
        EXPECT_FALSE(file.documents()[0].good);
    }
    const auto fine =
        ManifestFile::parse(R"({"apiVersion":"v1","kind":"Node","metadata":{"name":"n1"},"spec":"[[\"[["})", true);
    EXPECT_TRUE(fine.documents()[0].good);
}

TEST(ManifestFile, ContentOnTheSeparatorLineCounts) {
    const auto file = ManifestFile::parse(
        "--- {apiVersion: v1, kind: Node, metadata: {name: n1}}\n--- {apiVersion: v1, kind: Node, metadata: {name: n2}}\n",
        false);
    ASSERT_EQ(file.documents().size(), 2U);
    const auto again = ManifestFile::parse(file.with(file.documents()[1].id, file.documents()[1].object), false);
    ASSERT_EQ(again.documents().size(), 2U);
    EXPECT_TRUE(again.documents()[0].good && again.documents()[1].good);
}

}  // namespace
}  // namespace axo
