#include "app/cli/policy_text.h"

#include <algorithm>

#include "app/cli/output/tab_writer.h"

namespace axo::cli {
namespace {

const Json& elements(const Json& list) {
    static const Json kNone = Json::array();
    return list.is_array() ? list : kNone;
}

std::string quantity(std::size_t count, const std::string& what) {
    return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

// Cilium's word for how many bits of protocol and port an entry of its map compares. Ranges are several such entries
// there and one here.
std::string prefix_bits(const std::string& port_and_protocol) {
    if (port_and_protocol == "ANY") return "0";
    const std::size_t slash = port_and_protocol.find('/');
    if (slash == std::string::npos) return "8";
    return port_and_protocol.find('-') < slash ? "-" : "24";
}

std::vector<std::string> labels_of(const Json& entry) {
    if (number(entry, "identity") == 0) return {"ANY"};
    std::vector<std::string> labels = texts(entry, "labels");
    if (labels.empty()) labels.push_back(text(entry, "identity"));
    return labels;
}

// "CiliumNetworkPolicy default/web, spec.ingress[0]"; older agents only say the parts.
std::string rule_name(const Json& rule) {
    if (std::string description = text(rule, "description"); !description.empty()) return description;
    const std::string name_space = text(rule, "namespace");
    return text(rule, "kind") + " " + (name_space.empty() ? "" : name_space + "/") + text(rule, "name") + ", " +
           text(rule, "path");
}

std::string without_trailing_blanks(const std::string& text) {
    std::string out;
    for (const char c : text) {
        if (c == '\n') out.erase(out.find_last_not_of(' ') + 1);
        out += c;
    }
    return out;
}

// "endpoint 12 (k8s:app=web,k8s:io.cilium.k8s.policy.cluster=default,…)" names labels that every pod has; people look
// for the others. -o json has them all.
std::string with_telling_labels(const std::string& text) {
    static constexpr std::string_view kCommon[] = {
        "k8s:io.cilium.k8s.policy.cluster=", "k8s:io.cilium.k8s.policy.serviceaccount=default",
        "k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name="};
    const auto common = [](std::string_view label) {
        return std::any_of(std::begin(kCommon), std::end(kCommon),
                           [&](std::string_view c) { return label.starts_with(c); });
    };
    std::string out;
    std::size_t at = 0;
    for (;;) {
        const std::size_t open = text.find("(k8s:", at);
        const std::size_t close = open == std::string::npos ? open : text.find(')', open);
        if (close == std::string::npos) return out + text.substr(at);
        out += text.substr(at, open + 1 - at);
        std::vector<std::string> kept;
        for (std::size_t begin = open + 1; begin < close;) {
            const std::size_t end = std::min(text.find(',', begin), close);
            if (const std::string label = text.substr(begin, end - begin); !common(label)) kept.push_back(label);
            begin = end + 1;
        }
        out += join(kept, ", ");
        at = close;
    }
}

}  // namespace

std::string policy_get_text(const Json& policy) {
    return text(policy, "policy") + "\nRevision: " + text(policy, "revision") + "\n";
}

std::string policy_selectors_text(const Json& selectors) {
    TabWriter w(5, 3);
    w << "SELECTOR\tLABELS\tUSERS\tIDENTITIES\n";
    for (const Json& row : elements(selectors)) {
        std::string line = text(row, "selector") + "\t" + join(texts(row, "labels"), ", ") + "\t" + text(row, "users");
        const Json& identities = elements(field(row, "identities"));
        if (identities.empty()) line += "\t\n";
        for (const Json& identity : identities) {
            w << line + "\t" + identity.dump() + "\t\n";
            line = "\t\t";
        }
        if (identities.empty()) w << line;
    }
    return w.str();
}

std::string policy_list_text(const Json& objects) {
    TabWriter w;
    w << "KIND\tNAMESPACE\tNAME\tVALID\tRULES\tMESSAGE\n";
    for (const Json& row : elements(objects)) {
        std::vector<std::string> messages;
        if (const std::string error = text(row, "error"); !error.empty()) {
            const bool earlier = number(row, "specs") != 0 || flag(row, "in-force");
            messages.push_back(error +
                               (earlier ? "; its previous version stays in force" : "; nothing of it is in force"));
        }
        for (const std::string& warning : texts(row, "warnings")) messages.push_back("warning: " + warning);
        if (messages.empty()) messages.emplace_back();
        w.row({text(row, "kind"), text(row, "namespace"), text(row, "name"), flag(row, "valid") ? "True" : "False",
               text(row, "rules"), messages[0]});
        for (std::size_t i = 1; i < messages.size(); ++i) w.row({"", "", "", "", "", messages[i]});
    }
    return w.str();
}

std::string policy_rules_text(const Json& rules) {
    TabWriter w;
    w << "COOKIE\tDIRECTION\tACTION\tRULE\tMEANING\n";
    for (const Json& row : elements(rules)) {
        const bool deny = flag(row, "deny");
        w.row(
            {text(row, "cookie"), text(row, "direction"), deny ? "Deny" : "Allow", rule_name(row), text(row, "text")});
    }
    return w.str();
}

std::string policy_explain_text(const Json& explanation, const std::string& from, const std::string& to) {
    const Json& allowed = field(explanation, "allowed");
    const Json& parts = elements(field(explanation, "parts"));
    const std::string traffic = text(explanation, "traffic");
    std::string out = from + " -> " + to + (traffic.empty() ? "" : ", " + traffic) + ": ";
    out += !allowed.is_boolean() ? "NOT KNOWN\n" : allowed.get<bool>() ? "ALLOWED\n" : "DENIED\n";
    std::string said = text(explanation, "text");
    if (said.empty()) {
        for (const Json& part : parts) said += text(part, "text") + "\n";
    }
    while (said.ends_with('\n')) said.pop_back();
    return said.empty() ? out : out + "\n" + with_telling_labels(said) + "\n";
}

std::string policy_diff_text(const Json& difference) {
    const Json& changes = elements(field(difference, "changes"));
    const std::string seen = quantity(static_cast<std::size_t>(number(difference, "flows-seen")), "flow");
    if (changes.empty()) return seen + " seen: none would be treated differently.\n";
    std::size_t opened = 0;
    for (const Json& change : changes) opened += text(change, "after") == "allowed" ? 1 : 0;
    std::string out = seen + " seen: " + std::to_string(opened) + " would be newly allowed, " +
                      std::to_string(changes.size() - opened) + " newly denied.\n";
    for (const Json& change : changes) {
        const bool open = text(change, "after") == "allowed";
        std::string traffic = text(change, "traffic");
        if (traffic.empty()) traffic = text(change, "protocol") + "/" + text(change, "port");
        out += std::string(open ? "+ " : "- ") + text(change, "source") + " -> " + text(change, "destination") + ", " +
               traffic + "  (" + text(change, "direction") + ")\n";
        out += "    now  " + text(change, "before") + ": " + text(change, "before-rule") + "\n";
        out += "    then " + text(change, "after") + ": " + text(change, "after-rule") + "\n";
    }
    return out;
}

std::string policy_image_text(const Json& image, bool numeric) {
    TabWriter w(5, 3);
    w << "POLICY\tDIRECTION\tIDENTITY\tPORT/PROTO\tPROXY PORT\tAUTH TYPE\tPREFIX\tCOOKIE\tRULE\n";
    for (const Json& entry : elements(field(image, "entries"))) {
        const std::vector<std::string> who = numeric ? std::vector{text(entry, "identity")} : labels_of(entry);
        const std::int64_t proxy = number(entry, "proxy-port");
        w.row({text(entry, "action"), text(entry, "direction"), who[0], text(entry, "port-proto"),
               proxy == 0 ? "NONE" : std::to_string(proxy), "disabled", prefix_bits(text(entry, "port-proto")),
               text(entry, "cookie"), text(entry, "rule")});
        for (std::size_t i = 1; i < who.size(); ++i) w.row({"", "", who[i], "", "", "", "", "", ""});
    }
    std::string out = without_trailing_blanks(w.str());
    if (number(image, "reference") == 0)
        out +=
            "No policy has been compiled for it: a pod's packets are dropped until that is done, the host's are not.\n";
    if (flag(image, "truncated")) out += "There are more entries than are listed here.\n";
    return out;
}

PolicyWait policy_progress(const Json& endpoints, std::int64_t revision) {
    PolicyWait progress;
    for (const Json& endpoint : elements(endpoints)) {
        const std::string state = text(endpoint, "status.state");
        if (state == "disconnecting" || state == "disconnected") continue;
        ++progress.endpoints;
        if (number(endpoint, "status.policy.realized.policy-revision") >= revision) ++progress.ready;
        if (text(endpoint, "status.health.policy") == "Failure" && progress.failed.empty())
            progress.failed = "endpoint " + text(endpoint, "id") + ": its policy could not be computed";
    }
    return progress;
}

}  // namespace axo::cli
