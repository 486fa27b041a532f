#include "features/service/module.h"

#include <malloc.h>

#include <algorithm>
#include <deque>

#include "base/elapsed.h"
#include "features/service/listeners.h"
#include "features/service/maglev.h"
#include "features/service/problems.h"
#include "features/service/sources.h"
#include "features/service/writer.h"
#include "maps/flow_map.h"

namespace axo::service {
namespace {

// So many Services are computed and written before the loop does something else.
constexpr std::size_t kServicesPerTurn = 500;
// Places of Maglev tables that are computed on the loop in one turn: 2 ms.
constexpr std::size_t kMaglevPlacesPerTurn = 65536;
constexpr std::size_t kFrontendsPerTrim = 2000;
// An EndpointSlice often arrives before its Service.
constexpr Duration kOrphanPatience = std::chrono::seconds(3);
constexpr Duration kAffinityInterval = std::chrono::seconds(30);
// Many NodePorts at once are looked at once.
constexpr Duration kListenerDelay = std::chrono::milliseconds(200);
constexpr Duration kListenerInterval = std::chrono::seconds(30);

struct MaglevTask {
    std::shared_ptr<const Selection> selection;
    std::vector<std::uint16_t> table;

    void compute(std::uint32_t size, std::uint32_t seed) {
        std::vector<std::pair<MaglevBackend, std::uint16_t>> named;
        const std::size_t count = std::min<std::size_t>(selection->usable, 65535);
        for (std::size_t i = 0; i < count; ++i) {
            const Backend& backend = selection->backends[i];
            named.push_back(
                {{maglev_name(backend.address.to_string(), false), backend.weight}, static_cast<std::uint16_t>(i)});
        }
        // Cilium orders backends by name, not by address.
        std::ranges::sort(named, {}, [](const auto& one) -> const std::string& { return one.first.name; });
        std::vector<MaglevBackend> backends;
        for (const auto& [backend, index] : named) backends.push_back(backend);
        table = maglev_table(backends, size, seed);
        for (std::uint16_t& place : table) place = named[place].second;
    }
};

}  // namespace

struct ServiceModule::Impl {
    Impl(EventLoop& event_loop, ControllerRegistry& registry, ObjectStore& store, ModuleSettings module_settings,
         LbMaps& lb_maps, LbTables& lb_tables, Generations& generations, Callbacks module_callbacks,
         FrontendTable& frontends)
        : loop(event_loop),
          settings(std::move(module_settings)),
          maps(lb_maps),
          tables(lb_tables),
          callbacks(std::move(module_callbacks)),
          table(frontends),
          problems(callbacks.rejected, callbacks.accepted),
          engine(settings.engine),
          writer(maps, tables, generations,
                 {.zones = settings.zones, .external_cluster_ip = settings.engine.external_cluster_ip},
                 callbacks.backend_gone),
          sources(store, settings.engine, settings.watch_nodes, engine,
                  {.changed = [this] { schedule(); },
                   .synced =
                       [this] {
                           synced = true;
                           schedule();
                       },
                   .verdicts = {.rejected =
                                    [this](const std::string& where, const Error& error) {
                                        problems.set(where, Problems::Source::kObject, error.message, error.code);
                                    },
                                .accepted =
                                    [this](const std::string& where) {
                                        problems.set(where, Problems::Source::kObject, "");
                                    }}}),
          retry(loop, registry, "sync-lb-maps-with-k8s-services", [this] { return retry_failed(); }),
          affinity(
              loop, registry, "lb-affinity-gc",
              [this]() -> Status {
                  if (!finished) return {};
                  TRY_ASSIGN(const std::size_t removed, maps.collect_affinity(FlowMaps::now_tick(), [this](auto group) {
                      return writer.affinity_timeout(group);
                  }));
                  if (removed != 0) log.debug("Forgot whom clients were given", {{"clients", removed}});
                  return {};
              },
              kAffinityInterval) {
        if (const auto seeds = parse_maglev_seed(settings.maglev_hash_seed)) murmur_seed = seeds->murmur;
        tables.set_retire_callback([this] { free_retired(); });
    }
    ~Impl() { tables.set_retire_callback({}); }

    void schedule() {
        if (!changed_since) changed_since = std::chrono::steady_clock::now();
        if (scheduled || !started) return;
        scheduled = true;
        loop.post([this, guard = std::weak_ptr<bool>(alive)] {
            if (guard.expired()) return;
            scheduled = false;
            apply(kServicesPerTurn);
            if (synced && engine.dirty()) schedule();
        });
    }

    // Frontends of a batch, the latest state of each; removals first, so that what they free can be used again.
    void apply(std::size_t limit) {
        if (!synced) return;
        const ReconcileCounters before = writer.counters();
        const ServiceEngine::Changes changes = engine.take_changes(limit);
        read_since_trim += changes.frontends.size();
        std::map<FrontendKey, const std::optional<FrontendRow>*> latest;
        for (const auto& [key, row] : changes.frontends) latest.insert_or_assign(key, &row);
        maglev_places = 0;
        bool node_ports = false;
        for (const auto& [key, row] : latest) {
            if (*row) continue;
            node_ports = node_ports || (key.is_surrogate() && !clashing.empty());
            remove(key);
        }
        for (const auto& [key, row] : latest) {
            if (!*row) continue;
            node_ports = node_ports || (key.is_surrogate() && table.find(key) == nullptr);
            put(key, **row);
        }
        for (const auto& [address, type] : changes.virtual_addresses) put_virtual_address(address, type);
        for (const auto& [where, text] : changes.problems) problems.set(where, Problems::Source::kClaim, text);
        for (const auto& [where, service] : changes.orphans) set_orphan(where, service);
        if (changes.health_ports && callbacks.health_ports) callbacks.health_ports(engine.health_ports());
        finish_batch();
        note_delay(before);
        if (node_ports && !std::exchange(looking_soon, true))
            listener_timer = loop.after(kListenerDelay, [this] { check_listeners(); });
    }

    void finish_batch() {
        if (!engine.dirty() && waiting.empty() && !computing) {
            if (!finished) {
                finished = true;
                writer.finish(host_ports_known);
                table.mark_initialized();
                const ReconcileCounters counters = writer.counters();
                log.info("Services are in force", {{"services", engine.services()},
                                                   {"frontends", table.size()},
                                                   {"backends", writer.backends().size()},
                                                   {"unchanged", counters.unchanged_at_start},
                                                   {"added", counters.added},
                                                   {"updated", counters.updated},
                                                   {"removed", counters.removed}});
            }
            writer.commit();
            // Reading so many objects took memory that nobody wants again soon.
            if (read_since_trim >= kFrontendsPerTrim) {
                read_since_trim = 0;
                ::malloc_trim(0);
            }
            if (when_synced) std::exchange(when_synced, {})();
        } else {
            writer.commit();
        }
        if (writer.backends().any_freed()) free_retired();
        start_computing();
    }

    // Of the oldest change that was outstanding, for each frontend of the batch. Starts are not delays.
    void note_delay(const ReconcileCounters& before) {
        const auto since = changed_since;
        if (!engine.dirty()) changed_since.reset();
        if (!finished || !since) return;
        const ReconcileCounters after = writer.counters();
        const double seconds = seconds_since(*since);
        const auto observe = [&](const char* action, std::uint64_t times) {
            if (times != 0) delay.observe({{"action", action}}, seconds, times);
        };
        observe("add", after.added - before.added);
        observe("update", after.updated - before.updated);
        observe("delete", after.removed - before.removed);
    }

    void remove(const FrontendKey& key) {
        waiting.erase(key);
        if (auto done = writer.remove(key); !done) {
            set_failure(key, "Frontend " + key.to_string(), done.error(), [this, key] { remove(key); });
            return;
        }
        clear_failure(key);
        table.erase(key);
        // There is room now for what did not fit.
        if (!failed.empty() && !retrying) retry.trigger();
    }

    void put_virtual_address(const IpAddress& address, std::optional<FrontendType> type) {
        const FrontendKey key{address, 0, 0, LB_SCOPE_EXTERNAL};
        if (auto done = writer.put_virtual_address(address, type); !done) {
            set_failure(key, "Address " + address.to_string(), done.error(),
                        [this, address, type] { put_virtual_address(address, type); });
            return;
        }
        clear_failure(key);
    }

    void put(const FrontendKey& key, const FrontendRow& row) {
        const std::vector<std::uint16_t>* maglev = nullptr;
        waiting.erase(key);
        if (writer.needs_maglev(row)) {
            maglev = maglev_of(row.selection);
            if (maglev == nullptr) {
                waiting.insert_or_assign(key, row);
                return;
            }
        }
        FrontendRow told = row;
        if (const auto number = writer.put(key, row, maglev)) {
            told.id = *number;
            clear_failure(key);
        } else {
            if (const FrontendRow* before = table.find(key)) told.id = before->id;
            set_failure(key, where_of(row), number.error(), [this, key, row] { put(key, row); });
        }
        table.upsert(key, std::move(told));
    }

    // Nothing: it is computed on another thread, and the row waits.
    const std::vector<std::uint16_t>* maglev_of(const std::shared_ptr<const Selection>& selection) {
        const auto known = maglev_tables.find(selection);
        if (known != maglev_tables.end()) return &known->second;
        if (maglev_places + settings.maglev_table_size > kMaglevPlacesPerTurn) {
            to_compute.insert(selection);
            return nullptr;
        }
        maglev_places += settings.maglev_table_size;
        MaglevTask task{selection, {}};
        task.compute(settings.maglev_table_size, murmur_seed);
        return &(inline_table = std::move(task.table));
    }

    void start_computing() {
        if (computing || to_compute.empty()) return;
        computing = true;
        auto tasks = std::make_shared<std::vector<MaglevTask>>();
        // Not all at once: 10,000 tables are 300 MiB.
        while (!to_compute.empty() && tasks->size() < 256) {
            auto selection = to_compute.extract(to_compute.begin());
            // Nobody waits for it any more.
            if (selection.value().use_count() > 1) tasks->push_back({std::move(selection.value()), {}});
        }
        loop.run_blocking(
            [tasks, size = settings.maglev_table_size, seed = murmur_seed]() -> Status {
                for (MaglevTask& task : *tasks) task.compute(size, seed);
                return {};
            },
            [this, guard = std::weak_ptr<bool>(alive), tasks](const Status&) {
                if (guard.expired()) return;
                computing = false;
                for (MaglevTask& task : *tasks) maglev_tables.emplace(task.selection, std::move(task.table));
                for (const auto& [key, row] : std::map(waiting)) {
                    if (maglev_tables.contains(row.selection)) put(key, FrontendRow(row));
                }
                maglev_tables.clear();
                finish_batch();
            });
    }

    void set_failure(const FrontendKey& key, const std::string& where, const Error& error,
                     std::function<void()> again) {
        failed.insert_or_assign(key, Failure{where, key.to_string() + ": " + error.message, std::move(again)});
        // Its own run tells that it failed, and comes again later.
        if (!retrying) retry.trigger();
        tell_failures(where, error.code);
    }
    void clear_failure(const FrontendKey& key) {
        if (const auto known = failed.extract(key)) tell_failures(known.mapped().where, Code::kResourceExhausted);
    }
    void tell_failures(const std::string& where, Code code) {
        std::string all;
        for (const auto& [key, failure] : failed) {
            if (failure.where == where) all += (all.empty() ? "" : "; ") + failure.text;
        }
        problems.set(where, Problems::Source::kMaps, all, code);
    }

    static std::string where_of(const FrontendRow& row) {
        return (row.type == FrontendType::kHostPort ? "Pod " : "Service ") + row.service->name.to_string();
    }

    Status retry_failed() {
        retrying = true;
        for (const auto& [key, failure] : std::map(failed)) failure.again();
        retrying = false;
        finish_batch();
        if (failed.empty()) return {};
        const Failure& first = failed.begin()->second;
        return fail(Code::kResourceExhausted,
                    first.where + ": " + first.text +
                        (failed.size() > 1 ? " (and " + std::to_string(failed.size() - 1) + " more)" : ""));
    }

    // service: the name that the object says; "": it has found it, or is gone.
    void set_orphan(const std::string& where, const std::string& service) {
        if (service.empty()) {
            orphans.erase(where);
            problems.set(where, Problems::Source::kClaim, "");
            return;
        }
        orphans[where] = service;
        if (orphan_timer) return;
        orphan_timer = loop.after(kOrphanPatience, [this] {
            orphan_timer = {};
            for (const auto& [one, name] : std::exchange(orphans, {})) {
                const std::string label =
                    "metadata.labels[" + std::string(EndpointSlice::kServiceNameLabel) + "]: \"" + name + "\": ";
                const std::string name_space = one.substr(one.find(' ') + 1, one.find('/') - one.find(' '));
                const bool refused = problems.has("Service " + name_space + name, Problems::Source::kObject);
                problems.set(one, Problems::Source::kClaim,
                             label + (refused ? "this Service is refused itself; accepted: a Service that can be used"
                                              : "there is no such Service; accepted: the name of a Service of its "
                                                "namespace"));
            }
        });
    }

    // Processes of the node that listen where a NodePort or host port is: they are not reached any more.
    void check_listeners() {
        looking_soon = false;
        std::map<std::string, std::string> clashes;
        const auto listeners = host_listeners();
        bool any = false;
        const auto look = [&](const FrontendKey& key, const FrontendRow& row) {
            any = true;
            if (key.scope != LB_SCOPE_EXTERNAL || !listeners.contains({key.protocol, key.port})) return;
            std::string& text = clashes[where_of(row)];
            const std::string clash = std::string(type_name(row.type)) + " " + std::to_string(key.port) + "/" +
                                      lb_protocol_name(key.protocol) +
                                      ": a process of this node listens on this port and is hidden by the Service";
            if (text.find(clash) == std::string::npos) text += (text.empty() ? "" : "; ") + clash;
        };
        // They come first of their family.
        for (const char* first : {"0.0.0.0", "::"}) {
            auto row = table.rows().lower_bound({IpAddress::parse(first).value(), 0, 0, 0});
            for (; row != table.rows().end() && row->first.is_surrogate(); ++row) look(row->first, row->second);
        }
        for (const std::string& where : std::exchange(clashing, {})) {
            if (!clashes.contains(where)) problems.set(where, Problems::Source::kHost, "");
        }
        for (const auto& [where, text] : clashes) {
            problems.set(where, Problems::Source::kHost, text, Code::kAlreadyExists);
            clashing.insert(where);
        }
        if (any) listener_timer = loop.after(kListenerInterval, [this] { check_listeners(); });
    }

    void free_retired() {
        if (freeing) {
            more_retired = true;  // the tables do not say so again
            return;
        }
        freeing = true;
        loop.post([this, guard = std::weak_ptr<bool>(alive)] {
            if (guard.expired()) return;
            more_retired = false;
            wait_and_free(std::make_shared<Batch>(Batch{tables.take_retired(), writer.backends().take_freed()}));
        });
    }

    struct Batch {
        LbTables::Retired tables;
        std::vector<std::uint32_t> backends;
    };
    void wait_and_free(std::shared_ptr<Batch> batch) {
        loop.run_blocking([batch] { return batch->tables.wait(); },
                          [this, guard = std::weak_ptr<bool>(alive), batch](const Status& waited) {
                              if (guard.expired()) return;
                              if (!waited) {
                                  log.warn("Memory of replaced backend tables cannot be reused yet", {waited.error()});
                                  freeing_again =
                                      loop.after(std::chrono::seconds(1), [this, batch] { wait_and_free(batch); });
                                  return;
                              }
                              tables.free(batch->tables);
                              writer.backends().reuse(batch->backends);
                              freeing = false;
                              if (more_retired) free_retired();
                              if (!failed.empty()) retry.trigger();
                          });
    }

    struct Failure {
        std::string where, text;
        std::function<void()> again;
    };

    EventLoop& loop;
    Logger log{"service"};
    ModuleSettings settings;
    LbMaps& maps;
    LbTables& tables;
    Callbacks callbacks;
    FrontendTable& table;
    Problems problems;
    ServiceEngine engine;
    LbWriter writer;
    ServiceSources sources;
    std::uint32_t murmur_seed = 0;
    std::map<FrontendKey, FrontendRow> waiting;  // for their Maglev tables
    std::set<std::shared_ptr<const Selection>> to_compute;
    std::map<std::shared_ptr<const Selection>, std::vector<std::uint16_t>> maglev_tables;
    std::vector<std::uint16_t> inline_table;
    std::size_t maglev_places = 0, read_since_trim = 0;
    std::map<FrontendKey, Failure> failed;
    std::map<std::string, std::string> orphans;
    std::set<std::string> clashing;
    EventLoop::Handle orphan_timer, listener_timer, freeing_again;
    MetricTimes delay{"service_implementation_delay",
                      "Duration in seconds from a change of a service or its backends to its being in the datapath"};
    std::optional<std::chrono::steady_clock::time_point> changed_since;  // the oldest of what is outstanding
    std::function<void()> when_synced;
    bool started = false, synced = false, finished = false, scheduled = false;
    bool host_ports_known = false;
    bool computing = false, freeing = false, more_retired = false, retrying = false;
    bool looking_soon = false;
    std::shared_ptr<bool> alive = std::make_shared<bool>(true);
    Controller retry, affinity;
};

ServiceModule::ServiceModule(EventLoop& loop, ControllerRegistry& registry, ObjectStore& store, ModuleSettings settings,
                             LbMaps& maps, LbTables& tables, Generations& generations, Callbacks callbacks)
    : loop_(loop),
      frontends_(loop, "frontends"),
      impl_(std::make_unique<Impl>(loop_, registry, store, std::move(settings), maps, tables, generations,
                                   std::move(callbacks), frontends_)) {}

ServiceModule::~ServiceModule() = default;

Status ServiceModule::start(std::function<void()> synced) {
    TRY(impl_->writer.adopt());
    impl_->when_synced = std::move(synced);
    impl_->started = true;
    impl_->sources.start();
    return {};
}

void ServiceModule::set_host_ports(const std::string& owner, std::vector<HostPort> ports) {
    const std::size_t slash = owner.find('/');
    ServiceName pod{owner.substr(0, slash == std::string::npos ? 0 : slash),
                    slash == std::string::npos ? owner : owner.substr(slash + 1)};
    impl_->engine.set_host_ports(pod, std::move(ports));
    impl_->schedule();
}

void ServiceModule::host_ports_complete() {
    if (std::exchange(impl_->host_ports_known, true)) return;
    // Before: with everything else.
    if (!impl_->finished) return;
    impl_->apply(SIZE_MAX);
    impl_->writer.finish(true);
    impl_->finish_batch();
}

void ServiceModule::set_node_addresses(std::set<IpAddress> addresses) {
    impl_->writer.set_node_addresses(addresses);
    impl_->engine.set_node_addresses(std::move(addresses));
    impl_->schedule();
}

void ServiceModule::set_node(ServiceNode node) {
    impl_->sources.set_node(std::move(node));
    impl_->schedule();
}

void ServiceModule::flush() {
    impl_->apply(SIZE_MAX);
}

std::uint32_t ServiceModule::backend_id(const LbAddress& address) const {
    return impl_->writer.backends().id(address);
}

std::vector<ServiceModule::Problem> ServiceModule::problems() const {
    std::vector<Problem> all;
    for (auto& [where, message] : impl_->problems.all()) all.push_back({where, message});
    return all;
}

void ServiceModule::add_metrics(MetricSet& set) const {
    impl_->delay.add_to(set);
}

ReconcileCounters ServiceModule::counters() const {
    return impl_->writer.counters();
}

ServiceModule::Usage ServiceModule::usage() const {
    return {.services = impl_->engine.services(),
            .frontends = frontends_.size(),
            .backends = impl_->writer.backends().size(),
            .tables = impl_->tables.usage()};
}

}  // namespace axo::service
