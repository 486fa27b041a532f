// What Go's encoding/gob reads, as far as a stream of values of one flat struct goes: the type's definition first, then
// one message for each value. A stream has one type, and so it has always the same number: values of it are the same
// bytes in every stream. Pure. Thread: any.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace axo::gob {

// Numbers that gob's basic types have.
enum class Kind : std::uint8_t { kInt = 2, kUint = 3, kBytes = 5, kString = 6 };

struct Field {
    std::string_view name;
    Kind kind;
};

// The first message of a stream.
std::string definition(std::string_view type_name, std::span<const Field> fields);

// The message of one value: its fields, in their order. What is zero or empty is left out, as Go does.
class Value {
public:
    Value& add_int(std::int64_t value);
    Value& add_uint(std::uint64_t value);
    // Of kBytes and of kString.
    Value& add_bytes(std::string_view value);
    [[nodiscard]] std::string message() const;

private:
    void begin_field();

    std::string body_;
    unsigned field_ = 0, written_ = 0;  // numbered from 1 on
};

}  // namespace axo::gob
