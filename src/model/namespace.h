// Namespace (v1). Thread: any (values).
#pragma once

#include "model/meta.h"

namespace axo {

struct Namespace {
    static constexpr std::string_view kApiVersion = "v1";
    static constexpr std::string_view kKind = "Namespace";

    ObjectMeta metadata;

    static Result<Namespace> parse(const Json& json);
    [[nodiscard]] Json to_json() const;
    friend bool operator==(const Namespace&, const Namespace&) = default;
};

}  // namespace axo
