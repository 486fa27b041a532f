#include "hubble/text/proto_json.h"

#include <google/protobuf/any.pb.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/field_mask.pb.h>
#include <google/protobuf/message.h>
#include <google/protobuf/timestamp.pb.h>
#include <google/protobuf/util/json_util.h>

#include <charconv>
#include <cmath>
#include <cstdio>
#include <ctime>

#include "base/base64.h"

namespace axo {
namespace {

namespace pb = google::protobuf;

constexpr char kHex[] = "0123456789abcdef";

void put_string(std::string& out, std::string_view text) {
    out += '"';
    for (std::size_t i = 0; i < text.size(); ++i) {
        const auto c = static_cast<unsigned char>(text[i]);
        switch (c) {
            case '"': out += "\\\""; break;
            case '\\': out += "\\\\"; break;
            case '\n': out += "\\n"; break;
            case '\r': out += "\\r"; break;
            case '\t': out += "\\t"; break;
            case '\b': out += "\\b"; break;
            case '\f': out += "\\f"; break;
            default:
                if (c < 0x20 || c == '<' || c == '>' || c == '&') {
                    out += "\\u00";
                    out += kHex[c >> 4];
                    out += kHex[c & 15];
                } else if (c == 0xe2 && i + 2 < text.size() && text[i + 1] == '\x80' &&
                           (text[i + 2] == '\xa8' || text[i + 2] == '\xa9')) {
                    out += text[i + 2] == '\xa8' ? "\\u2028" : "\\u2029";
                    i += 2;
                } else {
                    out += text[i];
                }
        }
    }
    out += '"';
}

template <class Int>
void put_integer(std::string& out, Int value) {
    std::array<char, 24> buffer{};
    const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value).ptr;
    out.append(buffer.data(), end);
}

void put_double(std::string& out, double value) {
    if (std::isnan(value)) {
        out += "\"NaN\"";
    } else if (std::isinf(value)) {
        out += value > 0 ? "\"Infinity\"" : "\"-Infinity\"";
    } else {
        std::array<char, 400> buffer{};
        const double size = std::fabs(value);
        // The same border as Go's between digits and an exponent.
        const bool exponent = size != 0 && (size < 1e-6 || size >= 1e21);
        const auto form = exponent ? std::chars_format::scientific : std::chars_format::fixed;
        const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, form).ptr;
        out.append(buffer.data(), end);
    }
}

// RFC 3339 with 0, 3, 6 or 9 digits of fraction.
void put_timestamp(std::string& out, const pb::Timestamp& time) {
    const std::time_t seconds = time.seconds();
    std::tm parts{};
    ::gmtime_r(&seconds, &parts);
    std::array<char, 64> buffer{};
    std::snprintf(buffer.data(), buffer.size(), "\"%04d-%02d-%02dT%02d:%02d:%02d", parts.tm_year + 1900,
                  parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec);
    out += buffer.data();
    if (const int nanos = time.nanos(); nanos != 0) {
        const int digits = nanos % 1'000'000 == 0 ? 3 : nanos % 1000 == 0 ? 6 : 9;
        std::snprintf(buffer.data(), buffer.size(), ".%09d", nanos);
        out.append(buffer.data(), static_cast<std::size_t>(digits) + 1);
    }
    out += "Z\"";
}

void put_message(std::string& out, const pb::Message& message);

void put_base64(std::string& out, std::string_view bytes) {
    out += '"' + base64_encode(bytes) + '"';
}

// One value: of the field itself, or of its element `index`.
void put_value(std::string& out, const pb::Message& message, const pb::FieldDescriptor& field, int index) {
    using F = pb::FieldDescriptor;
    const pb::Reflection& get = *message.GetReflection();
    const bool many = field.is_repeated();
    switch (field.cpp_type()) {
        case F::CPPTYPE_STRING: {
            std::string scratch;
            const std::string& text = many ? get.GetRepeatedStringReference(message, &field, index, &scratch)
                                           : get.GetStringReference(message, &field, &scratch);
            if (field.type() == F::TYPE_BYTES)
                put_base64(out, text);
            else
                put_string(out, text);
            return;
        }
        case F::CPPTYPE_BOOL:
            out +=
                (many ? get.GetRepeatedBool(message, &field, index) : get.GetBool(message, &field)) ? "true" : "false";
            return;
        case F::CPPTYPE_INT32:
            return put_integer(out,
                               many ? get.GetRepeatedInt32(message, &field, index) : get.GetInt32(message, &field));
        case F::CPPTYPE_UINT32:
            return put_integer(out,
                               many ? get.GetRepeatedUInt32(message, &field, index) : get.GetUInt32(message, &field));
        case F::CPPTYPE_INT64:
            out += '"';
            put_integer(out, many ? get.GetRepeatedInt64(message, &field, index) : get.GetInt64(message, &field));
            out += '"';
            return;
        case F::CPPTYPE_UINT64:
            out += '"';
            put_integer(out, many ? get.GetRepeatedUInt64(message, &field, index) : get.GetUInt64(message, &field));
            out += '"';
            return;
        case F::CPPTYPE_DOUBLE:
            return put_double(out,
                              many ? get.GetRepeatedDouble(message, &field, index) : get.GetDouble(message, &field));
        case F::CPPTYPE_FLOAT:
            return put_double(out, many ? get.GetRepeatedFloat(message, &field, index) : get.GetFloat(message, &field));
        case F::CPPTYPE_ENUM: {
            const int number =
                many ? get.GetRepeatedEnumValue(message, &field, index) : get.GetEnumValue(message, &field);
            const pb::EnumValueDescriptor* value = field.enum_type()->FindValueByNumber(number);
            if (value != nullptr)
                put_string(out, value->name());
            else
                put_integer(out, number);
            return;
        }
        case F::CPPTYPE_MESSAGE:
            return put_message(out,
                               many ? get.GetRepeatedMessage(message, &field, index) : get.GetMessage(message, &field));
    }
}

void put_fields(std::string& out, const pb::Message& message, bool first) {
    const pb::Descriptor& type = *message.GetDescriptor();
    const pb::Reflection& get = *message.GetReflection();
    for (int i = 0; i < type.field_count(); ++i) {
        const pb::FieldDescriptor& field = *type.field(i);
        const int count = field.is_repeated() ? get.FieldSize(message, &field) : get.HasField(message, &field) ? 1 : 0;
        if (count == 0) continue;
        if (!first) out += ',';
        first = false;
        put_string(out, field.name());
        out += ':';
        if (!field.is_repeated()) {
            put_value(out, message, field, 0);
            continue;
        }
        out += '[';
        for (int j = 0; j < count; ++j) {
            if (j != 0) out += ',';
            put_value(out, message, field, j);
        }
        out += ']';
    }
}

void put_any(std::string& out, const pb::Any& any) {
    const std::string& url = any.type_url();
    out += "{\"@type\":";
    put_string(out, url);
    const std::size_t slash = url.rfind('/');
    const pb::Descriptor* type = pb::DescriptorPool::generated_pool()->FindMessageTypeByName(
        slash == std::string::npos ? url : url.substr(slash + 1));
    const pb::Message* prototype =
        type == nullptr ? nullptr : pb::MessageFactory::generated_factory()->GetPrototype(type);
    const std::unique_ptr<pb::Message> value(prototype == nullptr ? nullptr : prototype->New());
    if (value != nullptr && value->ParseFromString(any.value())) {
        put_fields(out, *value, false);
    } else {
        out += ",\"value\":";
        put_base64(out, any.value());
    }
    out += '}';
}

void put_field_mask(std::string& out, const pb::FieldMask& mask) {
    std::string joined;
    for (const std::string& path : mask.paths()) {
        if (!joined.empty()) joined += ',';
        bool upper = false;
        for (const char c : path) {
            if (c == '_') {
                upper = true;
                continue;
            }
            joined += upper ? static_cast<char>(std::toupper(static_cast<unsigned char>(c))) : c;
            upper = false;
        }
    }
    put_string(out, joined);
}

void put_message(std::string& out, const pb::Message& message) {
    const pb::Descriptor& type = *message.GetDescriptor();
    if (type.file()->package() == "google.protobuf") {
        if (&type == pb::Timestamp::descriptor()) return put_timestamp(out, static_cast<const pb::Timestamp&>(message));
        if (&type == pb::Any::descriptor()) return put_any(out, static_cast<const pb::Any&>(message));
        if (&type == pb::FieldMask::descriptor())
            return put_field_mask(out, static_cast<const pb::FieldMask&>(message));
        // The wrappers: their one value, also when it is zero.
        if (type.name().ends_with("Value") && type.field_count() == 1)
            return put_value(out, message, *type.field(0), 0);
    }
    out += '{';
    put_fields(out, message, true);
    out += '}';
}

}  // namespace

std::string proto_json(const google::protobuf::Message& message) {
    std::string out;
    out.reserve(512);
    put_message(out, message);
    return out;
}

Status parse_proto_json(std::string_view text, UnknownFields unknown, google::protobuf::Message& message) {
    pb::util::JsonParseOptions options;
    options.ignore_unknown_fields = unknown == UnknownFields::kSkip;
    message.Clear();
    const auto status = pb::util::JsonStringToMessage(pb::StringPiece(text.data(), text.size()), &message, options);
    if (!status.ok()) return fail(Code::kInvalidArgument, std::string(status.message()));
    return {};
}

Result<std::vector<std::string>> split_json_objects(std::string_view text) {
    std::vector<std::string> objects;
    std::size_t begin = 0;
    int depth = 0;
    bool in_text = false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (in_text) {
            if (c == '\\')
                ++i;
            else if (c == '"')
                in_text = false;
            continue;
        }
        if (c == '"') in_text = true;
        if (c == '{' && depth++ == 0) begin = i;
        if (c == '}' && --depth == 0) objects.emplace_back(text.substr(begin, i + 1 - begin));
        const bool between = depth == 0 && c != '}' && c != ' ' && c != '\n' && c != '\t' && c != '\r' && c != ',';
        if (depth < 0 || between)
            return fail(Code::kInvalidArgument, "expected JSON objects, at offset " + std::to_string(i));
    }
    if (depth != 0 || in_text) return fail(Code::kInvalidArgument, "the last JSON object has no end");
    return objects;
}

}  // namespace axo
