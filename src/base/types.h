// Strong types for the numbers that must not be mixed up. Thread: any (values).
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <string>

namespace axo {

template <class Tag, class Rep>
struct StrongId {
    Rep value = 0;

    constexpr StrongId() = default;
    explicit constexpr StrongId(Rep v) : value(v) {}
    friend constexpr auto operator<=>(StrongId, StrongId) = default;
    [[nodiscard]] std::string to_string() const { return std::to_string(value); }
};

// The security identity of a set of labels (Cilium's numeric identity): contracts.md 3.3.
using IdentityId = StrongId<struct IdentityTag, std::uint32_t>;
// Number of an endpoint on its node, 1..65535.
using EndpointId = StrongId<struct EndpointTag, std::uint16_t>;
using IfIndex = StrongId<struct IfIndexTag, std::uint32_t>;

namespace identity {
inline constexpr IdentityId kUnknown{0};
inline constexpr IdentityId kHost{1};
inline constexpr IdentityId kWorld{2};
inline constexpr IdentityId kUnmanaged{3};
inline constexpr IdentityId kHealth{4};
inline constexpr IdentityId kInit{5};
inline constexpr IdentityId kRemoteNode{6};
inline constexpr IdentityId kKubeApiServer{7};
inline constexpr IdentityId kIngress{8};
inline constexpr IdentityId kWorldIpv4{9};
inline constexpr IdentityId kWorldIpv6{10};
inline constexpr std::uint32_t kClusterMin = 256;
inline constexpr std::uint32_t kClusterMax = 65535;
}  // namespace identity

}  // namespace axo

template <class Tag, class Rep>
struct std::hash<axo::StrongId<Tag, Rep>> {
    std::size_t operator()(axo::StrongId<Tag, Rep> id) const noexcept { return std::hash<Rep>{}(id.value); }
};
