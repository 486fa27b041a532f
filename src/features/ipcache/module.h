// The ipcache of this agent: collects claims from nodes and endpoints, and makes the BPF map equal to those that win,
// which `ip list` shows.
//
// A generation is bumped after every write, so flows that were decided by an old entry decide again.
// Thread: the loop's only.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "features/ipcache/desired.h"
#include "maps/generations.h"
#include "maps/ipcache_map.h"
#include "runtime/reconciler.h"

namespace axo {

class Ipcache {
public:
    using Entries = Reconciler<Prefix, IpcacheEntry>;

    Ipcache(EventLoop& loop, ControllerRegistry& registry, IpcacheSettings settings, Entries::Operations operations);
    // The map's side of the reconciler, with the bumps. Both must outlive it.
    static Entries::Operations operations(const IpcacheMap& map, Generations& generations);

    [[nodiscard]] const IpcacheSettings& settings() const { return settings_; }
    void claim(const std::string& claimant, IpcacheRows rows);
    // Who is told of each change of what wins: nullptr: nothing does any more.
    using Changed = std::function<void(const Prefix&, const IpcacheRow* now)>;
    void set_changed(Changed changed) { changed_ = std::move(changed); }
    void withdraw(const std::string& claimant) { claim(claimant, {}); }
    // All sources have spoken: entries that nobody claims may go.
    void set_complete() { entries_.set_complete(); }
    Status flush() { return entries_.flush(); }

    // Every prefix and who is behind it.
    [[nodiscard]] const IpcacheClaims& claims() const { return claims_; }
    [[nodiscard]] const Entries& entries() const { return entries_; }
    // Longest match; nullptr when nothing covers it.
    [[nodiscard]] const IpcacheRow* lookup(const IpAddress& address) const;

private:
    IpcacheSettings settings_;
    IpcacheClaims claims_;
    Entries entries_;
    Changed changed_;
};

}  // namespace axo
