#include "datapath/pins.h"

#include <algorithm>
#include <filesystem>

#include "datapath/map_layout.h"

namespace axo {

std::vector<std::string> list_pins(const BpfPaths& paths) {
    std::vector<std::string> pins;
    std::error_code error;
    std::filesystem::recursive_directory_iterator state(paths.state(), error);
    if (!error) {
        for (const auto& entry : state) {
            if (!entry.is_directory(error)) pins.push_back(entry.path().string());
        }
    }
    for (const std::string& name : all_map_names()) {
        for (const std::string& path : {paths.map(name), aside_path(paths.map(name))}) {
            if (std::filesystem::exists(path, error)) pins.push_back(path);
        }
    }
    std::ranges::sort(pins);
    return pins;
}

}  // namespace axo
