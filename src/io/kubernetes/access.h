// How to reach an API server and who to be there: from flags, a kubeconfig or what kubelet mounts into a pod.
//
// Kubeconfig: https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/; of it: clusters
// (server, certificate-authority[-data], insecure-skip-tls-verify, tls-server-name), users (token, tokenFile,
// client-certificate[-data], client-key[-data]), contexts, current-context. Ways of authenticating that need another
// program or a proxy are refused by name. In a pod: /var/run/secrets/kubernetes.io/serviceaccount and the environment
// KUBERNETES_SERVICE_HOST, KUBERNETES_SERVICE_PORT. Thread: any (values).
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace axo::kubernetes {

// One API server.
struct Server {
    bool tls = true;
    std::string host;  // name or address, without brackets
    std::uint16_t port = 443;
    std::string path;  // in front of every request's; "" or "/prefix"

    [[nodiscard]] std::string to_string() const;  // "https://10.0.0.1:6443"
    friend bool operator==(const Server&, const Server&) = default;
};
// "https://host:6443", "http://…", "host:6443" (https), "[2001:db8::1]:6443".
Result<Server> parse_server(const std::string& text);

// Something secret or public that stands in the configuration, or in a file that others may replace at any time.
struct Material {
    std::string text;
    std::string file;

    [[nodiscard]] bool empty() const { return text.empty() && file.empty(); }
    Result<std::string> read() const;
    friend bool operator==(const Material&, const Material&) = default;
};

struct AccessOptions {
    std::string kubeconfig;            // path; "": none
    std::string context;               // of the kubeconfig; "": its current one
    std::vector<std::string> servers;  // instead of the configuration's
    std::string service_account = "/var/run/secrets/kubernetes.io/serviceaccount";
    std::map<std::string, std::string> environment;
};

struct Access {
    std::vector<Server> servers;  // tried in this order, the one that answers is kept
    std::string server_name;      // expected in the certificate; "": the host
    bool insecure = false;        // any certificate will do
    Material ca;                  // PEM; none: those that the system trusts
    Material client_certificate, client_key;
    Material token;
    std::string origin;                           // "kubeconfig /etc/x", "in-cluster": for status and errors
    std::shared_ptr<const AccessOptions> source;  // set: a kubeconfig, which may be replaced, is where it is from
};

// kNotFound when there is neither a kubeconfig nor a service account nor a server.
Result<Access> load_access(const AccessOptions& options);

// Another one when the file is another or has been written to; "": there is none.
std::string file_version(const std::string& path);

}  // namespace axo::kubernetes
