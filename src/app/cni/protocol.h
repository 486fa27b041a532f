// The CNI protocol as this plugin speaks it: requests from environment and standard input, results
// and errors for standard output. Pure: no system calls here.
//
// Versions 0.1.0 to 1.1.0. Errors are numbered as the specification (1-99) and Cilium (100, 101) do.
#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ip.h"
#include "base/result.h"

namespace axo::cni {

enum class ErrorCode : int {
    kIncompatibleVersion = 1,
    kUnsupportedField = 2,
    kUnknownContainer = 3,
    kInvalidEnvironment = 4,
    kIo = 5,
    kDecode = 6,
    kInvalidConfig = 7,
    kTryAgainLater = 11,
    kNotAvailable = 50,
    kAgentUnreachable = 100,
    kAgentUnhealthy = 101,
    kInternal = 999,  // what the reference library uses for errors without a number
};

struct CniError {
    ErrorCode code = ErrorCode::kInternal;
    std::string message;
    std::string details;  // may be empty
};

template <class T>
using Outcome = std::expected<T, CniError>;
using Done = Outcome<void>;

std::unexpected<CniError> refuse(ErrorCode code, std::string message, std::string details = {});
// An Error of the libraries under a CNI number.
std::unexpected<CniError> refuse(ErrorCode code, std::string_view what, const Error& error);

enum class Command { kAdd, kDel, kCheck, kGc, kStatus, kVersion };
std::string_view command_name(Command command);

// One interface of one container: what ADD makes and DEL removes.
struct Attachment {
    std::string container_id;
    std::string ifname;

    // "<container id>:<interface>", the agent's name for it.
    [[nodiscard]] std::string key() const { return container_id + ":" + ifname; }
    // Name of the host's end of the pair: "lxc" and 12 hex digits.
    [[nodiscard]] std::string host_interface() const;
    friend auto operator<=>(const Attachment&, const Attachment&) = default;
};

struct PodArgs {  // from CNI_ARGS; all empty when the runtime is not Kubernetes'
    std::string name;
    std::string name_space;
    std::string uid;
};

struct ResultInterface {
    std::string name;
    std::string mac;
    std::string sandbox;  // empty: on the host
    std::uint32_t mtu = 0;
    friend bool operator==(const ResultInterface&, const ResultInterface&) = default;
};
struct ResultIp {
    IpAddress address;
    int prefix_length = 0;
    IpAddress gateway;
    std::optional<std::size_t> interface;  // index into interfaces
    friend bool operator==(const ResultIp&, const ResultIp&) = default;
};
struct ResultRoute {
    Prefix destination;
    IpAddress gateway;  // unset: on the link
    std::uint32_t mtu = 0;
    friend bool operator==(const ResultRoute&, const ResultRoute&) = default;
};
struct AddResult {
    std::vector<ResultInterface> interfaces;
    std::vector<ResultIp> ips;
    std::vector<ResultRoute> routes;
    friend bool operator==(const AddResult&, const AddResult&) = default;
};

struct NetConf {
    std::string cni_version = "0.1.0";  // what the specification says a missing one means
    std::string name;
    bool debug = false;
    std::string log_file;    // empty: beside the agent's socket
    std::string log_format;  // "text", "json"
    std::uint32_t mtu = 0;   // 0: the agent's device MTU
    bool route_mtu = false;
    std::optional<AddResult> previous;
    std::optional<std::vector<Attachment>> valid_attachments;  // GC
};

struct Request {
    Command command = Command::kVersion;
    Attachment attachment;
    std::string netns;  // may be empty for DEL
    PodArgs pod;
    std::string raw_args;
    NetConf conf;
};

// `environment` answers "" for what is not set.
Outcome<Request> parse_request(const std::function<std::string(const char*)>& environment, std::string_view input);
// The version that an answer to this input has to carry, even when the input is refused.
std::string answer_version(std::string_view input);

std::string encode_result(const AddResult& result, const std::string& cni_version);
Outcome<AddResult> decode_result(std::string_view json);
std::string encode_error(const CniError& error, const std::string& cni_version);
std::string encode_versions(const std::string& cni_version);

// Comparison of dotted versions that parse_request has let through.
bool version_at_least(std::string_view version, std::string_view minimum);

}  // namespace axo::cni
