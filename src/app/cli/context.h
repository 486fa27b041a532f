// What every command shares: where the agent is, and how to ask it. Thread: main's.
#pragma once

#include <chrono>
#include <map>
#include <string>

#include "app/cli/output/format.h"
#include "base/result.h"
#include "io/http.h"

namespace axo::cli {

class Context {
public:
    std::string program = "axoneme";  // as the user called it: also cilium, cilium-dbg
    std::string host;                 // -H; empty: CILIUM_SOCK, else the default socket
    std::string bpf_root = "/sys/fs/bpf";
    bool debug = false;
    int exit_status = 0;

    // "unix:///var/run/cilium/cilium.sock"
    [[nodiscard]] std::string address() const;
    // cilium-health's API: "health.sock" beside the agent's socket.
    [[nodiscard]] std::string health_address() const;
    // Errors name the socket and what to look at.
    [[nodiscard]] Result<HttpClient> connect(Duration timeout = std::chrono::seconds(30)) const;
    // The body of a 2xx answer; others are errors with the agent's own words. Target without "/v1".
    [[nodiscard]] Result<Json> get(const std::string& target,
                                   const std::map<std::string, std::string>& headers = {}) const;
    [[nodiscard]] Result<HttpResponse> call(const std::string& method, const std::string& target,
                                            const std::string& body = {}) const;
};

// What to do about a connection that failed; one line.
Error connection_advice(const std::string& address, const Error& error);
// The error of an answer that is not 2xx.
Error answer_error(const std::string& method, const std::string& target, const HttpResponse& response);
// The same of a map that cannot be opened: it is missing where no agent has run, and may be read by root only.
Error map_advice(const Context& context, Error error);
std::string url_encode(std::string_view text);

// Standard output in one piece; a reader that has gone (`| head`) is no error.
void print(std::string_view text);
// Prints a value in the asked form, or the command's own text.
Status print_as(const std::string& output_option, const Json& value, const std::function<std::string()>& as_text);

}  // namespace axo::cli
