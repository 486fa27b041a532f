// Why a flow was dropped, and the policy that would let it pass. Pure: all of it comes from the flow. Thread: any.
#pragma once

#include <optional>
#include <string>

namespace flow {
class Flow;
}

namespace axo {

struct DropExplanation {
    std::string sentence;
    std::string policy;  // YAML of a policy that allows exactly this; empty where a policy is not the cause or the cure
};

// Nothing for flows that were not dropped.
std::optional<DropExplanation> explain_drop(const flow::Flow& flow);

}  // namespace axo
