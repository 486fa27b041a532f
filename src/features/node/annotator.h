// Writes annotations to this node's Node object (annotate-k8s-node), and again when somebody changes them.
// Annotations of others stay. Thread: the loop's only.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "io/object_store.h"
#include "runtime/controller.h"

namespace axo {

class NodeAnnotator {
public:
    using Annotations = std::map<std::string, std::string>;

    NodeAnnotator(EventLoop& loop, ControllerRegistry& registry, ObjectStore& store, std::string node);

    void set_wanted(Annotations wanted);
    // As the store has it; nullopt: there is no Node.
    void seen(std::optional<Annotations> present);

private:
    [[nodiscard]] bool satisfied(const Annotations& present) const;
    Task<Status> sync();

    ObjectStore& store_;
    std::string node_;
    Annotations wanted_;
    std::optional<Annotations> present_;
    Controller controller_;
};

}  // namespace axo
