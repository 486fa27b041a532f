// The endpoint manager: the life cycle of this node's endpoints.
//
//   PUT      waiting-for-identity -> regenerating (maps, programs) -> ready      answered when the datapath is ready
//   restart  restoring -> ready
//   DELETE   disconnecting -> gone
//
// Owns the endpoints table, the reconcilers of cilium_lxc and cilium_lxc_dev, and the state files.
// Thread: the loop's only.
#pragma once

#include <deque>
#include <filesystem>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/log.h"
#include "features/endpoint/port.h"
#include "features/endpoint/state_file.h"
#include "features/endpoint/state_writer.h"
#include "kernel/netlink.h"
#include "runtime/table.h"

namespace axo {

struct EndpointLogEntry {
    std::chrono::system_clock::time_point time;
    bool ok = true;
    std::string message;
    EndpointState state = EndpointState::kReady;
};

struct EndpointSettings {
    std::filesystem::path state_dir;  // ".../state"
    Duration identity_grace = std::chrono::seconds(5);
};

class EndpointManager {
public:
    using Addresses = Reconciler<IpAddress, LocalEndpoint>;
    using Devices = Reconciler<IfIndex, DeviceEndpoint>;
    using Done = std::function<void(Result<EndpointRow>)>;

    EndpointManager(EventLoop& loop, ControllerRegistry& registry, EndpointSettings settings,
                    EndpointDatapath& datapath, EndpointServices services);

    // Takes up what an earlier agent left. links: of this namespace, to see which endpoints' devices are still there.
    void restore(const std::vector<Link>& links);
    // Every endpoint is known: what else is in the maps and pins may go.
    void set_complete();

    // Makes an endpoint of what the request said; done gets it when the datapath carries its traffic. A pod or an
    // identity that is not known yet is waited for; other endpoints go on. kAlreadyExists, kInvalidArgument,
    // kResourceExhausted, kInternal. id 0: allocated.
    void create(EndpointRow draft, Done done);
    // What is not there is kNotFound.
    Status remove(EndpointId id);
    // Returns how many there were.
    std::size_t remove_container(const std::string& container_id);
    // PolicyAuditMode of one endpoint; survives restarts.
    Status set_policy_audit(EndpointId id, bool audit);
    // Applies maps and programs again.
    Status regenerate(EndpointId id);
    // The Pod or Namespace object behind endpoints has changed, appeared or gone.
    void pod_changed(const ObjectKey& pod);
    // Addresses of the node itself.
    void set_host_addresses(const std::set<IpAddress>& addresses);

    [[nodiscard]] const Table<EndpointId, EndpointRow>& table() const { return table_; }
    Table<EndpointId, EndpointRow>& table() { return table_; }
    [[nodiscard]] const EndpointRow* find(EndpointId id) const { return table_.find(id); }
    [[nodiscard]] const EndpointRow* find_kind(EndpointKind kind) const;
    [[nodiscard]] const EndpointRow* find_address(const IpAddress& address) const;
    // "12", "cilium-local:12", "cni-attachment-id:…", "container-id:…", "cep-name:ns/name", "pod-name:ns:name",
    // "ipv4:…". kInvalidArgument for a form that does not exist, kNotFound.
    Result<EndpointId> resolve(const std::string& reference) const;
    [[nodiscard]] std::vector<EndpointLogEntry> log(EndpointId id) const;

    [[nodiscard]] const Addresses& addresses() const { return addresses_; }
    [[nodiscard]] const Devices& devices() const { return devices_; }
    [[nodiscard]] const std::map<std::string, std::string>& rejected_state() const { return rejected_state_; }
    [[nodiscard]] std::map<std::string, Error> state_errors() const { return writer_.errors(); }
    void flush_state() { writer_.write_pending_now(); }

private:
    Result<EndpointId> allocate_id();
    Status check_conflicts(const EndpointRow& draft) const;
    // A creation, and whether it goes on: the endpoint may be deleted while the store is asked.
    struct Creation {
        EndpointId id;
        std::uint64_t number;
    };
    [[nodiscard]] bool goes_on(const Creation& creation) const;
    Task<Result<EndpointRow>> make(EndpointRow endpoint);
    Task<EndpointRow> with_identity(EndpointRow endpoint);
    Status put_into_force(EndpointRow& endpoint);
    Status apply(EndpointRow& endpoint);
    void withdraw(const EndpointRow& endpoint);
    void change(EndpointRow row, std::string message, bool ok = true);
    Task<Status> change_labels(EndpointId id);
    void labels_settled(EndpointId id);
    void take_identity(const EndpointRow& row, const PodLabels::Info& info, IdentityId allocated);
    void forget(EndpointId id);
    void persist(const EndpointRow& endpoint, EndpointStateWriter::Done done = {});
    void put_desired(const EndpointRow& endpoint);
    Status flush_maps();
    Task<Status> retry_pending();

    EventLoop& loop_;
    Logger log_{"endpoint"};
    EndpointSettings settings_;
    EndpointDatapath& datapath_;
    EndpointServices services_;
    Table<EndpointId, EndpointRow> table_;
    Addresses addresses_;
    Devices devices_;
    EndpointStateWriter writer_;
    std::map<EndpointId, std::deque<EndpointLogEntry>> logs_;
    std::map<EndpointId, EventLoop::Handle> grace_;  // identity changes that wait
    std::set<EndpointId> unresolved_;                // identity could not be allocated yet
    std::set<EndpointId> unattached_;                // maps or programs failed
    std::set<EndpointId> reserved_ids_;              // of state files that could not be read
    std::set<IpAddress> host_addresses_;
    std::map<std::string, std::string> rejected_state_;
    std::uint16_t next_id_;
    std::map<EndpointId, std::uint64_t> creations_;  // of endpoints that exist: which creation made them
    std::uint64_t last_creation_ = 0;
    Controller retry_;
    TaskGroup tasks_;
};

}  // namespace axo
