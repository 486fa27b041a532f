#include "io/kubernetes/json_stream.h"

#include <gtest/gtest.h>

#include <vector>

namespace axo::kubernetes {
namespace {

using Objects = std::vector<std::string>;

// Fed in pieces of every size: nothing may depend on where the network cuts.
template <class Splitter, class Check>
void in_all_pieces(const std::string& text, Check check) {
    for (std::size_t size = 1; size <= text.size(); ++size) {
        Objects seen;
        Splitter splitter(1 << 20, [&](std::string_view object) {
            seen.emplace_back(object);
            return true;
        });
        for (std::size_t at = 0; at < text.size(); at += size) {
            const auto fed = splitter.feed(std::string_view(text).substr(at, size));
            ASSERT_TRUE(fed) << fed.error().message;
        }
        check(splitter, seen);
    }
}

TEST(JsonStream, ObjectsOfAWatch) {
    const std::string a = R"({"type":"ADDED","object":{"n":"}\"{\\"}})";
    const std::string b = R"({"a":[{},{"b":[]}]})";
    in_all_pieces<ObjectSplitter>(a + "\n" + b + " \n" + b, [&](const ObjectSplitter& splitter, const Objects& seen) {
        EXPECT_EQ(seen, (Objects{a, b, b}));
        EXPECT_FALSE(splitter.incomplete());
    });
    in_all_pieces<ObjectSplitter>(a + "\n" + b.substr(0, 9), [&](const ObjectSplitter& splitter, const Objects& seen) {
        EXPECT_EQ(seen, Objects{a});
        EXPECT_TRUE(splitter.incomplete());
    });
}

TEST(JsonStream, WhatIsNoObject) {
    const auto feed = [](std::string_view text) {
        ObjectSplitter splitter(100, [](std::string_view) { return true; });
        return splitter.feed(text);
    };
    EXPECT_EQ(feed("<html>").error().code, Code::kDataLoss);
    EXPECT_EQ(feed("{} ]").error().code, Code::kDataLoss);
    EXPECT_EQ(feed("{\"" + std::string(200, 'x')).error().code, Code::kResourceExhausted);
}

TEST(JsonStream, ASinkThatHasEnough) {
    int seen = 0;
    ObjectSplitter splitter(100, [&](std::string_view) { return ++seen < 2; });
    EXPECT_FALSE(*splitter.feed("{}{}{}{}"));
    EXPECT_EQ(seen, 2);
}

TEST(JsonStream, ItemsOfAList) {
    const std::string a = R"({"metadata":{"name":"a","items":["x"]},"items":[{"y":1}]})";
    const std::string text = R"({"kind":"PodList","metadata":{"items":[1],"resourceVersion":"7"}, "items" : [ )" + a +
                             R"( , {"b":"]}"},{}],"apiVersion":"v1"})" + "\n";
    in_all_pieces<ListSplitter>(text, [&](const ListSplitter& splitter, const Objects& seen) {
        EXPECT_EQ(seen, (Objects{a, R"({"b":"]}"})", "{}"}));
        EXPECT_TRUE(splitter.complete());
        EXPECT_EQ(
            splitter.rest(),
            R"({"kind":"PodList","metadata":{"items":[1],"resourceVersion":"7"}, "items" : [],"apiVersion":"v1"})");
    });
    in_all_pieces<ListSplitter>(R"({"items":[{"a":1},{"b")", [&](const ListSplitter& splitter, const Objects& seen) {
        EXPECT_EQ(seen, Objects{R"({"a":1})"});
        EXPECT_FALSE(splitter.complete());
    });
    in_all_pieces<ListSplitter>(R"({"kind":"Status","code":410,"items":null})",
                                [&](const ListSplitter& splitter, const Objects& seen) {
                                    EXPECT_TRUE(seen.empty());
                                    EXPECT_TRUE(splitter.complete());
                                });
}

TEST(JsonStream, WhatIsNoList) {
    const auto feed = [](std::string_view text) {
        ListSplitter splitter(100, [](std::string_view) { return true; });
        return splitter.feed(text);
    };
    EXPECT_EQ(feed("[1]").error().code, Code::kDataLoss);
    EXPECT_EQ(feed(R"({"items":[1]})").error().code, Code::kDataLoss);
    EXPECT_EQ(feed(R"({} x)").error().code, Code::kDataLoss);
    EXPECT_EQ(feed(R"({"items":[{"x":")" + std::string(200, 'x')).error().code, Code::kResourceExhausted);
}

}  // namespace
}  // namespace axo::kubernetes
