// ObjectStore over the API server of a Kubernetes cluster.
//
// Watches of the same kind and options share one stream (reflector.h). Single objects are read from the server, not
// from a cache: no bodies are kept. What is written is the whole object as it was read, so fields that nobody here
// knows stay. While the server cannot be reached operations fail with kUnavailable, and watches go on where they were
// once it is back. Thread: the loop's only.
#pragma once

#include <memory>

#include "io/kubernetes/access.h"
#include "io/kubernetes/client.h"
#include "io/kubernetes/reflector.h"
#include "io/object_store.h"

namespace axo::kubernetes {

// What "kubernetes:" or "kubernetes:/path/of/kubeconfig" stands for, with this process's environment.
Result<Access> find_access(std::string_view address, const KubernetesFlags& flags);

std::unique_ptr<ObjectStore> make_store(EventLoop& loop, Access access, ClientSettings client,
                                        ReflectorSettings reflector = {});

}  // namespace axo::kubernetes
