#include "hubble/core/dns_message.h"

#include <arpa/nameser.h>

#include <algorithm>
#include <cctype>
#include <cstring>

namespace axo::hubble {

namespace {

std::string canonical(std::string name) {
    std::ranges::transform(name, name.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    if (!name.ends_with('.')) name += '.';
    return name;
}

std::optional<std::string> name_in(const ns_msg& message, const unsigned char* at) {
    char text[NS_MAXDNAME];
    if (::ns_name_uncompress(ns_msg_base(message), ns_msg_end(message), at, text, sizeof(text)) < 0)
        return std::nullopt;
    return canonical(text);
}

bool read_answer(const ns_msg& message, const ns_rr& answer, DnsMessage& into) {
    switch (ns_rr_type(answer)) {
        case ns_t_a: {
            std::uint32_t four = 0;
            if (ns_rr_rdlen(answer) != sizeof(four)) return false;
            std::memcpy(&four, ns_rr_rdata(answer), sizeof(four));
            into.ips.push_back(IpAddress::v4(four));
            break;
        }
        case ns_t_aaaa:
            if (ns_rr_rdlen(answer) != 16) return false;
            into.ips.push_back(IpAddress::v6(ns_rr_rdata(answer)));
            break;
        case ns_t_cname: {
            auto name = name_in(message, ns_rr_rdata(answer));
            if (!name) return false;
            into.cnames.push_back(std::move(*name));
            break;
        }
        default: break;
    }
    into.ttl = into.rrtypes.empty() ? ns_rr_ttl(answer) : std::min<std::uint32_t>(into.ttl, ns_rr_ttl(answer));
    into.rrtypes.push_back(static_cast<std::uint16_t>(ns_rr_type(answer)));
    return true;
}

std::string joined(const auto& parts, auto text) {
    std::string all;
    for (const auto& part : parts) all += (all.empty() ? "" : ",") + text(part);
    return all;
}

}  // namespace

std::optional<DnsMessage> parse_dns(std::span<const std::byte> bytes) {
    ns_msg message{};
    if (::ns_initparse(reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()),
                       &message) != 0 ||
        ns_msg_count(message, ns_s_qd) != 1)
        return std::nullopt;
    ns_rr record{};
    if (::ns_parserr(&message, ns_s_qd, 0, &record) != 0) return std::nullopt;
    DnsMessage read;
    read.response = ns_msg_getflag(message, ns_f_qr) != 0;
    read.id = static_cast<std::uint16_t>(ns_msg_id(message));
    read.query = canonical(ns_rr_name(record));
    read.qtype = static_cast<std::uint16_t>(ns_rr_type(record));
    if (!read.response) return read;
    read.rcode = static_cast<std::uint8_t>(ns_msg_getflag(message, ns_f_rcode));
    for (int i = 0; i < ns_msg_count(message, ns_s_an); ++i) {
        if (::ns_parserr(&message, ns_s_an, i, &record) != 0 || !read_answer(message, record, read))
            return std::nullopt;
    }
    return read;
}

std::string dns_type_name(std::uint16_t type) {
    switch (type) {
        case ns_t_a: return "A";
        case ns_t_ns: return "NS";
        case ns_t_cname: return "CNAME";
        case ns_t_soa: return "SOA";
        case ns_t_ptr: return "PTR";
        case ns_t_hinfo: return "HINFO";
        case ns_t_mx: return "MX";
        case ns_t_txt: return "TXT";
        case ns_t_aaaa: return "AAAA";
        case ns_t_srv: return "SRV";
        case ns_t_naptr: return "NAPTR";
        case ns_t_ds: return "DS";
        case ns_t_rrsig: return "RRSIG";
        case ns_t_nsec: return "NSEC";
        case ns_t_dnskey: return "DNSKEY";
        case ns_t_tlsa: return "TLSA";
        case 64: return "SVCB";   // RFC 9460
        case 65: return "HTTPS";  // the same
        case ns_t_any: return "ANY";
        default: return "TYPE" + std::to_string(type);  // RFC 3597
    }
}

std::string dns_rcode_name(std::uint8_t rcode) {
    static constexpr std::string_view kNames[] = {"No Error",
                                                  "Format Error",
                                                  "Server Failure",
                                                  "Non-Existent Domain",
                                                  "Not Implemented",
                                                  "Query Refused",
                                                  "Name Exists when it should not",
                                                  "RR Set Exists when it should not",
                                                  "RR Set that should exist does not",
                                                  "Server Not Authoritative for zone",
                                                  "Name not contained in zone"};
    return rcode < std::size(kNames) ? std::string(kNames[rcode]) : "RCode " + std::to_string(rcode);
}

std::string dns_summary(const DnsMessage& message) {
    const std::string question = message.query + " " + dns_type_name(message.qtype);
    if (!message.response) return "DNS Query " + question;
    std::string answer;
    if (message.rcode != 0) {
        answer = "RCode: " + dns_rcode_name(message.rcode);
    } else {
        if (!message.ips.empty())
            answer = '"' + joined(message.ips, [](const IpAddress& ip) { return ip.to_string(); }) + '"';
        if (!message.cnames.empty())
            answer += std::string(answer.empty() ? "" : " ") + "CNAMEs: \"" +
                      joined(message.cnames, [](const std::string& name) { return name; }) + '"';
    }
    return "DNS Answer " + answer + " TTL: " + std::to_string(message.ttl) + " (Query " + question + ")";
}

}  // namespace axo::hubble
