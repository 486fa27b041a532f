// Protobuf messages as JSON in proto3's mapping, laid out as Hubble's tools write and read it: one line, fields under
// their proto names in the order in which the .proto declares them, <, > and & escaped. Pure. Thread: any.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace google::protobuf {
class Message;
}

namespace axo {

std::string proto_json(const google::protobuf::Message& message);
// Field names may be proto or JSON names. Unknown ones are an error, or skipped.
enum class UnknownFields { kRefuse, kSkip };
Status parse_proto_json(std::string_view text, UnknownFields unknown, google::protobuf::Message& message);
// JSON objects behind one another, as lists of FlowFilters are given: cut where brackets outside strings close.
Result<std::vector<std::string>> split_json_objects(std::string_view text);

}  // namespace axo
