#include "features/monitor/gob.h"

#include <bit>

namespace axo::gob {

namespace {

constexpr std::int64_t kTypeId = 65;  // the first that gob gives to a program's own type
// Fields of the struct that describes a type (Go's wireType): its third is the description of a struct.
constexpr std::uint64_t kStructDescription = 3;

// Up to 127 as it is; above, how many bytes follow (negated), and these from the highest on.
void put_uint(std::string& out, std::uint64_t value) {
    if (value < 128) {
        out += static_cast<char>(value);
        return;
    }
    const int count = (std::bit_width(value) + 7) / 8;
    out += static_cast<char>(-count);
    for (int i = count - 1; i >= 0; --i) out += static_cast<char>(value >> (8 * i));
}

// The sign is the lowest bit; negative numbers are complemented.
void put_int(std::string& out, std::int64_t value) {
    const auto bits = static_cast<std::uint64_t>(value);
    put_uint(out, value < 0 ? (~bits << 1) | 1 : bits << 1);
}

void put_bytes(std::string& out, std::string_view value) {
    put_uint(out, value.size());
    out += value;
}

std::string with_length(const std::string& body) {
    std::string message;
    put_uint(message, body.size());
    return message + body;
}

// A struct of name and number, which describes a field, and what all descriptions of types begin with.
void put_name_and_id(std::string& out, std::string_view name, std::int64_t id) {
    put_uint(out, 1);
    put_bytes(out, name);
    put_uint(out, 1);
    put_int(out, id);
    put_uint(out, 0);
}

}  // namespace

std::string definition(std::string_view type_name, std::span<const Field> fields) {
    std::string body;
    put_int(body, -kTypeId);  // negative: what follows defines it
    put_uint(body, kStructDescription);
    put_uint(body, 1);
    put_name_and_id(body, type_name, kTypeId);
    put_uint(body, 1);
    put_uint(body, fields.size());
    for (const Field& field : fields) put_name_and_id(body, field.name, static_cast<std::int64_t>(field.kind));
    put_uint(body, 0);  // the end of the struct's description
    put_uint(body, 0);  // and of the type's
    return with_length(body);
}

void Value::begin_field() {
    put_uint(body_, field_ - written_);
    written_ = field_;
}

Value& Value::add_int(std::int64_t value) {
    ++field_;
    if (value == 0) return *this;
    begin_field();
    put_int(body_, value);
    return *this;
}

Value& Value::add_uint(std::uint64_t value) {
    ++field_;
    if (value == 0) return *this;
    begin_field();
    put_uint(body_, value);
    return *this;
}

Value& Value::add_bytes(std::string_view value) {
    ++field_;
    if (value.empty()) return *this;
    begin_field();
    put_bytes(body_, value);
    return *this;
}

std::string Value::message() const {
    std::string body;
    put_int(body, kTypeId);
    body += body_;
    put_uint(body, 0);
    return with_length(body);
}

}  // namespace axo::gob
