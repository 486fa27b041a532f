// FlowFilter lists as one question about a record: Hubble's meaning of every field. Each filter's fields all have to
// fit, of a field's values one; of the allowing filters one has to fit, of the denying none.
//
// Lost events pass always. Thread: one (remembers answers about labels).
#pragma once

#include <flow/filter.pb.h>

#include <functional>
#include <memory>
#include <vector>

#include "hubble/server/flow_proto.h"

namespace axo::hubble {

class FlowFilterSet {
public:
    using Filters = ::google::protobuf::RepeatedPtrField<::flow::FlowFilter>;
    using Test = std::function<bool(const FlowRecord&)>;

    // Passes everything.
    FlowFilterSet() = default;
    // An error names list, field and value. allow_name: "whitelist", as the request calls it.
    static Result<FlowFilterSet> compile(const Filters& allow, const Filters& deny, const FlowContext& context,
                                         const std::string& allow_name = "whitelist",
                                         const std::string& deny_name = "blacklist");

    [[nodiscard]] bool matches(const FlowRecord& record) const;

private:
    std::vector<std::vector<Test>> allow_, deny_;
};

}  // namespace axo::hubble
