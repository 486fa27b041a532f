// DNS in flows: messages as they come from the wire, and the names that answers give to addresses.
#include <arpa/inet.h>
#include <gtest/gtest.h>

#include <random>

#include "hubble/core/flow_codec.h"
#include "hubble/core/observer.h"

namespace axo::hubble {
namespace {

// Builds messages by RFC 1035; names as labels, a pointer to the question's name for answers.
class Message {
public:
    Message(std::uint16_t id, bool response, std::uint8_t rcode = 0) {
        put16(id);
        put16(static_cast<std::uint16_t>((response ? 0x8180 : 0x0100) | rcode));
        bytes_.append(8, '\0');
    }
    Message& ask(const std::string& name, std::uint16_t type) {
        add_name(name);
        put16(type);
        put16(1);
        return counted(5);
    }
    Message& answer(std::uint16_t type, std::uint32_t ttl, const std::string& data) {
        put16(0xC00C);  // the name at offset 12: the question's
        put16(type);
        put16(1);
        put16(static_cast<std::uint16_t>(ttl >> 16));
        put16(static_cast<std::uint16_t>(ttl));
        put16(static_cast<std::uint16_t>(data.size()));
        bytes_ += data;
        return counted(7);
    }
    Message& address(const char* text, std::uint32_t ttl) {
        const IpAddress ip = IpAddress::parse(text).value();
        return answer(ip.is_v6() ? 28 : 1, ttl, {reinterpret_cast<const char*>(ip.bytes().data()), ip.bytes().size()});
    }
    Message& cname(const std::string& name, std::uint32_t ttl) {
        std::string data;
        std::swap(data, bytes_);
        add_name(name);
        std::swap(data, bytes_);
        return answer(5, ttl, data);
    }
    [[nodiscard]] std::span<const std::byte> bytes() const { return std::as_bytes(std::span(bytes_)); }
    [[nodiscard]] std::string text() const { return bytes_; }

private:
    void put16(std::uint16_t value) {
        bytes_ += static_cast<char>(value >> 8);
        bytes_ += static_cast<char>(value);
    }
    void add_name(const std::string& name) {
        for (std::size_t begin = 0; begin < name.size();) {
            const std::size_t end = std::min(name.find('.', begin), name.size());
            bytes_ += static_cast<char>(end - begin);
            bytes_ += name.substr(begin, end - begin);
            begin = end + 1;
        }
        bytes_ += '\0';
    }
    Message& counted(std::size_t at) {
        ++bytes_[at];
        return *this;
    }
    std::string bytes_;
};

TEST(Dns, AMessageIsRead) {
    const auto query = parse_dns(Message(0x1234, false).ask("Web.Example.com", 28).bytes());
    ASSERT_TRUE(query);
    EXPECT_FALSE(query->response);
    EXPECT_EQ(query->id, 0x1234);
    EXPECT_EQ(query->query, "web.example.com.") << "case means nothing in names";
    EXPECT_EQ(dns_type_name(query->qtype), "AAAA");
    EXPECT_EQ(dns_summary(*query), "DNS Query web.example.com. AAAA");

    const auto answer = parse_dns(Message(7, true)
                                      .ask("web", 1)
                                      .cname("cdn.example.net", 300)
                                      .address("192.0.2.1", 60)
                                      .address("192.0.2.2", 90)
                                      .bytes());
    ASSERT_TRUE(answer);
    EXPECT_TRUE(answer->response);
    EXPECT_EQ(answer->ips, (std::vector{IpAddress::parse("192.0.2.1").value(), IpAddress::parse("192.0.2.2").value()}));
    EXPECT_EQ(answer->cnames, std::vector<std::string>{"cdn.example.net."});
    EXPECT_EQ(answer->rrtypes, (std::vector<std::uint16_t>{5, 1, 1}));
    EXPECT_EQ(answer->ttl, 60U);
    EXPECT_EQ(dns_summary(*answer),
              R"(DNS Answer "192.0.2.1,192.0.2.2" CNAMEs: "cdn.example.net." TTL: 60 (Query web. A))");

    const auto none = parse_dns(Message(7, true, 3).ask("nobody", 1).bytes());
    ASSERT_TRUE(none);
    EXPECT_EQ(dns_summary(*none), "DNS Answer RCode: Non-Existent Domain TTL: 0 (Query nobody. A)");
    const auto v6 = parse_dns(Message(7, true).ask("six", 28).address("2001:db8::1", 5).bytes());
    ASSERT_TRUE(v6);
    EXPECT_EQ(v6->ips, std::vector{IpAddress::parse("2001:db8::1").value()});
    EXPECT_EQ(dns_type_name(4242), "TYPE4242");
    EXPECT_EQ(dns_rcode_name(15), "RCode 15");
}

TEST(Dns, WhatIsNoWholeMessageIsNone) {
    const std::string whole =
        Message(7, true).ask("web", 1).cname("cdn.example.net", 300).address("192.0.2.1", 60).text();
    ASSERT_TRUE(parse_dns(std::as_bytes(std::span(whole))));
    for (std::size_t length = 0; length < whole.size(); ++length)
        EXPECT_FALSE(parse_dns(std::as_bytes(std::span(whole).first(length)))) << length;
    EXPECT_FALSE(parse_dns(Message(7, true).ask("web", 1).answer(1, 60, "abc").bytes())) << "an A record of 3 bytes";
    EXPECT_FALSE(parse_dns(Message(7, true).ask("web", 1).answer(5, 60, "\xC0\xFF").bytes()))
        << "a name beyond the end";
    EXPECT_FALSE(parse_dns(Message(7, false).bytes())) << "no question";
    EXPECT_FALSE(parse_dns(Message(7, false).ask("a", 1).ask("b", 1).bytes())) << "two";
    // A pointer that leads to itself must not be followed for ever.
    std::string loop = whole;
    loop[12] = static_cast<char>(0xC0);
    loop[13] = 12;
    EXPECT_FALSE(parse_dns(std::as_bytes(std::span(loop))));
    std::mt19937 random(5);
    for (int round = 0; round < 20'000; ++round) {
        std::string broken = whole;
        for (int i = 0; i < 3; ++i) broken[random() % broken.size()] = static_cast<char>(random());
        (void)parse_dns(std::as_bytes(std::span(broken)));  // under the sanitizers: it stays inside
    }
}

constexpr std::uint16_t kPod = 7;
constexpr std::int64_t kSecond = 1'000'000'000;

flow_event dns_event_of(bool response, std::uint64_t time_ns) {
    flow_event event{};
    event.type = EVENT_DNS;
    event.proto = IPPROTO_UDP;
    event.ethertype = 0x0800;
    event.time_ns = time_ns;
    const auto pod = IpAddress::parse("10.0.0.1").value().v4_network_order();
    const auto server = IpAddress::parse("10.0.9.9").value().v4_network_order();
    event.saddr.ip4 = response ? server : pod;
    event.daddr.ip4 = response ? pod : server;
    event.sport = htons(response ? 53 : 40000);
    event.dport = htons(response ? 40000 : 53);
    (response ? event.endpoint_dst : event.endpoint_src) = kPod;
    return event;
}

flow_event trace_to(const char* address) {
    flow_event event{};
    event.type = EVENT_TRACE;
    event.subtype = TRACE_TO_NETWORK;
    event.proto = IPPROTO_TCP;
    event.ethertype = 0x0800;
    event.endpoint_src = kPod;
    event.saddr.ip4 = IpAddress::parse("10.0.0.1").value().v4_network_order();
    event.daddr.ip4 = IpAddress::parse(address).value().v4_network_order();
    event.identity_dst = 2;
    return event;
}

class DnsFlows : public testing::Test {
protected:
    DnsFlows() {
        observer_.names().set_address(IpAddress::parse("10.0.0.1").value(),
                                      {.endpoint_id = kPod, .identity = 300, .name_space = "shop", .pod = "web"});
    }
    std::vector<FlowRecord> all() {
        std::vector<FlowRecord> records;
        std::uint64_t missed = 0;
        observer_.ring().read(1, 1000, records, missed);
        return records;
    }
    FlowRecord last() { return all().back(); }

    Observer observer_{{.cluster = "east", .node = "n1", .node_labels = {}, .version = "v"}, nullptr};
};

TEST_F(DnsFlows, AnAnswerNamesTheAddressForThePodThatAsked) {
    observer_.observe(dns_event_of(false, 5 * kSecond), Message(9, false).ask("api.example.com", 1).bytes());
    FlowRecord record = last();
    EXPECT_EQ(record.direction, Direction::kEgress);
    EXPECT_EQ(record.reply, Reply::kNo);
    EXPECT_EQ(record.verdict, Verdict::kForwarded);
    EXPECT_EQ(record.source->pod, "web");
    // Repeated by the resolver: how long it took counts from the first.
    observer_.observe(dns_event_of(false, 6 * kSecond), Message(9, false).ask("api.example.com", 1).bytes());
    observer_.observe(dns_event_of(true, 8 * kSecond),
                      Message(9, true).ask("api.example.com", 1).address("192.0.2.1", 60).bytes());
    record = last();
    EXPECT_EQ(record.direction, Direction::kEgress);
    EXPECT_EQ(record.reply, Reply::kYes);
    EXPECT_EQ(record.latency_ns, 3U * kSecond);
    observer_.observe(dns_event_of(true, 9 * kSecond),
                      Message(10, true).ask("also.example.com", 1).address("192.0.2.1", 60).bytes());
    EXPECT_EQ(last().latency_ns, 0U) << "nobody saw the question";

    observer_.observe(trace_to("192.0.2.1"));
    record = last();
    ASSERT_TRUE(record.destination_names);
    EXPECT_EQ(*record.destination_names, (std::vector<std::string>{"also.example.com", "api.example.com"}));
    EXPECT_FALSE(record.source_names);
    observer_.observe(trace_to("192.0.2.2"));
    EXPECT_FALSE(last().destination_names);
    // The reply has them on the other side.
    flow_event reply = trace_to("192.0.2.1");
    std::swap(reply.saddr, reply.daddr);
    std::swap(reply.endpoint_src, reply.endpoint_dst);
    observer_.observe(reply);
    EXPECT_TRUE(last().source_names);
    const auto lookups = observer_.names().dns_lookups();
    ASSERT_EQ(lookups.size(), 2U);
    EXPECT_EQ(lookups[0].name, "also.example.com");
    EXPECT_EQ(lookups[1].endpoint, kPod);
    EXPECT_EQ(lookups[1].ips, std::vector{IpAddress::parse("192.0.2.1").value()});
    EXPECT_EQ(lookups[1].ttl, 60U);
    observer_.names().forget_dns_names([](const std::string& name) { return name == "api.example.com"; });
    observer_.observe(trace_to("192.0.2.1"));
    ASSERT_TRUE(last().destination_names);
    EXPECT_EQ(*last().destination_names, std::vector<std::string>{"also.example.com"});
    // The number of a pod that has gone is given to another one.
    observer_.names().remove_address(IpAddress::parse("10.0.0.1").value());
    observer_.names().set_address(IpAddress::parse("10.0.0.1").value(), {.endpoint_id = kPod, .identity = 301});
    observer_.observe(trace_to("192.0.2.1"));
    EXPECT_FALSE(last().destination_names);
}

TEST_F(DnsFlows, WhatCannotBeReadIsCounted) {
    observer_.observe(dns_event_of(false, kSecond), std::as_bytes(std::span("no DNS at all")));
    EXPECT_TRUE(all().empty());
    EXPECT_EQ(observer_.status().dns_unread, 1U);
}

TEST_F(DnsFlows, AreKeptInTheHistorysForm) {
    observer_.observe(dns_event_of(false, 5 * kSecond), Message(9, false).ask("api.example.com", 1).bytes());
    observer_.observe(
        dns_event_of(true, 6 * kSecond),
        Message(9, true).ask("api.example.com", 1).cname("cdn.example.net", 30).address("192.0.2.1", 60).bytes());
    observer_.observe(trace_to("192.0.2.1"));
    observer_.observe(trace_to("192.0.2.2"));
    const auto records = all();
    FlowEncoder encoder;
    std::string bytes;
    for (const FlowRecord& record : records) encoder.add(record, bytes);
    const std::string tables = encode_tables(encoder.tables(), {}, TablesMark::end_of(encoder.tables()));
    FlowTables read;
    ASSERT_TRUE(decode_tables(tables, read));
    std::vector<FlowRecord> again;
    ASSERT_TRUE(decode_flows(bytes, read, again));
    ASSERT_EQ(again.size(), records.size());
    for (std::size_t i = 0; i < records.size(); ++i) {
        EXPECT_EQ(again[i].event.type, records[i].event.type);
        EXPECT_EQ(again[i].latency_ns, records[i].latency_ns);
        ASSERT_EQ(again[i].dns != nullptr, records[i].dns != nullptr);
        if (records[i].dns) {
            EXPECT_EQ(*again[i].dns, *records[i].dns);
        }
        ASSERT_EQ(again[i].destination_names != nullptr, records[i].destination_names != nullptr) << i;
        if (records[i].destination_names) {
            EXPECT_EQ(*again[i].destination_names, *records[i].destination_names);
        }
    }
    EXPECT_EQ(again[1].latency_ns, std::uint64_t{kSecond});
    EXPECT_TRUE(again[2].destination_names);
    // Broken ends are no ends: nothing is read beyond them.
    for (std::size_t length = 0; length < bytes.size(); ++length) {
        std::vector<FlowRecord> some;
        decode_flows(std::string_view(bytes).substr(0, length), read, some);
        EXPECT_LE(some.size(), records.size());
    }
}

// What earlier versions wrote has no table of names.
TEST_F(DnsFlows, AHistoryWithoutNamesIsRead) {
    observer_.observe(trace_to("192.0.2.2"));
    FlowEncoder encoder;
    std::string bytes;
    encoder.add(last(), bytes);
    std::string tables = encode_tables(encoder.tables(), {}, TablesMark::end_of(encoder.tables()));
    ASSERT_EQ(tables.back(), 0) << "the number of names";
    tables.pop_back();
    FlowTables read;
    ASSERT_TRUE(decode_tables(tables, read));
    std::vector<FlowRecord> again;
    ASSERT_TRUE(decode_flows(bytes, read, again));
    EXPECT_EQ(again.size(), 1U);
}

// One address that very many names lead to, very many addresses, and questions that nobody answers.
TEST(DnsNames, StayBounded) {
    DnsNames names;
    FlowRecord record;
    record.event.endpoint_dst = 7;
    const auto learn = [&](const std::string& name, IpAddress ip, std::int64_t now) {
        auto message = std::make_shared<DnsMessage>();
        message->response = true;
        message->query = name + ".";
        message->ips = {ip};
        message->ttl = 10;
        record.dns = std::move(message);
        record.event.time_ns = static_cast<std::uint64_t>(now);
        names.observe(record);
    };
    const IpAddress one = IpAddress::parse("192.0.2.1").value();
    for (int i = 0; i < 1000; ++i) learn("n" + std::to_string(i), one, kSecond + i);
    ASSERT_TRUE(names.names_of(7, one));
    EXPECT_EQ(names.names_of(7, one)->size(), DnsNames::kMaxNames);
    EXPECT_EQ(std::ranges::count(*names.names_of(7, one), "n999"), 1);
    EXPECT_FALSE(names.names_of(8, one)) << "another pod has not asked";
    learn("later", one, kSecond + DnsNames::kKeepNs + 11 * kSecond);
    EXPECT_EQ(*names.names_of(7, one), std::vector<std::string>{"later"}) << "the others have had their time";

    std::size_t known = 0;
    for (std::uint32_t i = 0; i < 4 * DnsNames::kMaxAddresses; ++i) {
        learn("x", IpAddress::v4(htonl(0x0A000000U + i)), kSecond);
        if (i % 1000 == 0) {
            ASSERT_TRUE(names.names_of(7, one)) << "what is asked for stays";
        }
    }
    for (std::uint32_t i = 0; i < 4 * DnsNames::kMaxAddresses; ++i)
        known += names.names_of(7, IpAddress::v4(htonl(0x0A000000U + i))) ? 1 : 0;
    EXPECT_LE(known, DnsNames::kMaxAddresses);
    names.forget(7);
    EXPECT_FALSE(names.names_of(7, one));
}

TEST(DnsNames, AreTakenUpAgain) {
    constexpr std::int64_t kWall = 1'700'000'000 * kSecond, kHour = 3600 * kSecond;
    const IpAddress one = IpAddress::parse("192.0.2.1").value(), six = IpAddress::parse("2001:db8::1").value();
    DnsNames names;
    const std::uint64_t before = names.changes();
    names.restore({{7, "kept.example", kWall - 30 * kSecond, 60, {one, six}},
                   {7, "old.example", kWall - 2 * kHour, 60, {one}},
                   {8, "tomorrow.example", kWall + 24 * kHour, 60, {one}}},
                  100 * kSecond, kWall);
    EXPECT_NE(names.changes(), before);
    ASSERT_TRUE(names.names_of(7, one));
    EXPECT_EQ(*names.names_of(7, one), std::vector<std::string>{"kept.example"}) << "one had its time";
    EXPECT_TRUE(names.names_of(7, six));
    const auto lookups = names.lookups();
    ASSERT_EQ(lookups.size(), 2U);
    EXPECT_EQ(lookups[0].time_ns, kWall - 30 * kSecond);
    EXPECT_EQ(lookups[1].time_ns, kWall) << "nothing was answered in a time to come";
}

}  // namespace
}  // namespace axo::hubble
