#include "features/ipcache/module.h"

namespace axo {

Ipcache::Ipcache(EventLoop& loop, ControllerRegistry& registry, IpcacheSettings settings,
                 Entries::Operations operations)
    : settings_(settings), entries_(loop, registry, "ipcache", std::move(operations)) {
    claim("world", world_rows(settings_));
}

Ipcache::Entries::Operations Ipcache::operations(const IpcacheMap& map, Generations& generations) {
    auto written = std::make_shared<std::vector<Prefix>>();
    return {
        .list = [&map] { return map.list(); },
        .put = [&map, written](const Prefix& prefix, const IpcacheEntry& entry) -> Status {
            TRY(map.put(prefix, entry));
            written->push_back(prefix);
            return {};
        },
        .remove = [&map, written](const Prefix& prefix) -> Status {
            TRY(map.remove(prefix));
            written->push_back(prefix);
            return {};
        },
        .describe = [](const Prefix& prefix) { return prefix.to_string(); },
        .committed =
            [&generations, written] {
                // One bump of the node covers any number of shorter prefixes.
                bool node = false;
                for (const Prefix& prefix : *written) {
                    if (prefix.is_host()) {
                        generations.bump_prefix(prefix);
                    } else {
                        node = true;
                    }
                }
                if (node) generations.bump_node();
                written->clear();
            },
    };
}

void Ipcache::claim(const std::string& claimant, IpcacheRows rows) {
    for (const Prefix& prefix : claims_.replace(claimant, std::move(rows))) {
        const auto known = entries_.desired().find(prefix);
        const bool wanted = known != entries_.desired().end();
        if (const IpcacheRow* winner = claims_.winner(prefix)) {
            const IpcacheEntry entry = to_entry(*winner);
            if (!wanted || !(known->second == entry)) entries_.put_desired(prefix, entry);
        } else if (wanted) {
            entries_.remove_desired(prefix);
        }
        if (changed_) changed_(prefix, claims_.winner(prefix));
    }
}

const IpcacheRow* Ipcache::lookup(const IpAddress& address) const {
    for (int length = address.bits(); length >= 0; --length) {
        if (const IpcacheRow* row = claims_.winner(Prefix(address, length))) return row;
    }
    return nullptr;
}

}  // namespace axo
