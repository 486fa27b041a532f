// A Service's name. Thread: any (a value).
#pragma once

#include <compare>
#include <string>

namespace axo {

struct ServiceName {
    std::string name_space;
    std::string name;

    [[nodiscard]] std::string to_string() const { return name_space + "/" + name; }
    friend auto operator<=>(const ServiceName&, const ServiceName&) = default;
};

}  // namespace axo
