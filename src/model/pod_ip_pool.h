// CiliumPodIPPool (cilium.io/v2alpha1): a pool of pod CIDRs. Thread: any (values).
#pragma once

#include <optional>
#include <vector>

#include "model/label_selector.h"
#include "model/meta.h"

namespace axo {

struct PodIpPool {
    static constexpr std::string_view kApiVersion = "cilium.io/v2alpha1";
    static constexpr std::string_view kKind = "CiliumPodIPPool";

    struct FamilyPool {
        std::vector<Prefix> cidrs;
        int mask_size = 0;  // of the blocks handed to nodes

        friend bool operator==(const FamilyPool&, const FamilyPool&) = default;
    };

    ObjectMeta metadata;
    std::optional<FamilyPool> ipv4;
    std::optional<FamilyPool> ipv6;
    std::optional<LabelSelector> pod_selector;
    std::optional<LabelSelector> namespace_selector;

    static Result<PodIpPool> parse(const Json& json);
    [[nodiscard]] Json to_json() const;
    friend bool operator==(const PodIpPool&, const PodIpPool&) = default;
};

}  // namespace axo
