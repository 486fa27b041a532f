// What is mounted in this process's mount namespace (/proc/self/mountinfo, see proc(5)). Thread: any.
#pragma once

#include <string>
#include <vector>

namespace axo {

struct Mount {
    std::string point;
    std::string type;    // "cgroup2"
    std::string source;  // as whoever mounted it called it
};

// In the order in which they were mounted: of one point the last one is what is seen. Empty where there is no /proc.
std::vector<Mount> mount_table();

}  // namespace axo
