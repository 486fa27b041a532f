#include "model/labels.h"

#include <gtest/gtest.h>

#include "model/label_filter.h"
#include "model/pod.h"

namespace axo {
namespace {

TEST(Label, TextForms) {
    EXPECT_EQ(Label::parse("k8s:app=nginx"), (Label{"k8s", "app", "nginx"}));
    EXPECT_EQ(Label::parse("k8s:a=b=c"), (Label{"k8s", "a", "b=c"}));
    EXPECT_EQ(Label::parse("app"), (Label{"unspec", "app", ""}));
    EXPECT_EQ(Label::parse("$host"), (Label{"reserved", "host", ""}));
    EXPECT_EQ(Label::parse("reserved.host"), (Label{"reserved", "host", ""}));
    EXPECT_EQ(Label::parse("reserved:=host"), (Label{"reserved", "host", ""}));
    EXPECT_EQ((Label{"reserved", "host", ""}).to_string(), "reserved:host");
    EXPECT_EQ((Label{"k8s", "app", "nginx"}).to_string(), "k8s:app=nginx");
}

TEST(LabelSet, KeyIsSortedByKeyAndAlwaysHasEquals) {
    const LabelSet set = LabelSet::from_strings({"k8s:z=1", "k8s:app", "k8s:m=2"});
    EXPECT_EQ(set.key(), "k8s:app=;k8s:m=2;k8s:z=1;");
    EXPECT_EQ(LabelSet::from_key(set.key()), set);
    EXPECT_EQ(LabelSet::from_security_labels(set.to_security_labels()), set);
}

TEST(LabelSet, OneLabelPerKey) {
    LabelSet set = LabelSet::from_strings({"container:app=old"});
    set.insert(Label::parse("k8s:app=new"));
    EXPECT_EQ(set.to_string(), "k8s:app=new");
    set.insert({"k8s", "", "no key"});
    EXPECT_EQ(set.size(), 1U);
    set.erase("app");
    EXPECT_TRUE(set.empty());
}

LabelFilter filter(const std::vector<std::string>& rules = {}) {
    return LabelFilter::create(rules).value();
}

TEST(LabelFilter, DefaultList) {
    const LabelFilter all = filter();
    for (const char* text :
         {"reserved:host", "k8s:io.kubernetes.pod.namespace=default", "k8s:io.cilium.k8s.policy.cluster=c",
          "k8s:io.cilium.k8s.policy.serviceaccount=sa",
          "k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name=x", "k8s:app.kubernetes.io/name=x",
          "k8s:app=web", "k8s:anything/else=1", "k8s:my-pod-template-hash=1"}) {
        EXPECT_TRUE(all.counts(Label::parse(text))) << text;
    }
    for (const char* text :
         {"k8s:io.kubernetes.other=1", "k8s:kubernetes.io/x=1", "k8s:statefulset.kubernetes.io/pod-name=a-0",
          "k8s:apps.kubernetes.io/pod-index=0", "k8s:batch.kubernetes.io/job-completion-index=0",
          "k8s:batch.kubernetes.io/controller-uid=u", "k8s:failure-domain.beta.kubernetes.io/zone=z", "k8s:k8s.io/x=1",
          "k8s:pod-template-generation=1", "k8s:pod-template-hash=1", "k8s:controller-revision-hash=1",
          "k8s:controller-uid=1", "k8s:annotation.x=1", "k8s:etcd_node=1", "k8s:topology.kubernetes.io/zone=z"}) {
        EXPECT_FALSE(all.counts(Label::parse(text))) << text;
    }
}

TEST(LabelFilter, InclusiveUserRuleTurnsTheDefaultAround) {
    const LabelFilter only = filter({"k8s:app"});
    EXPECT_TRUE(only.counts(Label::parse("k8s:app=web")));
    EXPECT_TRUE(only.counts(Label::parse("k8s:application=x"))) << "a prefix";
    EXPECT_FALSE(only.counts(Label::parse("container:app=web"))) << "another source";
    EXPECT_FALSE(only.counts(Label::parse("k8s:tier=1")));
    EXPECT_TRUE(only.counts(Label::parse("k8s:io.kubernetes.pod.namespace=default")));
    EXPECT_TRUE(only.counts(Label::parse("reserved:init")));
}

TEST(LabelFilter, ExclusionsAndLongerMatches) {
    const LabelFilter without = filter({"!tier", "k8s:!secret.*x"});
    EXPECT_TRUE(without.counts(Label::parse("k8s:app=web")));
    EXPECT_FALSE(without.counts(Label::parse("k8s:tier=1")));
    EXPECT_FALSE(without.counts(Label::parse("k8s:secret-1-x=1")));
    EXPECT_TRUE(without.counts(Label::parse("container:secret-1-x=1")));

    const LabelFilter longer = filter({"!foo", R"(foo\.bar)"});
    EXPECT_TRUE(longer.counts(Label::parse("k8s:foo.bar=1")));
    EXPECT_FALSE(longer.counts(Label::parse("k8s:foo.baz=1")));
}

TEST(LabelFilter, BadRulesAreRefused) {
    for (const char* rule : {"k8s:", "!", "a(b", "k8s:![x"}) {
        const auto made = LabelFilter::create({rule});
        ASSERT_FALSE(made) << rule;
        EXPECT_NE(made.error().message.find(rule), std::string::npos);
        EXPECT_NE(made.error().message.find("accepted:"), std::string::npos);
    }
    EXPECT_TRUE(LabelFilter::create({""}));
}

TEST(PodLabels, DerivedLabelsCannotBeForged) {
    Pod pod;
    pod.metadata.name = "web";
    pod.metadata.name_space = "shop";
    pod.service_account = "runner";
    pod.metadata.labels = {{"app", "web"},
                           {"io.kubernetes.pod.namespace", "kube-system"},
                           {"io.cilium.k8s.namespace.labels.team", "root"},
                           {"io.cilium.k8s.policy.serviceaccount", "admin"},
                           {"io.cilium.k8s.policy.cluster", "other"}};
    Namespace shop;
    shop.metadata.name = "shop";
    shop.metadata.labels = {{"team", "blue"}};
    EXPECT_EQ(pod_labels(pod, &shop, "c1").to_strings(),
              (std::vector<std::string>{
                  "k8s:app=web", "k8s:io.cilium.k8s.namespace.labels.team=blue", "k8s:io.cilium.k8s.policy.cluster=c1",
                  "k8s:io.cilium.k8s.policy.serviceaccount=runner", "k8s:io.kubernetes.pod.namespace=shop"}));
    EXPECT_EQ(pod_labels(pod, nullptr, "c1").size(), 4U);
}

}  // namespace
}  // namespace axo
