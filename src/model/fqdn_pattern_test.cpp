#include "model/fqdn_pattern.h"

#include <gtest/gtest.h>

namespace axo {
namespace {

TEST(FqdnPattern, MeansWhatPoliciesMean) {
    struct Case {
        const char *pattern, *name;
        bool fits;
    };
    const Case all[] = {
        {"*", "api.example.com", true},
        {"*", "localhost.", true},
        {"api.example.com", "API.example.com.", true},
        {"API.Example.com.", "api.example.com", true},
        {"api.example.com", "api.example.org", false},
        {"*.example.com", "api.example.com", true},
        {"*.example.com", "example.com", false},
        {"*.example.com", "a.b.example.com", false},
        {"a*.example.com", "api.example.com", true},
        {"a*i-*.example.com", "abi-2.example.com", true},
        {"a*.example.com", "b.example.com", false},
        {"*pi", "api", true},
        {"**.example.com", "api.example.com", true},
        {"**.example.com", "a.b.c.example.com", true},
        {"**.example.com", "example.com", false},
        {"***.com", "a.com", true},
        {"**.example.com", "example.com.org", false},
        {"sub.*.com", "sub.a.com", true},
        {"sub.*.com", "sub.a.b.com", false},
    };
    for (const Case& one : all) {
        const auto pattern = FqdnPattern::parse(one.pattern);
        ASSERT_TRUE(pattern) << one.pattern;
        EXPECT_EQ(pattern->matches(one.name), one.fits) << one.pattern << " " << one.name;
    }
}

TEST(FqdnPattern, WhatIsNoneIsRefused) {
    for (const std::string& text : {std::string(), std::string("a b"), std::string("a/b"), std::string(256, 'a')}) {
        const auto pattern = FqdnPattern::parse(text);
        ASSERT_FALSE(pattern) << text;
        EXPECT_EQ(pattern.error().code, Code::kInvalidArgument);
    }
}

}  // namespace
}  // namespace axo
