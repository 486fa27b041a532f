// Which flows of a list pass a request's filters: for flows that are at hand as messages (files, streams), after
// Hubble's rules. The agent filters its own records elsewhere, before a message is made. Thread: any (immutable).
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/result.h"

namespace flow {
class Flow;
class FlowFilter;
}  // namespace flow

namespace axo {

class FlowMatcher {
public:
    // Errors name the filter's field and the value: a broken regular expression, CIDR, selector, status or port.
    static Result<FlowMatcher> build(const std::vector<flow::FlowFilter>& allow,
                                     const std::vector<flow::FlowFilter>& deny);
    // Some allow filter matches (or there is none), and no deny filter does.
    [[nodiscard]] bool matches(const flow::Flow& flow) const;

private:
    using Test = std::function<bool(const flow::Flow&)>;
    using Filter = std::vector<Test>;  // all have to hold
    static Result<Filter> compile(const flow::FlowFilter& filter);

    std::vector<Filter> allow_, deny_;
};

}  // namespace axo
