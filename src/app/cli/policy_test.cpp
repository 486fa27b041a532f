// Goldens of the policy commands, and files checked without an agent. A "·" stands for a blank at the end of a line.
#include <gtest/gtest.h>

#include "app/cli/monitor_text.h"
#include "app/cli/policy_text.h"
#include "app/cli/policy_validate.h"

namespace axo::cli {
namespace {

std::string visible(const std::string& text) {
    std::string out;
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t end = text.find('\n', at);
        std::string line = text.substr(at, end - at);
        std::size_t blanks = 0;
        while (line.ends_with(' ')) {
            line.pop_back();
            ++blanks;
        }
        out += line;
        for (; blanks > 0; --blanks) out += "·";
        out += "\n";
        at = end == std::string::npos ? text.size() : end + 1;
    }
    return out;
}

TEST(PolicyText, GetEndsWithTheRevision) {
    EXPECT_EQ(policy_get_text(Json::parse(R"({"revision":42,"policy":"[]"})")), "[]\nRevision: 42\n");
}

TEST(PolicyText, SelectorsTakeOneLinePerIdentity) {
    const Json answer = Json::parse(
        R"([{"selector":"app=web","labels":["k8s:a=b"],"users":2,"identities":[300,28723]},
{"selector":"cidr:192.0.2.0/24","labels":[],"users":1,"identities":[]}])");
    EXPECT_EQ(visible(policy_selectors_text(answer)), R"(SELECTOR            LABELS    USERS   IDENTITIES
app=web             k8s:a=b   2       300·····
                                      28723···
cidr:192.0.2.0/24             1·······
)");
}

TEST(PolicyText, ListSaysWhatIsWrongAndWhatIsInForce) {
    const Json answer = Json::parse(
        R"([{"kind":"CiliumNetworkPolicy","namespace":"default","name":"web","valid":true,"in-force":true,"error":"","warnings":["first","second"],"specs":1,"rules":2},
{"kind":"CiliumNetworkPolicy","namespace":"default","name":"old","valid":false,"in-force":true,"error":"bad port","warnings":[],"specs":1,"rules":1},
{"kind":"CiliumClusterwideNetworkPolicy","namespace":"","name":"new","valid":false,"in-force":false,"error":"bad port","warnings":[],"specs":0,"rules":0}])");
    EXPECT_EQ(visible(policy_list_text(answer)),
              R"(KIND                             NAMESPACE   NAME   VALID   RULES   MESSAGE
CiliumNetworkPolicy              default     web    True    2       warning: first
                                                                    warning: second
CiliumNetworkPolicy              default     old    False   1       bad port; its previous version stays in force
CiliumClusterwideNetworkPolicy               new    False   0       bad port; nothing of it is in force
)");
}

TEST(PolicyText, Rules) {
    const Json answer = Json::parse(
        R"([{"cookie":16,"direction":"ingress","deny":false,"description":"CiliumNetworkPolicy default/web, spec.ingress[0]","text":"allow ingress from app=a"},
{"cookie":17,"direction":"egress","deny":true,"kind":"CiliumNetworkPolicy","namespace":"default","name":"web","path":"spec.egressDeny[0]","text":""}])");
    EXPECT_EQ(visible(policy_rules_text(answer)),
              R"(COOKIE   DIRECTION   ACTION   RULE                                                  MEANING
16       ingress     Allow    CiliumNetworkPolicy default/web, spec.ingress[0]      allow ingress from app=a
17       egress      Deny     CiliumNetworkPolicy default/web, spec.egressDeny[0]···
)");
}

TEST(PolicyText, ExplanationBeginsWithTheVerdictAndLeavesOutWhatEveryPodHas) {
    const Json answer = Json::parse(
        R"({"allowed":false,"traffic":"TCP/80","parts":[{"traffic":"TCP/8080"}],
"text":"Denied: ingress of endpoint 12 (k8s:app=web,k8s:io.cilium.k8s.policy.cluster=default,k8s:io.kubernetes.pod.namespace=default) from identity 2 (reserved:world), TCP/80.\n"})");
    EXPECT_EQ(
        policy_explain_text(answer, "world", "web"),
        "world -> web, TCP/80: DENIED\n\nDenied: ingress of endpoint 12 (k8s:app=web, k8s:io.kubernetes.pod.namespace=default)"
        " from identity 2 (reserved:world), TCP/80.\n");
    EXPECT_EQ(policy_explain_text(Json::parse(R"({"allowed":null,"parts":[],"text":""})"), "a", "b"),
              "a -> b: NOT KNOWN\n");
}

TEST(PolicyText, DiffCountsAndNamesBothRules) {
    const Json answer = Json::parse(
        R"({"flows-seen":7,"changes":[{"source":"default/a","destination":"default/b","traffic":"TCP/80","direction":"ingress","before":"allowed","after":"denied","before-rule":"no policy is enforced","after-rule":"default deny from X"}]})");
    EXPECT_EQ(policy_diff_text(answer), R"(7 flows seen: 0 would be newly allowed, 1 newly denied.
- default/a -> default/b, TCP/80  (ingress)
    now  allowed: no policy is enforced
    then denied: default deny from X
)");
    EXPECT_EQ(policy_diff_text(Json::parse(R"({"flows-seen":1,"changes":[]})")),
              "1 flow seen: none would be treated differently.\n");
}

TEST(PolicyText, Image) {
    const Json image = Json::parse(
        R"({"endpoint":811,"reference":65,"entries":[
{"direction":"Ingress","identity":28723,"labels":["k8s:app=a","k8s:b=c"],"port-proto":"80/TCP","action":"Allow","proxy-port":0,"cookie":16,"rule":"R"},
{"direction":"Egress","identity":0,"labels":[],"port-proto":"8080-8090/UDP","action":"Redirect","proxy-port":11767,"cookie":17,"rule":"S"}]})");
    EXPECT_EQ(visible(policy_image_text(image, false)),
              R"(POLICY     DIRECTION   IDENTITY    PORT/PROTO      PROXY PORT   AUTH TYPE   PREFIX   COOKIE   RULE
Allow      Ingress     k8s:app=a   80/TCP          NONE         disabled    24       16       R
                       k8s:b=c
Redirect   Egress      ANY         8080-8090/UDP   11767        disabled    -        17       S
)");
    EXPECT_NE(policy_image_text(image, true).find("Ingress     28723      80/TCP"), std::string::npos);
    const Json none = Json::parse(R"({"endpoint":1,"reference":0,"entries":[],"truncated":true})");
    EXPECT_NE(policy_image_text(none, false).find("No policy has been compiled"), std::string::npos);
    EXPECT_NE(policy_image_text(none, false).find("more entries"), std::string::npos);
}

TEST(PolicyText, ProgressCountsEndpointsThatStay) {
    const Json endpoints = Json::parse(
        R"([{"id":1,"status":{"state":"ready","policy":{"realized":{"policy-revision":5}}}},
{"id":2,"status":{"state":"ready","policy":{"realized":{"policy-revision":4}},"health":{"policy":"Failure"}}},
{"id":3,"status":{"state":"disconnecting"}}])");
    const PolicyWait progress = policy_progress(endpoints, 5);
    EXPECT_EQ(progress.endpoints, 2u);
    EXPECT_EQ(progress.ready, 1u);
    EXPECT_EQ(progress.failed, "endpoint 2: its policy could not be computed");
    EXPECT_EQ(policy_progress(endpoints, 4).ready, 2u);
}

constexpr const char* kGood = R"(apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: web}
spec:
  endpointSelector: {matchLabels: {app: web}}
  ingress:
  - fromCIDRSet: [{cidrGroupRef: partners}]
  - fromEntities: [cluster]
    toPorts: [{ports: [{port: "80", protocol: TCP}]}]
)";

std::vector<PolicyVerdict> validated(std::vector<std::pair<std::string, std::string>> files) {
    return validate_policies(files, {});
}

TEST(PolicyValidate, RulesAndReferencesOfOtherFiles) {
    const std::string group =
        "apiVersion: cilium.io/v2\nkind: CiliumCIDRGroup\nmetadata: {name: partners}\nspec: {externalCIDRs: [192.0.2.0/24]}\n";
    const auto alone = validated({{"a.yaml", kGood}});
    ASSERT_EQ(alone.size(), 1u);
    EXPECT_EQ(alone[0].error, "");
    ASSERT_EQ(alone[0].warnings.size(), 1u);
    EXPECT_NE(alone[0].warnings[0].find("there is no CiliumCIDRGroup partners"), std::string::npos);
    EXPECT_EQ(alone[0].what, "CiliumNetworkPolicy default/web");
    const auto both = validated({{"a.yaml", kGood}, {"b.yaml", group}});
    ASSERT_EQ(both.size(), 2u);
    EXPECT_EQ(both[0].error, "");
    EXPECT_FALSE(both[1].policy);
    EXPECT_EQ(both[0].rules, 2u);
    EXPECT_TRUE(both[0].warnings.empty());
    EXPECT_EQ(policy_validate_text({both[1]}), "b.yaml:1: CiliumCIDRGroup partners: not a policy\n");
}

TEST(PolicyValidate, EveryDocumentHasItsLineAndItsError) {
    std::string bad = kGood;
    bad.replace(bad.find("cluster]"), 7, "mars");
    bad.replace(bad.find("name: web"), 9, "name: bad");
    const auto verdicts = validated({{"a.yaml", std::string(kGood) + "---\n" + bad + "---\nkind: [\n"}});
    ASSERT_EQ(verdicts.size(), 3u);
    EXPECT_EQ(verdicts[0].error, "");
    EXPECT_EQ(verdicts[1].line, 11);
    EXPECT_NE(verdicts[1].error.find("spec.ingress[1].fromEntities[0]"), std::string::npos) << verdicts[1].error;
    EXPECT_NE(verdicts[1].error.find("mars"), std::string::npos);
    EXPECT_NE(verdicts[2].error, "");
    const std::string text = policy_validate_text(verdicts);
    EXPECT_NE(text.find("a.yaml:1: CiliumNetworkPolicy default/web: valid, 1 rule\n"), std::string::npos) << text;
    EXPECT_NE(text.find("a.yaml:11: error: CiliumNetworkPolicy default/bad: "), std::string::npos) << text;
    const Json json = policy_validate_json(verdicts);
    EXPECT_TRUE(json[0]["valid"].get<bool>());
    EXPECT_FALSE(json[1]["valid"].get<bool>());
    EXPECT_EQ(json[1]["error"], verdicts[1].error);
}

Json event(std::initializer_list<std::pair<const char*, Json>> more) {
    Json event = Json::parse(
        R"({"src":"10.0.0.1","dst":"10.0.0.2","sport":40000,"dport":80,"proto":"TCP","tcp-flags":"SYN","hash":1,"endpoint-src":5,"endpoint-dst":811,
"identity-src":300,"identity-dst":28723,"ifindex":13,"file":"pod.bpf.c","line":7})");
    for (const auto& [key, value] : more) event[key] = value;
    return event;
}

TEST(PolicyMonitor, DropsNameTheRule) {
    const Json denied = event({{"type", "drop"},
                               {"reason", "Policy denied by denylist"},
                               {"rule-cookie", 16},
                               {"rule", "CiliumNetworkPolicy default/x, spec.ingressDeny[0]"}});
    EXPECT_EQ(monitor_text(denied, {}),
              "xx drop (Policy denied by denylist) flow 0x1 to endpoint 811, ifindex 13, file pod.bpf.c:7, , identity "
              "300->28723: 10.0.0.1:40000 -> 10.0.0.2:80 tcp SYN | denied by CiliumNetworkPolicy default/x, "
              "spec.ingressDeny[0]\n");
    const Json implicit = event({{"type", "drop"},
                                 {"reason", "Policy denied"},
                                 {"rule-cookie", 17},
                                 {"rule", "default deny from CiliumNetworkPolicy default/x"}});
    EXPECT_NE(monitor_text(implicit, {}).find("| no rule allows it: default deny from CiliumNetworkPolicy default/x\n"),
              std::string::npos);
    const Json unknown = event({{"type", "drop"}, {"reason", "Policy denied"}, {"rule-cookie", 99}});
    EXPECT_NE(monitor_text(unknown, {}).find("| no policy allows it"), std::string::npos);
}

TEST(PolicyMonitor, VerdictsAreCiliumsLineAndTheRule) {
    const auto verdict = [](const char* action, int cookie, const char* rule) {
        return event({{"type", "policy-verdict"},
                      {"direction", "ingress"},
                      {"action", action},
                      {"match", "L3-L4"},
                      {"local-endpoint", 811},
                      {"remote-identity", 300},
                      {"rule-cookie", cookie},
                      {"rule", rule}});
    };
    EXPECT_EQ(
        monitor_text(verdict("allow", 16, "CiliumNetworkPolicy default/x, spec.ingress[0]"), {}),
        "Policy verdict log: flow 0x1 local EP ID 811, remote ID 300, proto 6, ingress, action allow, auth: "
        "disabled, match L3-L4, 10.0.0.1:40000 -> 10.0.0.2:80 tcp SYN | allowed by CiliumNetworkPolicy default/x, "
        "spec.ingress[0]\n");
    EXPECT_NE(monitor_text(verdict("allow", 0, "no policy is enforced"), {}).find("SYN | no policy is enforced\n"),
              std::string::npos);
    EXPECT_NE(monitor_text(verdict("audit", 16, "default deny from X"), {})
                  .find("| no rule allows it: default deny from X (audit: let pass)\n"),
              std::string::npos);
    EXPECT_NE(monitor_text(verdict("audit", 16, "CiliumNetworkPolicy default/x, spec.ingressDeny[0]"), {})
                  .find("| would be denied by CiliumNetworkPolicy default/x, spec.ingressDeny[0] (audit: let pass)\n"),
              std::string::npos);
}

}  // namespace
}  // namespace axo::cli
