#include "features/operator/crds.h"

#include <gtest/gtest.h>

#include "io/store_fixture.h"
#include "model/yaml.h"

namespace axo {
namespace {

Json crd(const std::string& version, const std::string& revision = "") {
    Json made = {
        {"metadata", {{"name", "ciliumnodes.cilium.io"}, {"resourceVersion", "7"}, {"labels", {{"team", "net"}}}}},
        {"spec", {{"group", "cilium.io"}, {"versions", {{{"name", "v2"}, {"storage", true}}}}}}};
    if (!version.empty()) made["metadata"]["labels"]["io.cilium.k8s.crd.schema.version"] = version;
    if (!revision.empty()) made["metadata"]["annotations"]["axoneme.io/crd-revision"] = revision;
    return made;
}

TEST(Crds, AreEmbedded) {
    const std::vector<EmbeddedCrd> all = embedded_crds();
    ASSERT_GE(all.size(), 19U);
    for (const EmbeddedCrd& embedded : all) {
        const auto parsed = parse_yaml(embedded.yaml);
        ASSERT_TRUE(parsed) << embedded.plural << ": " << parsed.error().message;
        EXPECT_EQ((*parsed)["kind"], "CustomResourceDefinition");
        EXPECT_EQ((*parsed)["metadata"]["name"], embedded.name());
        EXPECT_EQ(crd_step(*parsed, *parsed), CrdStep::kNothing);
    }
}

TEST(Crds, OnlyOlderOnesAreReplaced) {
    const Json wanted = crd("1.32.6", "2");
    EXPECT_EQ(crd_step(wanted, Json()), CrdStep::kCreate);
    for (const char* older : {"", "1.31.9", "1.32", "1.9.100", "0.0.1", "what"})
        EXPECT_EQ(crd_step(wanted, crd(older, "9")), CrdStep::kReplace) << older;
    for (const char* newer : {"1.32.7", "1.33", "2", "1.100.0", "1.32.6.1"})
        EXPECT_EQ(crd_step(wanted, crd(newer, "1")), CrdStep::kNothing) << newer;
}

TEST(Crds, OfTheSameVersionOnlyOurOwn) {
    const Json wanted = crd("1.32.6", "2");
    EXPECT_EQ(crd_step(wanted, crd("1.32.6")), CrdStep::kNothing) << "Cilium's operator wrote it";
    EXPECT_EQ(crd_step(wanted, crd("1.32.6", "1")), CrdStep::kReplace);
    EXPECT_EQ(crd_step(wanted, crd("1.32.6", "2")), CrdStep::kNothing);
    EXPECT_EQ(crd_step(wanted, crd("1.32.6", "3")), CrdStep::kNothing);
}

TEST(Crds, ReplacingKeepsWhatOthersAddedAndWhatIsStored) {
    Json present = crd("1.30.0");
    present["metadata"]["annotations"]["note"] = "keep";
    present["spec"]["versions"] = {{{"name", "v1"}, {"storage", true}}, {{"name", "v1beta1"}, {"storage", false}}};
    present["status"]["storedVersions"] = {"v1"};
    const Json next = replaced_crd(crd("1.32.6", "2"), present);
    EXPECT_EQ(next["metadata"]["resourceVersion"], "7");
    EXPECT_EQ(next["metadata"]["labels"]["team"], "net");
    EXPECT_EQ(next["metadata"]["labels"]["io.cilium.k8s.crd.schema.version"], "1.32.6");
    EXPECT_EQ(next["metadata"]["annotations"]["note"], "keep");
    EXPECT_EQ(next["metadata"]["annotations"]["axoneme.io/crd-revision"], "2");
    EXPECT_EQ(next["spec"]["versions"],
              Json::parse(R"([{"name": "v2", "storage": true}, {"name": "v1", "storage": false}])"));
}

using CrdsInStore = StoreTest;

TEST_F(CrdsInStore, CreatedReplacedAndLeftAlone) {
    const auto& type = resources::kCustomResourceDefinition;
    const std::vector<EmbeddedCrd> all = embedded_crds();
    Json older = parse_yaml(all[0].yaml).value(), newer = parse_yaml(all[1].yaml).value();
    const std::string label = "io.cilium.k8s.crd.schema.version";
    older["metadata"]["labels"][label] = "1.0.0";
    newer["metadata"]["labels"][label] = "9.0.0";
    ASSERT_TRUE(store_->create(type, older));
    ASSERT_TRUE(store_->create(type, newer));
    CrdRegistration registration(loop_, registry_, *store_, Duration{0});
    const std::string last = all.back().name();
    ASSERT_TRUE(wait_until([&] { return store_->get(type, {"", last}).has_value(); }));
    for (const EmbeddedCrd& one : all) {
        const auto present = store_->get(type, {"", one.name()});
        ASSERT_TRUE(present) << one.plural;
        EXPECT_EQ((*present)["metadata"]["labels"][label], one.plural == all[1].plural ? "9.0.0" : "1.32.6");
    }
}

}  // namespace
}  // namespace axo
