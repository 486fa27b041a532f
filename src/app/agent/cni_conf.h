// The CNI configuration list: written when the agent is ready, kept as it should be, other plugins' set aside.
// Thread: the loop's only.
#pragma once

#include <filesystem>
#include <string>

#include "base/fd.h"
#include "base/log.h"
#include "base/result.h"
#include "runtime/controller.h"
#include "runtime/event_loop.h"

namespace axo {

struct CniConfSettings {
    std::filesystem::path file;  // ".../05-cilium.conflist"
    bool exclusive = true;
    bool debug = false;
    std::string log_file;
    std::filesystem::path custom;  // read-cni-conf: used as it is instead of the generated one
};

// The generated content.
std::string cni_conflist(bool debug, const std::string& log_file);

class CniConf {
public:
    CniConf(EventLoop& loop, ControllerRegistry& registry, CniConfSettings settings);
    // What `status` says: "successfully wrote CNI configuration file to …", or why not.
    [[nodiscard]] const std::string& message() const { return message_; }
    [[nodiscard]] bool ok() const { return ok_; }

private:
    Status reconcile();
    Status set_others_aside();
    void watch_directory();

    EventLoop& loop_;
    CniConfSettings settings_;
    Logger log_{"cni-config"};
    std::string message_;
    bool ok_ = false;
    Fd inotify_;
    EventLoop::Handle readable_;
    Controller controller_;
};

}  // namespace axo
