#include "kernel/bpf_object.h"

#include <bpf/bpf.h>
#include <gtest/gtest.h>
#include <linux/pkt_cls.h>

#include <chrono>
#include <cstdio>

#include "kernel/bpf_blobs.h"
#include "kernel/fixture.h"
#include "kernel/libbpf_log.h"
#include "kernel/scratch_bpffs.h"
#include "kernel/scratch_netns.h"

AXO_BPF_BLOB(fixture)

namespace axo {
namespace {

BpfLoadSpec fixture_spec() {
    BpfLoadSpec spec;
    spec.name = "fixture";
    spec.object = bpf_blob_fixture();
    spec.disabled_programs = {"fixture_refused", "not_in_this_object"};
    return spec;
}

std::vector<std::byte> packet(std::size_t size) {
    std::vector<std::byte> bytes(size);
    bytes[12] = std::byte{0x08};
    return bytes;
}

TEST(BpfObject, LoadsPrivatelyWithDefaults) {
    auto object = BpfObject::load(fixture_spec());
    ASSERT_OK(object);
    EXPECT_TRUE(object->created_maps().empty());
    EXPECT_EQ(object->program_names(),
              (std::vector<std::string>{"fixture_verdict", "fixture_grow", "fixture_emit", "fixture_xdp"}));
    EXPECT_OK(object->map_fd("axo_fixture_counters"));
    EXPECT_EQ(object->map_fd("nothing").error().code, Code::kNotFound);
    EXPECT_NE(object->program_fd("fixture_refused").error().message.find("was not loaded"), std::string::npos);
    EXPECT_NE(object->program_fd("nothing").error().message.find("does not exist"), std::string::npos);
    auto run = run_program(*object->program_fd("fixture_verdict"), packet(64));
    ASSERT_OK(run);
    EXPECT_EQ(run->return_value, static_cast<std::uint32_t>(TC_ACT_SHOT));
}

TEST(BpfObject, ConfigurationReachesBothSections) {
    BpfLoadSpec spec = fixture_spec();
    spec.config.push_back(
        BpfConfigBlob::of("fixture_cfg", fixture_config{.padding_before = 7, .verdict = TC_ACT_STOLEN}));
    spec.config.push_back(BpfConfigBlob::of("fixture_limits", fixture_limits{.records = 5}));
    spec.config.push_back(BpfConfigBlob::of("of_another_object", 1));
    auto object = BpfObject::load(spec);
    ASSERT_OK(object);
    EXPECT_EQ(run_program(*object->program_fd("fixture_verdict"), packet(64))->return_value,
              static_cast<std::uint32_t>(TC_ACT_STOLEN));
    ASSERT_OK(run_program(*object->program_fd("fixture_emit"), packet(64)));
    auto sequence = RawBpfMap::from_fd(Fd(::dup(*object->map_fd("axo_fixture_private"))), "axo_fixture_private");
    ASSERT_OK(sequence);
    std::vector<std::uint64_t> values(sequence->value_bytes() / 8);
    const std::uint32_t zero = 0;
    ASSERT_OK(sequence->lookup(&zero, values.data()));
    std::uint64_t total = 0;
    for (const std::uint64_t value : values) total += value;
    EXPECT_EQ(total, 5U);
}

TEST(BpfObject, ConfigurationOfAnotherSizeIsRefused) {
    BpfLoadSpec spec = fixture_spec();
    spec.config.push_back(BpfConfigBlob::of("fixture_cfg", std::uint32_t{1}));
    auto object = BpfObject::load(spec);
    ASSERT_FALSE(object);
    EXPECT_NE(object.error().message.find("variable fixture_cfg has 8 bytes, the configuration has 4"),
              std::string::npos)
        << object.error().message;
}

TEST(BpfObject, RefusedProgramIsNamedWithTheVerifiersWords) {
    BpfLoadSpec spec = fixture_spec();
    spec.disabled_programs.clear();
    const ScratchBpffs bpffs;
    spec.map_pin_directory = bpffs.path() + "/maps";
    auto object = BpfObject::load(spec);
    ASSERT_FALSE(object);
    const std::string& message = object.error().message;
    EXPECT_NE(message.find("fixture_refused"), std::string::npos) << message;
    EXPECT_NE(message.find("invalid access to packet"), std::string::npos) << message;
    EXPECT_LE(std::count(message.begin(), message.end(), '\n'), 27) << message;
    EXPECT_EQ(object.error().code, Code::kPermissionDenied);
    // Nothing is left behind.
    EXPECT_NE(::access((spec.map_pin_directory + "/axo_fixture_counters").c_str(), F_OK), 0);
}

TEST(BpfObject, GarbageIsRefused) {
    const std::string text = "this is not an ELF file, by no stretch of the imagination at all";
    BpfLoadSpec spec;
    spec.name = "garbage";
    spec.object = std::as_bytes(std::span(text));
    auto object = BpfObject::load(spec);
    ASSERT_FALSE(object);
    EXPECT_NE(object.error().message.find("garbage"), std::string::npos);
}

TEST(BpfObject, MapsArePinnedAndAdopted) {
    const ScratchBpffs bpffs;
    BpfLoadSpec spec = fixture_spec();
    spec.map_pin_directory = bpffs.path() + "/tc/globals";
    spec.max_entries = {{"axo_fixture_counters", 64}, {"axo_fixture_events", 5000}, {"of_another_object", 1}};
    std::uint32_t first_id = 0;
    {
        auto object = BpfObject::load(spec);
        ASSERT_OK(object);
        EXPECT_EQ(object->created_maps(), (std::vector<std::string>{"axo_fixture_counters", "axo_fixture_events"}));
        EXPECT_TRUE(object->adopted_maps().empty());
        TestRunContext context;
        context.mark = 42;
        ASSERT_OK(run_program(*object->program_fd("fixture_verdict"), packet(64), context));
    }
    auto counters = BpfMap<std::uint32_t, std::uint64_t>::open_pinned(spec.map_pin_directory + "/axo_fixture_counters");
    ASSERT_OK(counters);
    first_id = counters->raw().info().id;
    EXPECT_EQ(counters->raw().info().max_entries, 64U);
    EXPECT_EQ(counters->raw().info().name, "axo_fixture_counters");
    EXPECT_EQ(counters->get(42).value_or(0), 1U);
    EXPECT_EQ(RawBpfMap::open_pinned(spec.map_pin_directory + "/axo_fixture_events")->info().max_entries, 8192U);
    EXPECT_NE(::access((spec.map_pin_directory + "/axo_fixture_private").c_str(), F_OK), 0);

    auto again = BpfObject::load(spec);
    ASSERT_OK(again);
    EXPECT_TRUE(again->created_maps().empty());
    EXPECT_EQ(again->adopted_maps(), (std::vector<std::string>{"axo_fixture_counters", "axo_fixture_events"}));
    auto adopted = RawBpfMap::from_fd(Fd(::dup(*again->map_fd("axo_fixture_counters"))), "axo_fixture_counters");
    EXPECT_EQ(adopted->info().id, first_id);
    TestRunContext context;
    context.mark = 42;
    ASSERT_OK(run_program(*again->program_fd("fixture_verdict"), packet(64), context));
    EXPECT_EQ(counters->get(42).value_or(0), 2U);

    spec.max_entries["axo_fixture_counters"] = 128;
    auto resized = BpfObject::load(spec);
    ASSERT_FALSE(resized);
    EXPECT_EQ(resized.error().code, Code::kFailedPrecondition);
    EXPECT_NE(resized.error().message.find("axo_fixture_counters has max entries 64 instead of 128"), std::string::npos)
        << resized.error().message;
}

TEST(BpfObject, GivenMapsAreUsed) {
    LIBBPF_OPTS(bpf_map_create_opts, options);
    options.map_flags = BPF_F_NO_PREALLOC;
    const Fd counters(bpf_map_create(BPF_MAP_TYPE_HASH, "axok_given", 4, 8, 16, &options));
    ASSERT_TRUE(static_cast<bool>(counters));
    BpfLoadSpec spec = fixture_spec();
    spec.reuse_maps = {{"axo_fixture_counters", counters.get()}};
    auto object = BpfObject::load(spec);
    ASSERT_OK(object);
    ASSERT_OK(run_program(*object->program_fd("fixture_verdict"), packet(64)));
    const std::uint32_t key = 0;
    std::uint64_t value = 0;
    EXPECT_EQ(bpf_map_lookup_elem(counters.get(), &key, &value), 0);
    EXPECT_EQ(value, 1U);

    const Fd other(bpf_map_create(BPF_MAP_TYPE_HASH, "axok_given", 8, 16, 16, nullptr));
    spec.reuse_maps = {{"axo_fixture_counters", other.get()}};
    auto refused = BpfObject::load(spec);
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().message.find("key size 8 instead of 4, value size 16 instead of 8, flags 0 instead of 1"),
              std::string::npos)
        << refused.error().message;
}

TEST(BpfObject, PinsNeedABpfFileSystem) {
    auto object = BpfObject::load(fixture_spec());
    ASSERT_OK(object);
    const Status refused = pin(*object->program_fd("fixture_xdp"), "/tmp/axok-not-bpffs");
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().message.find("not on a BPF file system"), std::string::npos) << refused.error().message;
    const ScratchBpffs bpffs;
    const std::string path = bpffs.path() + "/a/b/program";
    ASSERT_OK(pin(*object->program_fd("fixture_xdp"), path));
    EXPECT_EQ(pin(*object->program_fd("fixture_xdp"), path).error().code, Code::kAlreadyExists);
    EXPECT_OK(open_pin(path));
    EXPECT_EQ(open_pin(path + "x").error().code, Code::kNotFound);
    ASSERT_OK(ensure_bpffs(bpffs.path()));
    ASSERT_EQ(::umount2(bpffs.path().c_str(), 0), 0) << "mounted twice, or a pin is held";
}

TEST(RunProgram, PacketsGrowAndRepeat) {
    auto object = BpfObject::load(fixture_spec());
    ASSERT_OK(object);
    auto grown = run_program(*object->program_fd("fixture_grow"), packet(100));
    ASSERT_OK(grown);
    EXPECT_EQ(grown->return_value, static_cast<std::uint32_t>(TC_ACT_OK));
    EXPECT_EQ(grown->packet_out.size(), 150U);
    auto xdp = run_program(*object->program_fd("fixture_xdp"), packet(60), {}, 1000);
    ASSERT_OK(xdp);
    EXPECT_EQ(xdp->return_value, 3U);
    EXPECT_GT(xdp->average_ns, 0U);
    EXPECT_EQ(run_program(*object->program_fd("fixture_xdp"), packet(61))->return_value, 2U);
}

TEST(RunProgram, InterfaceIsThatOfTheCallersNamespace) {
    auto object = BpfObject::load(fixture_spec());
    ASSERT_OK(object);
    const ScratchNetns netns;
    ASSERT_OK(netns.netlink().add_bridge("br0"));
    const IfIndex bridge = netns.netlink().link("br0")->index;
    TestRunContext context;
    context.ifindex = bridge.value;
    netns.inside([&] { EXPECT_OK(run_program(*object->program_fd("fixture_verdict"), packet(64), context)); });
    context.ifindex = 99999;
    auto absent = run_program(*object->program_fd("fixture_verdict"), packet(64), context);
    ASSERT_FALSE(absent);
    EXPECT_NE(absent.error().message.find("interface 99999"), std::string::npos);
}

TEST(LibbpfLog, SummaryKeepsTheEndOfTheLog) {
    std::string log =
        "libbpf: something else\nlibbpf: prog 'a': BPF program load failed: Permission denied\n"
        "libbpf: prog 'a': -- BEGIN PROG LOAD LOG --\n";
    for (int i = 0; i < 100; ++i) log += "line " + std::to_string(i) + "\n";
    log += "-- END PROG LOAD LOG --\nlibbpf: failed to load object 'x'\n";
    const std::string summary = summarize_load_log(log);
    EXPECT_TRUE(summary.starts_with("libbpf: prog 'a': BPF program load failed: Permission denied\nline 75\n"))
        << summary;
    EXPECT_TRUE(summary.ends_with("line 99"));
    EXPECT_EQ(summarize_load_log("libbpf: elf: no\n"), "libbpf: elf: no");
    EXPECT_EQ(summarize_load_log(""), "");
}

TEST(BpfObject, LoadIsQuick) {
    auto warm = BpfObject::load(fixture_spec());
    ASSERT_OK(warm);
    constexpr int kCount = 10;
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < kCount; ++i) ASSERT_OK(BpfObject::load(fixture_spec()));
    const double us =
        std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count() / kCount;
    std::printf("%-24s %8.1f us\n", "BpfObject::load", us);
    EXPECT_LT(us, 100000);
}

}  // namespace
}  // namespace axo
