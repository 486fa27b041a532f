// cilium_ipcache_v2: prefix -> identity and tunnel endpoint.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "base/ip.h"
#include "base/types.h"
#include "bpf/api/ipcache.h"
#include "kernel/bpf_map.h"

namespace axo {

struct IpcacheEntry {
    IdentityId identity{};
    IpAddress tunnel_endpoint{};  // unset: none
    std::uint8_t encrypt_key = 0;
    bool skip_tunnel = false;
    friend bool operator==(const IpcacheEntry&, const IpcacheEntry&) = default;
};

class IpcacheMap {
public:
    static Result<IpcacheMap> open(const std::string& pin_path);
    // A map of the same layout that nobody else sees; for tests.
    static Result<IpcacheMap> create_private(std::uint32_t max_entries);
    Result<std::map<Prefix, IpcacheEntry>> list() const;
    Result<IpcacheEntry> get(const IpAddress& address) const;  // longest match
    Status put(const Prefix& prefix, const IpcacheEntry& entry) const;
    Status remove(const Prefix& prefix) const;
    // "identity=28723 encryptkey=0 tunnelendpoint=0.0.0.0 flags=<none>"
    static std::string print(const IpcacheEntry& entry);

    static ipcache_key encode_key(const Prefix& prefix);
    static Prefix decode_key(const ipcache_key& key);
    static remote_endpoint_info encode(const IpcacheEntry& entry);
    static IpcacheEntry decode(const remote_endpoint_info& value);

private:
    explicit IpcacheMap(BpfMap<ipcache_key, remote_endpoint_info> map) : map_(std::move(map)) {}
    BpfMap<ipcache_key, remote_endpoint_info> map_;
};

}  // namespace axo
