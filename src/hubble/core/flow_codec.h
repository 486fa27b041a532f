// Flows as bytes, some thirty each: what flows share stands once in a dictionary, times and numbers as differences.
//
// A writer's dictionary grows; its new entries are written before the flows that need them. Thread: one (each object).
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "hubble/core/record.h"

namespace axo::hubble {

// By number; 0 is nothing.
struct FlowTables {
    std::vector<LabelsRef> labels{nullptr};
    std::vector<EndpointRef> endpoints{nullptr};
    std::vector<std::uint64_t> endpoint_labels{0};  // the number of each one's labels; a writer's only
    std::vector<ServiceRef> services{nullptr};
    std::vector<RuleRef> rules{nullptr};
    std::vector<std::shared_ptr<const std::string>> interfaces{nullptr};
    std::vector<IpAddress> addresses{IpAddress()};
    std::vector<NamesRef> names{nullptr};
};

class FlowEncoder {
public:
    // Appends the record.
    void add(const FlowRecord& record, std::string& out);
    // Records from now on can be read without those before; the dictionary stays.
    void begin_block();
    [[nodiscard]] std::size_t entries() const;
    [[nodiscard]] const FlowTables& tables() const { return tables_; }

private:
    template <class Ref>
    std::uint64_t number(std::vector<Ref>& table, const Ref& ref);
    std::uint64_t endpoint(const EndpointRef& end);
    std::uint64_t address(const IpAddress& address);

    FlowTables tables_;
    std::unordered_map<const void*, std::uint64_t> numbers_;
    std::unordered_map<IpAddress, std::uint64_t> addresses_;
    std::int64_t last_time_ = 0;
    std::uint64_t last_sequence_ = 0;
};

// How much of tables was written.
struct TablesMark {
    std::size_t labels = 1, endpoints = 1, services = 1, rules = 1, interfaces = 1, addresses = 1, names = 1;
    static TablesMark end_of(const FlowTables& tables);
};
// The entries from `from` up to `to`.
std::string encode_tables(const FlowTables& tables, const TablesMark& from, const TablesMark& to);
// Appends to tables. False: the bytes are broken; what could be read is there.
bool decode_tables(std::string_view bytes, FlowTables& tables);
bool decode_flows(std::string_view bytes, const FlowTables& tables, std::vector<FlowRecord>& out);

}  // namespace axo::hubble
