#include "features/operator/endpoint_slices.h"

#include <gtest/gtest.h>

#include <random>

namespace axo {
namespace {

CiliumEndpointSlice::Endpoint endpoint(const std::string& name, std::uint32_t identity = 300) {
    CiliumEndpointSlice::Endpoint made;
    made.name = name;
    made.identity = IdentityId{identity};
    made.addressing = {{IpAddress::parse("10.0.0.1").value(), {}}};
    made.node_ip = IpAddress::parse("192.168.0.1").value();
    made.named_ports = {{"http", 80, "TCP"}};
    return made;
}

// Slices and a store that does what they want.
struct World {
    std::map<std::string, CiliumEndpointSlice> store;
    int names = 0;
    EndpointSlices slices{3, [this] { return "ces-" + std::to_string(++names); }};
    int writes = 0;

    void settle() {
        while (!slices.dirty().empty()) {
            const std::string name = *slices.dirty().begin();
            ++writes;
            if (const auto wanted = slices.wanted(name)) {
                store.insert_or_assign(name, *wanted);
                slices.seen(*wanted);
            } else {
                store.erase(name);
                slices.seen_gone(name);
            }
        }
    }
    std::string show() const {
        std::string text;
        for (const auto& [name, slice] : store) {
            text += name + "(" + slice.name_space + "):";
            for (const auto& one : slice.endpoints) text += " " + one.name;
            text += "; ";
        }
        return text;
    }
};

TEST(EndpointSlices, FullestSliceWithRoom) {
    World world;
    world.slices.complete();
    for (const char* name : {"a", "b", "c", "d"}) world.slices.set_endpoint({"default", name}, endpoint(name));
    world.slices.set_endpoint({"other", "a"}, endpoint("a"));
    world.settle();
    EXPECT_EQ(world.show(), "ces-1(default): a b c; ces-2(default): d; ces-3(other): a; ");
    world.slices.remove_endpoint({"default", "b"});
    world.settle();
    world.slices.set_endpoint({"default", "e"}, endpoint("e"));
    world.settle();
    EXPECT_EQ(world.show(), "ces-1(default): a c e; ces-2(default): d; ces-3(other): a; ");
    world.slices.remove_endpoint({"default", "d"});
    world.settle();
    EXPECT_EQ(world.show(), "ces-1(default): a c e; ces-3(other): a; ") << "a slice without endpoints goes";
    const int writes = world.writes;
    world.slices.set_endpoint({"default", "a"}, endpoint("a"));
    world.settle();
    EXPECT_EQ(world.writes, writes) << "nothing changed";
    world.slices.set_endpoint({"default", "a"}, endpoint("a", 301));
    world.settle();
    EXPECT_EQ(world.store["ces-1"].endpoints[0].identity.value, 301U);
}

TEST(EndpointSlices, ANewLeaderChangesNothing) {
    World first;
    first.slices.complete();
    for (const char* name : {"a", "b", "c", "d"}) first.slices.set_endpoint({"default", name}, endpoint(name));
    first.settle();
    World second;
    second.slices.set_endpoint({"default", "a"}, endpoint("a"));
    for (const auto& [name, slice] : first.store) second.slices.seen(slice);
    for (const char* name : {"b", "c", "d"}) second.slices.set_endpoint({"default", name}, endpoint(name));
    EXPECT_TRUE(second.slices.dirty().empty());
    second.slices.complete();
    EXPECT_TRUE(second.slices.dirty().empty());
}

TEST(EndpointSlices, WhatWentWhileNobodyLed) {
    World world;
    CiliumEndpointSlice slice;
    slice.metadata.name = "ces-x";
    slice.name_space = "default";
    slice.endpoints = {endpoint("gone"), endpoint("here")};
    CiliumEndpointSlice twice = slice;
    twice.metadata.name = "ces-y";
    world.store = {{"ces-x", slice}, {"ces-y", twice}};
    world.slices.seen(slice);
    world.slices.seen(twice);
    world.slices.set_endpoint({"default", "here"}, endpoint("here"));
    world.slices.complete();
    world.settle();
    EXPECT_EQ(world.show(), "ces-x(default): here; ") << "and an endpoint stands in one slice";
    world.slices.seen_gone("ces-x");
    world.store.clear();
    world.settle();
    EXPECT_EQ(world.show(), "ces-x(default): here; ") << "somebody removed it";
}

TEST(EndpointSlices, RandomSequences) {
    std::mt19937_64 random(7);
    World world;
    world.slices.complete();
    std::set<ObjectKey> all;
    for (int i = 0; i < 3000; ++i) {
        const ObjectKey key{"ns" + std::to_string(random() % 3), "p" + std::to_string(random() % 20)};
        if (random() % 2 == 0) {
            world.slices.set_endpoint(key, endpoint(key.name, 300 + static_cast<std::uint32_t>(random() % 2)));
            all.insert(key);
        } else {
            world.slices.remove_endpoint(key);
            all.erase(key);
        }
        if (random() % 3 == 0) world.settle();
    }
    world.settle();
    std::set<ObjectKey> found;
    for (const auto& [name, slice] : world.store) {
        EXPECT_FALSE(slice.endpoints.empty());
        EXPECT_LE(slice.endpoints.size(), 3U);
        for (const auto& one : slice.endpoints) EXPECT_TRUE(found.insert({slice.name_space, one.name}).second);
    }
    EXPECT_EQ(found, all);
}

TEST(CiliumEndpointSliceObject, ThereAndBack) {
    CiliumEndpointSlice slice;
    slice.metadata.name = "ces-abc";
    slice.name_space = "default";
    slice.endpoints = {endpoint("a"), endpoint("b")};
    const auto parsed = CiliumEndpointSlice::parse(slice.to_json());
    ASSERT_TRUE(parsed) << parsed.error().message;
    EXPECT_EQ(*parsed, slice);
    EXPECT_EQ(slice.to_json()["endpoints"][0]["id"], 300);
    EXPECT_FALSE(slice.to_json().contains("spec"));
}

}  // namespace
}  // namespace axo
