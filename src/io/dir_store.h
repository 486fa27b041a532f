// ObjectStore over a directory of manifests: the embedded store, for one machine or for hosts that sync the
// directory by their own means.
//
//   DIR/PLURAL[.GROUP]/[NAMESPACE/]NAME.yaml   files this store writes, one object each
//   any other *.yaml, *.yml, *.json            read as well; YAML files may hold several documents
//
// Several processes may read and write at once: every change is seen by the others within milliseconds (inotify),
// an update is a compare-and-swap on the content. metadata.resourceVersion is derived from the content and not
// stored, so objects edited by hand have one too. An object that is updated stays in its file, other documents of
// that file keep their text. One damaged file costs only what it defines, and of that the previous version stays
// in force (kept in memory). After a power loss a file is the old one or the new one; those of kinds that are
// rewritten all the time and can be made again (CiliumEndpoint, CiliumIdentity, Event, Lease) may also be empty,
// which is detected and repaired by the next create.
#pragma once

#include <memory>
#include <string>

#include "io/object_store.h"

namespace axo {

// kNotFound when the directory does not exist.
Result<std::unique_ptr<ObjectStore>> open_dir_store(const std::string& directory, EventLoop& loop);

}  // namespace axo
