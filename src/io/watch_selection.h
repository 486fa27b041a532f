// WatchOptions for a store that has to select by itself. Thread: any (values).
#pragma once

#include "io/object_store.h"

namespace axo {

// Whether an object is one of those. A field that it lacks does not exclude it.
bool selects(const WatchOptions& options, const nlohmann::json& object);

// handler, told only of objects that the options select: one that is selected no more is deleted for it.
ObjectStore::WatchHandler selected(ObjectStore::WatchHandler handler, WatchOptions options);

}  // namespace axo
