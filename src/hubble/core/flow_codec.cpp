#include "hubble/core/flow_codec.h"

#include <cstring>

#include "bpf/api/policy.h"

namespace axo::hubble {

namespace {

// Seven bits a byte, the lowest first.
void put(std::string& out, std::uint64_t value) {
    while (value >= 0x80) {
        out += static_cast<char>(value | 0x80);
        value >>= 7;
    }
    out += static_cast<char>(value);
}

// Small differences of either sign are short.
void put_signed(std::string& out, std::int64_t value) {
    put(out, (static_cast<std::uint64_t>(value) << 1) ^ static_cast<std::uint64_t>(value >> 63));
}

void put(std::string& out, std::string_view text) {
    put(out, text.size());
    out += text;
}

class Reader {
public:
    explicit Reader(std::string_view bytes) : bytes_(bytes) {}
    [[nodiscard]] bool ok() const { return ok_; }
    [[nodiscard]] bool at_end() const { return at_ >= bytes_.size() || !ok_; }

    std::uint64_t number() {
        std::uint64_t value = 0;
        for (unsigned shift = 0; shift < 64 && at_ < bytes_.size(); shift += 7) {
            const auto byte = static_cast<unsigned char>(bytes_[at_++]);
            value |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
            if ((byte & 0x80) == 0) return value;
        }
        ok_ = false;
        return 0;
    }
    std::int64_t signed_number() {
        const std::uint64_t value = number();
        return static_cast<std::int64_t>(value >> 1) ^ -static_cast<std::int64_t>(value & 1);
    }
    std::string_view raw(std::size_t length) {
        if (bytes_.size() - at_ < length) {
            ok_ = false;
            return {};
        }
        at_ += length;
        return bytes_.substr(at_ - length, length);
    }
    std::string text() { return std::string(raw(number())); }
    std::uint8_t byte() {
        const std::string_view one = raw(1);
        return one.empty() ? std::uint8_t{0} : static_cast<std::uint8_t>(one[0]);
    }
    // A count of things that take at least a byte each.
    std::size_t count() {
        const std::uint64_t value = number();
        if (value > bytes_.size() - at_) ok_ = false;
        return ok_ ? value : 0;
    }

private:
    std::string_view bytes_;
    std::size_t at_ = 0;
    bool ok_ = true;
};

template <class Ref>
Ref entry(const std::vector<Ref>& table, std::uint64_t number) {
    return number < table.size() ? table[number] : Ref{};
}

void put_address(std::string& out, const IpAddress& address) {
    put(out, {reinterpret_cast<const char*>(address.bytes().data()), address.bytes().size()});
}

IpAddress address_of(std::string_view bytes) {
    if (bytes.size() == 16) return IpAddress::v6(bytes.data());
    std::uint32_t four = 0;
    if (bytes.size() != sizeof(four)) return {};
    std::memcpy(&four, bytes.data(), sizeof(four));
    return IpAddress::v4(four);
}

void put_rule(std::string& out, const RuleSlot& slot) {
    put(out, slot.cookie());
    const auto info = slot.info();
    put(out, info ? 1U : 0U);
    if (!info) return;
    put(out, (info->egress ? 1U : 0U) | (info->deny ? 2U : 0U));
    put(out, info->match_type);
    put(out, info->revision);
    put(out, info->text);
    put(out, info->policies.size());
    for (const PolicyName& policy : info->policies) {
        put(out, policy.kind);
        put(out, policy.name_space);
        put(out, policy.name);
        put(out, policy.labels.size());
        for (const std::string& label : policy.labels) put(out, label);
    }
}

RuleRef read_rule(Reader& reader) {
    auto slot = std::make_shared<RuleSlot>(static_cast<std::uint32_t>(reader.number()));
    if (reader.number() == 0) return slot;
    auto info = std::make_shared<RuleInfo>();
    const std::uint64_t flags = reader.number();
    info->egress = (flags & 1) != 0;
    info->deny = (flags & 2) != 0;
    info->match_type = static_cast<std::uint8_t>(reader.number());
    info->revision = reader.number();
    info->text = reader.text();
    for (std::size_t left = reader.count(); left != 0 && reader.ok(); --left) {
        PolicyName policy{reader.text(), reader.text(), reader.text(), {}};
        for (std::size_t labels = reader.count(); labels != 0 && reader.ok(); --labels)
            policy.labels.push_back(reader.text());
        info->policies.push_back(std::move(policy));
    }
    slot->fill(std::move(info));
    return slot;
}

void put_endpoint(std::string& out, const EndpointInfo& info, std::uint64_t labels) {
    put(out, info.id);
    put(out, info.identity);
    put(out, labels);
    put(out, info.cluster);
    put(out, info.name_space);
    put(out, info.pod);
    put(out, info.workloads.size());
    for (const Workload& workload : info.workloads) {
        put(out, workload.name);
        put(out, workload.kind);
    }
}

EndpointRef read_endpoint(Reader& reader, const FlowTables& tables) {
    auto info = std::make_shared<EndpointInfo>();
    info->id = static_cast<std::uint32_t>(reader.number());
    info->identity = static_cast<std::uint32_t>(reader.number());
    info->labels = entry(tables.labels, reader.number());
    if (!info->labels) info->labels = std::make_shared<const LabelList>();
    info->cluster = reader.text();
    info->name_space = reader.text();
    info->pod = reader.text();
    for (std::size_t left = reader.count(); left != 0 && reader.ok(); --left)
        info->workloads.push_back({reader.text(), reader.text()});
    return info;
}

// What a record is; nothing: a flow as most are.
enum Kind : std::uint8_t { kFlow = 0, kLost = 1, kNamed = 2, kDns = 4 };

constexpr std::uint8_t kDnsResponse = 1;

void put_dns(std::string& out, const FlowRecord& record) {
    const DnsMessage& dns = *record.dns;
    out += static_cast<char>(dns.response ? kDnsResponse : 0);
    put(out, dns.id);
    put(out, dns.query);
    put(out, dns.qtype);
    if (!dns.response) return;
    put(out, record.latency_ns);
    put(out, dns.rcode);
    put(out, dns.ttl);
    put(out, dns.ips.size());
    for (const IpAddress& ip : dns.ips) put_address(out, ip);
    put(out, dns.cnames.size());
    for (const std::string& name : dns.cnames) put(out, name);
    put(out, dns.rrtypes.size());
    for (const std::uint16_t type : dns.rrtypes) put(out, type);
}

void read_dns(Reader& reader, FlowRecord& record) {
    auto dns = std::make_shared<DnsMessage>();
    dns->response = (reader.byte() & kDnsResponse) != 0;
    dns->id = static_cast<std::uint16_t>(reader.number());
    dns->query = reader.text();
    dns->qtype = static_cast<std::uint16_t>(reader.number());
    if (dns->response) {
        record.latency_ns = reader.number();
        dns->rcode = static_cast<std::uint8_t>(reader.number());
        dns->ttl = static_cast<std::uint32_t>(reader.number());
        for (std::size_t left = reader.count(); left != 0 && reader.ok(); --left)
            dns->ips.push_back(address_of(reader.raw(reader.number())));
        for (std::size_t left = reader.count(); left != 0 && reader.ok(); --left) dns->cnames.push_back(reader.text());
        for (std::size_t left = reader.count(); left != 0 && reader.ok(); --left)
            dns->rrtypes.push_back(static_cast<std::uint16_t>(reader.number()));
    }
    record.dns = std::move(dns);
}

FlowRecord read_flow(Reader& reader, const FlowTables& tables, std::uint8_t kind) {
    FlowRecord record;
    flow_event& event = record.event;
    event.type = reader.byte();
    event.subtype = reader.byte();
    event.flags = reader.byte();
    const std::uint8_t bits = reader.byte();
    event.reason = bits & 7;
    record.direction = static_cast<Direction>((bits >> 3) & 3);
    record.reply = static_cast<Reply>((bits >> 5) & 3);
    record.verdict = static_cast<Verdict>(reader.byte());
    event.proto = reader.byte();
    event.ethertype = (bits & 0x80) != 0 ? static_cast<std::uint16_t>(reader.number())
                                         : ((event.flags & EVENT_F_IPV6) != 0 ? 0x86DD : 0x0800);
    record.source = entry(tables.endpoints, reader.number());
    record.destination = entry(tables.endpoints, reader.number());
    const auto address = [&](axo_addr& into) {
        const IpAddress ip = entry(tables.addresses, reader.number());
        if (ip) std::memcpy(&into, ip.bytes().data(), ip.bytes().size());
    };
    address(event.saddr);
    address(event.daddr);
    if (event.proto == 6 || event.proto == 17 || event.proto == 132) {
        const std::string_view ports = reader.raw(4);
        if (ports.size() == 4) {
            std::memcpy(&event.sport, ports.data(), 2);
            std::memcpy(&event.dport, ports.data() + 2, 2);
        }
        if (event.proto == 6) event.tcp_flags = reader.byte();
    } else if (event.proto == 1 || event.proto == 58) {
        event.icmp_type = reader.byte();
        event.icmp_code = reader.byte();
    }
    event.ifindex = static_cast<std::uint32_t>(reader.number());
    record.interface = entry(tables.interfaces, reader.number());
    record.source_service = entry(tables.services, reader.number());
    record.destination_service = entry(tables.services, reader.number());
    record.rule = entry(tables.rules, reader.number());
    event.rule_cookie = record.rule ? record.rule->cookie() : POLICY_COOKIE_NONE;
    event.length = static_cast<std::uint32_t>(reader.number());
    if (event.type == EVENT_DROP) {
        event.file = reader.byte();
        event.line = static_cast<std::uint16_t>(reader.number());
        event.ext_error = static_cast<std::int8_t>(reader.byte());
    } else {
        event.packets = reader.number();
        event.bytes = reader.number();
    }
    if ((kind & kNamed) != 0) {
        record.source_names = entry(tables.names, reader.number());
        record.destination_names = entry(tables.names, reader.number());
    }
    if ((kind & kDns) != 0) read_dns(reader, record);
    event.identity_src = record.source ? record.source->identity : 0;
    event.identity_dst = record.destination ? record.destination->identity : 0;
    return record;
}

}  // namespace

template <class Ref>
std::uint64_t FlowEncoder::number(std::vector<Ref>& table, const Ref& ref) {
    if (!ref) return 0;
    const auto [known, fresh] = numbers_.try_emplace(ref.get(), table.size());
    if (fresh) table.push_back(ref);
    return known->second;
}

std::uint64_t FlowEncoder::endpoint(const EndpointRef& end) {
    if (!end) return 0;
    const std::uint64_t labels = number(tables_.labels, end->labels);
    const std::uint64_t known = number(tables_.endpoints, end);
    if (known == tables_.endpoint_labels.size()) tables_.endpoint_labels.push_back(labels);
    return known;
}

std::uint64_t FlowEncoder::address(const IpAddress& address) {
    if (!address) return 0;
    const auto [known, fresh] = addresses_.try_emplace(address, tables_.addresses.size());
    if (fresh) tables_.addresses.push_back(address);
    return known->second;
}

void FlowEncoder::begin_block() {
    last_time_ = 0;
    last_sequence_ = 0;
}

std::size_t FlowEncoder::entries() const {
    return numbers_.size() + addresses_.size();
}

void FlowEncoder::add(const FlowRecord& record, std::string& out) {
    const flow_event& event = record.event;
    const bool named = record.source_names || record.destination_names;
    out += static_cast<char>(record.is_lost() ? kLost : (named ? kNamed : 0) | (record.dns ? kDns : 0));
    put_signed(out, record.time_ns - last_time_);
    last_time_ = record.time_ns;
    if (record.is_lost()) {
        put(out, record.lost);
        out += static_cast<char>(record.lost_source);
        return;
    }
    put_signed(out, static_cast<std::int64_t>(record.sequence - last_sequence_));
    last_sequence_ = record.sequence;
    const bool ip = event.ethertype == (record.is_v6() ? 0x86DD : 0x0800);
    out += {static_cast<char>(event.type),
            static_cast<char>(event.subtype),
            static_cast<char>(event.flags),
            static_cast<char>((event.reason & 7) | (static_cast<int>(record.direction) << 3) |
                              (static_cast<int>(record.reply) << 5) | (ip ? 0 : 0x80)),
            static_cast<char>(record.verdict),
            static_cast<char>(event.proto)};
    if (!ip) put(out, event.ethertype);
    for (const EndpointRef& end : {record.source, record.destination}) {
        put(out, endpoint(end));
    }
    put(out, address(record.source_ip()));
    put(out, address(record.destination_ip()));
    if (event.proto == 6 || event.proto == 17 || event.proto == 132) {
        out.append(reinterpret_cast<const char*>(&event.sport), 2);
        out.append(reinterpret_cast<const char*>(&event.dport), 2);
        if (event.proto == 6) out += static_cast<char>(event.tcp_flags);
    } else if (event.proto == 1 || event.proto == 58) {
        out += {static_cast<char>(event.icmp_type), static_cast<char>(event.icmp_code)};
    }
    put(out, event.ifindex);
    put(out, number(tables_.interfaces, record.interface));
    put(out, number(tables_.services, record.source_service));
    put(out, number(tables_.services, record.destination_service));
    put(out, number(tables_.rules, record.rule));
    put(out, event.length);
    if (event.type == EVENT_DROP) {
        out += static_cast<char>(event.file);
        put(out, event.line);
        out += static_cast<char>(event.ext_error);
    } else {
        put(out, event.packets);
        put(out, event.bytes);
    }
    if (named) {
        put(out, number(tables_.names, record.source_names));
        put(out, number(tables_.names, record.destination_names));
    }
    if (record.dns) put_dns(out, record);
}

TablesMark TablesMark::end_of(const FlowTables& tables) {
    return {tables.labels.size(),     tables.endpoints.size(), tables.services.size(), tables.rules.size(),
            tables.interfaces.size(), tables.addresses.size(), tables.names.size()};
}

std::string encode_tables(const FlowTables& tables, const TablesMark& from, const TablesMark& to) {
    std::string out;
    put(out, to.labels - from.labels);
    for (std::size_t i = from.labels; i < to.labels; ++i) {
        put(out, tables.labels[i]->texts.size());
        for (const std::string& text : tables.labels[i]->texts) put(out, text);
    }
    put(out, to.endpoints - from.endpoints);
    for (std::size_t i = from.endpoints; i < to.endpoints; ++i)
        put_endpoint(out, *tables.endpoints[i], tables.endpoint_labels[i]);
    put(out, to.services - from.services);
    for (std::size_t i = from.services; i < to.services; ++i) {
        put(out, tables.services[i]->name_space);
        put(out, tables.services[i]->name);
    }
    put(out, to.rules - from.rules);
    for (std::size_t i = from.rules; i < to.rules; ++i) put_rule(out, *tables.rules[i]);
    put(out, to.interfaces - from.interfaces);
    for (std::size_t i = from.interfaces; i < to.interfaces; ++i) put(out, std::string_view(*tables.interfaces[i]));
    put(out, to.addresses - from.addresses);
    for (std::size_t i = from.addresses; i < to.addresses; ++i) put_address(out, tables.addresses[i]);
    // Missing in what earlier versions have written.
    put(out, to.names - from.names);
    for (std::size_t i = from.names; i < to.names; ++i) {
        put(out, tables.names[i]->size());
        for (const std::string& name : *tables.names[i]) put(out, name);
    }
    return out;
}

bool decode_tables(std::string_view bytes, FlowTables& tables) {
    Reader reader(bytes);
    for (std::size_t left = reader.count(); left != 0 && reader.ok(); --left) {
        std::vector<std::string> texts;
        for (std::size_t labels = reader.count(); labels != 0 && reader.ok(); --labels) texts.push_back(reader.text());
        tables.labels.push_back(make_labels(std::move(texts)));
    }
    for (std::size_t left = reader.count(); left != 0 && reader.ok(); --left)
        tables.endpoints.push_back(read_endpoint(reader, tables));
    for (std::size_t left = reader.count(); left != 0 && reader.ok(); --left)
        tables.services.push_back(std::make_shared<ServiceName>(ServiceName{reader.text(), reader.text()}));
    for (std::size_t left = reader.count(); left != 0 && reader.ok(); --left) tables.rules.push_back(read_rule(reader));
    for (std::size_t left = reader.count(); left != 0 && reader.ok(); --left)
        tables.interfaces.push_back(std::make_shared<const std::string>(reader.text()));
    for (std::size_t left = reader.count(); left != 0 && reader.ok(); --left)
        tables.addresses.push_back(address_of(reader.raw(reader.number())));
    if (reader.at_end()) return reader.ok();
    for (std::size_t left = reader.count(); left != 0 && reader.ok(); --left) {
        auto names = std::make_shared<std::vector<std::string>>();
        for (std::size_t inner = reader.count(); inner != 0 && reader.ok(); --inner) names->push_back(reader.text());
        tables.names.push_back(std::move(names));
    }
    return reader.ok();
}

bool decode_flows(std::string_view bytes, const FlowTables& tables, std::vector<FlowRecord>& out) {
    Reader reader(bytes);
    std::int64_t time = 0;
    std::uint64_t sequence = 0;
    while (!reader.at_end()) {
        const std::uint8_t kind = reader.byte();
        if (kind > (kNamed | kDns)) return false;
        time += reader.signed_number();
        FlowRecord record;
        if (kind == kLost) {
            record.lost = reader.number();
            record.lost_source = static_cast<LostSource>(reader.byte());
        } else {
            sequence += static_cast<std::uint64_t>(reader.signed_number());
            record = read_flow(reader, tables, kind);
            record.sequence = sequence;
        }
        record.time_ns = time;
        if (!reader.ok()) return false;
        out.push_back(std::move(record));
    }
    return reader.ok();
}

}  // namespace axo::hubble
