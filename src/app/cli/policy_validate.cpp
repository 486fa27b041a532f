#include "app/cli/policy_validate.h"

#include "io/manifest_file.h"
#include "io/resources.h"

namespace axo::cli {
namespace {

using policy::ServiceName;
using policy::TranslateContext;
using policy::Translation;

template <class Object>
Result<Translation> parse_and_translate(const nlohmann::json& json, const TranslateContext& context) {
    TRY_ASSIGN(const Object object, Object::parse(json));
    return policy::translate(object, context);
}

bool is_policy(const ResourceType& type) {
    return type.kind == resources::kNetworkPolicy.kind || type.kind == resources::kCiliumNetworkPolicy.kind ||
           type.kind == resources::kCiliumClusterwideNetworkPolicy.kind;
}

Result<Translation> translate(const ObjectId& id, const nlohmann::json& json, const TranslateContext& context) {
    if (id.type->kind == resources::kNetworkPolicy.kind) return parse_and_translate<NetworkPolicy>(json, context);
    if (id.type->kind == resources::kCiliumNetworkPolicy.kind)
        return parse_and_translate<CiliumNetworkPolicy>(json, context);
    return parse_and_translate<CiliumClusterwideNetworkPolicy>(json, context);
}

// What policies refer to, from all files.
class References {
public:
    // Objects of other kinds: nothing to check.
    Status add(const ObjectId& id, const nlohmann::json& json) {
        if (id.type->kind == resources::kCiliumCidrGroup.kind) {
            TRY_ASSIGN(CiliumCidrGroup group, CiliumCidrGroup::parse(json));
            groups_.insert_or_assign(id.key.name, std::move(group));
        } else if (id.type->kind == resources::kService.kind) {
            TRY_ASSIGN(Service service, Service::parse(json));
            services_.insert_or_assign(ServiceName{id.key.name_space, id.key.name}, std::move(service));
        } else if (id.type->kind == resources::kEndpointSlice.kind) {
            TRY_ASSIGN(EndpointSlice slice, EndpointSlice::parse(json));
            const ServiceName owner{id.key.name_space, slice.service_name()};
            slices_[owner].push_back(std::move(slice));
        }
        return {};
    }
    void complete(TranslateContext& context) {
        for (const auto& [name, service] : services_) views_[name] = policy::service_view(service, slices_[name]);
        context.cidr_groups = &groups_;
        context.services = &views_;
    }

private:
    std::map<std::string, CiliumCidrGroup> groups_;
    std::map<ServiceName, Service> services_;
    std::map<ServiceName, std::vector<EndpointSlice>> slices_;
    std::map<ServiceName, policy::ServiceView> views_;
};

}  // namespace

std::vector<PolicyVerdict> validate_policies(const std::vector<std::pair<std::string, std::string>>& files,
                                             TranslateContext context) {
    std::vector<PolicyVerdict> verdicts;
    std::vector<std::pair<std::size_t, ManifestFile::Document>> policies;  // verdict, document
    References references;
    for (const auto& [name, text] : files) {
        const ManifestFile file = ManifestFile::parse(text, name.ends_with(".json"));
        for (const ManifestFile::Document& document : file.documents()) {
            PolicyVerdict& verdict = verdicts.emplace_back();
            verdict.file = name;
            verdict.line = document.line;
            if (!document.good) {
                verdict.error = document.problem.message;
                continue;
            }
            verdict.what = document.id.to_string();
            verdict.policy = is_policy(*document.id.type);
            if (verdict.policy) {
                policies.emplace_back(verdicts.size() - 1, document);
            } else if (const Status added = references.add(document.id, document.object); !added) {
                verdict.error = added.error().message;
            }
        }
    }
    references.complete(context);
    for (const auto& [index, document] : policies) {
        PolicyVerdict& verdict = verdicts[index];
        const auto translated = translate(document.id, document.object, context);
        if (!translated) {
            verdict.error = translated.error().message;
            continue;
        }
        verdict.warnings = translated->warnings;
        verdict.specs = translated->policy.specs.size();
        for (const policy::Spec& spec : translated->policy.specs) verdict.rules += spec.rules.size();
    }
    return verdicts;
}

std::string policy_validate_text(const std::vector<PolicyVerdict>& verdicts) {
    std::string out;
    for (const PolicyVerdict& verdict : verdicts) {
        out += verdict.file + ":" + std::to_string(verdict.line) + ": ";
        if (!verdict.error.empty()) {
            std::string error = verdict.error;
            if (const std::string line = "line " + std::to_string(verdict.line) + ": "; error.starts_with(line))
                error.erase(0, line.size());
            // Most errors begin with the object themselves.
            const bool named = verdict.what.empty() || error.starts_with(verdict.what);
            out += "error: " + (named ? "" : verdict.what + ": ") + error + "\n";
            continue;
        }
        out += verdict.what;
        if (!verdict.policy) {
            out += ": not a policy\n";
            continue;
        }
        out += ": valid, " + std::to_string(verdict.rules) + (verdict.rules == 1 ? " rule\n" : " rules\n");
        for (const std::string& warning : verdict.warnings) out += "    warning: " + warning + "\n";
    }
    return out;
}

Json policy_validate_json(const std::vector<PolicyVerdict>& verdicts) {
    Json all = Json::array();
    for (const PolicyVerdict& verdict : verdicts) {
        all.push_back({{"file", verdict.file},
                       {"line", verdict.line},
                       {"object", verdict.what},
                       {"policy", verdict.policy},
                       {"valid", verdict.error.empty()},
                       {"error", verdict.error},
                       {"warnings", verdict.warnings},
                       {"specs", verdict.specs},
                       {"rules", verdict.rules}});
    }
    return all;
}

}  // namespace axo::cli
