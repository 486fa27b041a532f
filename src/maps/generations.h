// The generations map (bpf/api/generation.h), mapped into memory: bumping is one atomic add.
//
// Bump AFTER the maps that a generation covers have been written. Thread: any.
#pragma once

#include <memory>
#include <string>

#include "base/ip.h"
#include "base/result.h"
#include "base/types.h"
#include "bpf/api/generation.h"

namespace axo {

class Generations {
public:
    static Result<Generations> open(const std::string& pin_path);
    // A map of the same layout that nobody else sees; for tests.
    static Result<Generations> create_private();
    // Of a map that the caller has; for tests of programs.
    static Result<Generations> use(int map_fd);
    Generations(Generations&&) noexcept;
    Generations& operator=(Generations&&) noexcept;
    ~Generations();

    void bump_node();                        // every flow of this node decides again
    void bump_address(const IpAddress& ip);  // flows to or from addresses of this bucket
    void bump_prefix(const Prefix& prefix);  // a host prefix bumps its bucket, any other the node
    void bump_endpoint(EndpointId id);
    // Puts another policy into force: the reference (bpf/api/policy.h: location and POLICY_REF_F_*) and the endpoint's
    // generation change together, and every flow of the endpoint decides again with its next packet. 0: not computed,
    // the endpoint's packets are dropped. The image has to be in place before.
    void set_policy(EndpointId id, std::uint32_t reference);
    [[nodiscard]] std::uint32_t policy(EndpointId id) const;
    // Whose policy is the node's own, for programs with the host firewall. 0: nobody's, the node is open. When it
    // changes, every flow decides again.
    void set_host_endpoint(EndpointId id);
    [[nodiscard]] EndpointId host_endpoint() const;
    [[nodiscard]] std::uint32_t node() const;
    [[nodiscard]] std::uint32_t endpoint(EndpointId id) const;
    [[nodiscard]] std::uint32_t address(const IpAddress& ip) const;

private:
    explicit Generations(generations* memory) : memory_(memory) {}
    static Result<Generations> map_memory(int map_fd, const std::string& name);
    generations* memory_ = nullptr;
};

}  // namespace axo
