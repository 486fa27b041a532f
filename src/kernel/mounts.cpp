#include "kernel/mounts.h"

#include <sstream>

#include "base/file.h"

namespace axo {
namespace {

// "\040" is a space.
std::string unescape(const std::string& text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '\\' && i + 3 < text.size()) {
            out += static_cast<char>(std::stoi(text.substr(i + 1, 3), nullptr, 8));
            i += 3;
        } else {
            out += text[i];
        }
    }
    return out;
}

}  // namespace

std::vector<Mount> mount_table() {
    std::vector<Mount> all;
    std::istringstream lines(read_file("/proc/self/mountinfo").value_or(""));
    for (std::string line; std::getline(lines, line);) {
        // "id parent major:minor root POINT options [fields…] - TYPE SOURCE superoptions"
        std::istringstream words(line);
        std::string skip, point, type, source;
        words >> skip >> skip >> skip >> skip >> point;
        while (words >> skip && skip != "-") {
        }
        words >> type >> source;
        all.push_back({unescape(point), type, source});
    }
    return all;
}

}  // namespace axo
