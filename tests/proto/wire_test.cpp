// The messages of proto/ against the wire: bytes written here from wire_table.txt's numbers, read by the generated code
// and written again. What a table says and the generated code does not know, and the other way round, fails.
#include <flow/events.pb.h>
#include <flow/filter.pb.h>
#include <google/protobuf/dynamic_message.h>
#include <gtest/gtest.h>
#include <health/health.pb.h>
#include <observer/observer.pb.h>
#include <peer/peer.pb.h>

#include <axoneme/flow_counters.pb.h>
#include <cstring>
#include <map>
#include <set>
#include <sstream>

#include "base/embedded_text.h"

extern "C" const axo::EmbeddedText axo_wire_table_begin[];

namespace axo {
namespace {

namespace pb = google::protobuf;

struct Field {
    unsigned number = 0;
    std::string name;
    bool repeated = false;
    char kind = 's';   // s b u i d @ =
    std::string type;  // of @ and =
};

struct Table {
    std::map<std::string, std::vector<Field>> messages;
    std::map<std::string, std::map<std::string, int>> enums;
};

Table read_table() {
    Table table;
    std::istringstream text{std::string(axo_wire_table_begin[0].begin, axo_wire_table_begin[0].end)};
    for (std::string line; std::getline(text, line);) {
        if (line.empty() || line.front() == '#') continue;
        std::istringstream words(line);
        std::string name;
        words >> name;
        const bool is_enum = name == "enum";
        if (is_enum) words >> name;
        if (is_enum)
            table.enums[name];
        else
            table.messages[name];
        for (std::string part; std::getline(words, part, ',');) {
            std::istringstream field(part);
            unsigned number = 0;
            std::string field_name, type;
            if (!(field >> number >> field_name)) continue;
            if (is_enum) {
                table.enums[name][field_name] = static_cast<int>(number);
                continue;
            }
            field >> type;
            Field made{.number = number, .name = field_name, .repeated = type.starts_with('*')};
            if (made.repeated) type.erase(0, 1);
            made.kind = type.front();
            made.type = type.substr(1);
            table.messages[name].push_back(made);
        }
    }
    return table;
}

const Table& table() {
    static const Table read = read_table();
    return read;
}

void put_varint(std::string& out, std::uint64_t value) {
    for (; value >= 128; value >>= 7) out.push_back(static_cast<char>((value & 127) | 128));
    out.push_back(static_cast<char>(value));
}

void put_tag(std::string& out, unsigned number, unsigned wire_type) {
    put_varint(out, (std::uint64_t{number} << 3) | wire_type);
}

void put_bytes(std::string& out, unsigned number, std::string_view bytes) {
    put_tag(out, number, 2);
    put_varint(out, bytes.size());
    out.append(bytes);
}

// A value that can be told from any other field's: the number is in it.
std::string sample(const Field& field) {
    std::string out;
    switch (field.kind) {
        case 's': put_bytes(out, field.number, field.name + "!" + std::to_string(field.number)); break;
        case '@': put_bytes(out, field.number, ""); break;
        case 'd': {
            const double value = field.number + 0.5;
            put_tag(out, field.number, 1);
            std::array<char, 8> bytes{};
            std::memcpy(bytes.data(), &value, 8);
            out.append(bytes.data(), 8);
            break;
        }
        default: {
            std::string value;
            put_varint(value, field.kind == 'b' || field.kind == '=' ? 1 : field.number + 300);
            // Repeated numbers are packed in proto3.
            if (field.repeated) {
                put_bytes(out, field.number, value);
            } else {
                put_tag(out, field.number, 0);
                out += value;
            }
        }
    }
    return out;
}

bool kind_fits(const Field& field, const pb::FieldDescriptor& generated) {
    using F = pb::FieldDescriptor;
    switch (field.kind) {
        case 's': return generated.cpp_type() == F::CPPTYPE_STRING;
        case 'b': return generated.cpp_type() == F::CPPTYPE_BOOL;
        case 'u': return generated.cpp_type() == F::CPPTYPE_UINT32 || generated.cpp_type() == F::CPPTYPE_UINT64;
        case 'i': return generated.type() == F::TYPE_INT32 || generated.type() == F::TYPE_INT64;
        case 'd': return generated.type() == F::TYPE_DOUBLE;
        case '@': return generated.type() == F::TYPE_MESSAGE && generated.message_type()->full_name() == field.type;
        case '=': return generated.type() == F::TYPE_ENUM && generated.enum_type()->full_name() == field.type;
        default: return false;
    }
}

// Descriptors come into the pool with the files whose code is linked.
const pb::DescriptorPool& pool() {
    (void)observer::GetFlowsResponse::descriptor();
    (void)flow::FlowFilter::descriptor();
    (void)flow::AgentEvent::descriptor();
    (void)peer::ChangeNotification::descriptor();
    (void)grpc::health::v1::HealthCheckRequest::descriptor();
    (void)axoneme::FlowCounters::descriptor();
    return *pb::DescriptorPool::generated_pool();
}

TEST(Wire, EveryFieldIsReadFromItsNumberAndWrittenToIt) {
    ASSERT_GE(table().messages.size(), 69U);
    for (const auto& [name, fields] : table().messages) {
        SCOPED_TRACE(name);
        const pb::Descriptor* descriptor = pool().FindMessageTypeByName(name);
        ASSERT_NE(descriptor, nullptr);
        EXPECT_EQ(static_cast<std::size_t>(descriptor->field_count()), fields.size());
        const std::unique_ptr<pb::Message> message(
            pb::MessageFactory::generated_factory()->GetPrototype(descriptor)->New());
        const pb::Reflection& reflection = *message->GetReflection();
        for (const Field& field : fields) {
            SCOPED_TRACE(field.name);
            const std::string bytes = sample(field);
            ASSERT_TRUE(message->ParseFromString(bytes));
            EXPECT_TRUE(reflection.GetUnknownFields(*message).empty()) << "nothing has number " << field.number;
            std::vector<const pb::FieldDescriptor*> set;
            reflection.ListFields(*message, &set);
            ASSERT_EQ(set.size(), 1U);
            EXPECT_EQ(set.front()->name(), field.name);
            EXPECT_EQ(set.front()->is_repeated(), field.repeated);
            EXPECT_TRUE(kind_fits(field, *set.front())) << set.front()->DebugString();
            EXPECT_EQ(message->SerializeAsString(), bytes);
        }
    }
}

TEST(Wire, EveryEnumHasTheNumbersOfTheTable) {
    for (const auto& [name, values] : table().enums) {
        SCOPED_TRACE(name);
        const pb::EnumDescriptor* descriptor = pool().FindEnumTypeByName(name);
        ASSERT_NE(descriptor, nullptr);
        EXPECT_EQ(static_cast<std::size_t>(descriptor->value_count()), values.size());
        for (int i = 0; i < descriptor->value_count(); ++i) {
            const auto known = values.find(descriptor->value(i)->name());
            ASSERT_NE(known, values.end()) << descriptor->value(i)->name();
            EXPECT_EQ(known->second, descriptor->value(i)->number()) << known->first;
        }
    }
}

TEST(Wire, TheTableLeavesNoMessageOut) {
    std::set<const pb::FileDescriptor*> files{pool().FindMessageTypeByName("observer.GetFlowsRequest")->file(),
                                              pool().FindMessageTypeByName("peer.TLS")->file()};
    for (const pb::FileDescriptor* file : std::set(files))
        for (int i = 0; i < file->dependency_count(); ++i) files.insert(file->dependency(i));
    for (const pb::FileDescriptor* file : files) {
        if (file->package() == "google.protobuf") continue;
        for (int i = 0; i < file->message_type_count(); ++i)
            EXPECT_TRUE(table().messages.contains(file->message_type(i)->full_name())) << file->message_type(i)->name();
        for (int i = 0; i < file->enum_type_count(); ++i)
            EXPECT_TRUE(table().enums.contains(file->enum_type(i)->full_name())) << file->enum_type(i)->name();
    }
}

TEST(Wire, ADroppedFlowByteForByte) {
    // flow { time {seconds 1}, verdict DROPPED, IP {source "a", destination "b", IPv4}, l4 {TCP {ports 1024 → 80,
    // SYN}},
    //        Type L3_L4, is_reply {}, drop_reason_desc POLICY_DENIED (133), uuid "u" }, node_name "n" (1000)
    const unsigned char bytes[] = {
        0x0a, 0x2d,                                                                    // flow, 45 bytes
        0x0a, 0x02, 0x08, 0x01,                                                        // time
        0x10, 0x02,                                                                    // verdict
        0x2a, 0x08, 0x0a, 0x01, 'a',  0x12, 0x01, 'b',  0x18, 0x01,                    // IP
        0x32, 0x0b, 0x0a, 0x09, 0x08, 0x80, 0x08, 0x10, 0x50, 0x1a, 0x02, 0x10, 0x01,  // l4
        0x50, 0x01,                                                                    // Type
        0xb0, 0x01, 0x01,                                                              // traffic_direction
        0xc8, 0x01, 0x85, 0x01,                                                        // drop_reason_desc
        0xd2, 0x01, 0x00,                                                              // is_reply, known to be false
        0x92, 0x02, 0x01, 'u',                                                         // uuid
        0xc2, 0x3e, 0x01, 'n',                                                         // node_name
    };
    const std::string_view wire(reinterpret_cast<const char*>(bytes), sizeof bytes);
    observer::GetFlowsResponse response;
    ASSERT_TRUE(response.ParseFromArray(wire.data(), static_cast<int>(wire.size())));
    const flow::Flow& flow = response.flow();
    EXPECT_EQ(flow.time().seconds(), 1);
    EXPECT_EQ(flow.verdict(), flow::DROPPED);
    EXPECT_EQ(flow.ip().source(), "a");
    EXPECT_EQ(flow.ip().destination(), "b");
    EXPECT_EQ(flow.ip().ipversion(), flow::IPv4);
    EXPECT_EQ(flow.l4().tcp().source_port(), 1024U);
    EXPECT_EQ(flow.l4().tcp().destination_port(), 80U);
    EXPECT_TRUE(flow.l4().tcp().flags().syn());
    EXPECT_EQ(flow.type(), flow::L3_L4);
    EXPECT_EQ(flow.traffic_direction(), flow::INGRESS);
    EXPECT_EQ(flow.drop_reason_desc(), flow::POLICY_DENIED);
    EXPECT_TRUE(flow.has_is_reply());
    EXPECT_FALSE(flow.is_reply().value());
    EXPECT_EQ(flow.uuid(), "u");
    EXPECT_EQ(response.node_name(), "n");
    EXPECT_EQ(response.SerializeAsString(), wire);
}

}  // namespace
}  // namespace axo
