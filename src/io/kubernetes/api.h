// What an API server offers: versions and subresources of kinds, found by asking and not by its version number; and
// what its answers mean.
//
// Kinds are asked for in the version that this code is written for; only a server that does not know it is asked which
// others it has. Thread: the loop's only.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "io/kubernetes/client.h"
#include "io/object_store.h"

namespace axo::kubernetes {

using Json = nlohmann::json;

// "verb resource namespace/name" for errors.
struct Operation {
    std::string verb;  // as RBAC names it: "list"
    const ResourceType* type = nullptr;
    ObjectKey key{};
    std::string subresource{};

    [[nodiscard]] std::string to_string() const;
};

// The error that an answer other than 2xx stands for. 401, 403: kPermissionDenied, naming the RBAC rule that would
// allow it; 404: kNotFound; 409: kAlreadyExists of a create, else kAborted; 422 and 400: kInvalidArgument with the
// server's causes; 410: kOutOfRange; 429, 5xx: kUnavailable.
Error error_of(const Operation& operation, const Response& response);

// Percent-encoding of a part of a path or of a query value.
std::string escaped(std::string_view text);

class Api {
public:
    explicit Api(Client& client) : client_(client) {}

    struct Served {
        bool served = false;
        std::string version;  // of those that this code understands
        bool status = false;  // there is a subresource of that name
    };
    // How the kind is served. An error: the server cannot be asked.
    Task<Result<Served>> discover(const ResourceType& type);
    // What is assumed of a kind, without asking.
    [[nodiscard]] std::string version_of(const ResourceType& type) const;
    // "/apis/cilium.io/v2/namespaces/NS/ciliumendpoints/NAME"; without a name: the collection, of all namespaces if
    // there is none either.
    [[nodiscard]] std::string path(const ResourceType& type, const ObjectKey& key) const;

    // "1.33 (v1.33.1) [linux/amd64]", once it has answered; asked for with the first call and now and then.
    Task<Result<std::string>> server_version();

    Client& client() { return client_; }

private:
    using Resources = std::set<std::string>;  // "pods", "pods/status"; empty: there is no such version
    Task<Result<Resources>> resources_of(std::string group, std::string version);

    Client& client_;
    std::map<std::string, std::string> chosen_;  // "group/plural": version, where it is not the type's
};

}  // namespace axo::kubernetes
