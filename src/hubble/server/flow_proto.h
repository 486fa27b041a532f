// A record as Hubble's message. The one place where protobuf is made of flows. Thread: any.
#pragma once

#include <flow/events.pb.h>
#include <flow/flow.pb.h>

#include "hubble/core/record.h"

namespace axo::hubble {

struct FlowContext {
    std::string node_name;  // "cluster/node"
    std::vector<std::string> node_labels;
    std::string version;
    // FlowCounters in Flow.extensions: of those only who asked for them; the stock client cannot print what it does
    // not know.
    bool counters = false;
};

void to_proto(const FlowRecord& record, const FlowContext& context, ::flow::Flow& flow);
void to_proto(const FlowRecord& record, ::flow::LostEvent& lost);
void to_timestamp(std::int64_t ns, ::google::protobuf::Timestamp& time);
// Since the epoch. Out of range: the nearest that can be said.
std::int64_t from_timestamp(const ::google::protobuf::Timestamp& time);

}  // namespace axo::hubble
