#include "features/service/listeners.h"

#include <netinet/in.h>

#include <charconv>
#include <fstream>
#include <sstream>

namespace axo::service {

std::set<std::pair<std::uint8_t, std::uint16_t>> host_listeners(const std::string& directory) {
    struct File {
        const char* name;
        std::uint8_t protocol;
        const char* state;  // TCP_LISTEN; for UDP "not connected"
    };
    std::set<std::pair<std::uint8_t, std::uint16_t>> ports;
    for (const File& file : {File{"tcp", IPPROTO_TCP, "0A"}, File{"tcp6", IPPROTO_TCP, "0A"},
                             File{"udp", IPPROTO_UDP, "07"}, File{"udp6", IPPROTO_UDP, "07"}}) {
        std::ifstream lines(directory + "/" + file.name);
        std::string line;
        std::getline(lines, line);  // titles
        while (std::getline(lines, line)) {
            // "0: 00000000:1F90 00000000:0000 0A …"
            std::istringstream words(line);
            std::string slot, local, remote, state;
            if (!(words >> slot >> local >> remote >> state) || state != file.state) continue;
            const std::size_t colon = local.rfind(':');
            std::uint16_t port = 0;
            if (colon == std::string::npos) continue;
            std::from_chars(local.data() + colon + 1, local.data() + local.size(), port, 16);
            if (port != 0) ports.emplace(file.protocol, port);
        }
    }
    return ports;
}

}  // namespace axo::service
