#include "model/yaml.h"

#include <gtest/gtest.h>

#include <random>

namespace axo {
namespace {

Json parsed(std::string_view text) {
    auto value = parse_yaml(text);
    EXPECT_TRUE(value) << text << ": " << value.error().to_string();
    return value ? *value : Json("unparsed");
}

std::string refused(std::string_view text) {
    const auto value = parse_yaml(text);
    EXPECT_FALSE(value) << text;
    return value ? "" : value.error().message;
}

TEST(Yaml, PlainScalarsGetTheirTypes) {
    EXPECT_EQ(parsed("[1, -2, 0, +7, 0x1F, 0o17, 0644]"), Json::parse("[1, -2, 0, 7, 31, 15, 420]"));
    EXPECT_EQ(parsed("[true, True, FALSE, null, ~, Null, ]"), Json::parse("[true, true, false, null, null, null]"));
    EXPECT_EQ(parsed("[1.5, 1e3, .5, -2.]"), Json::parse("[1.5, 1000.0, 0.5, -2.0]"));
    EXPECT_EQ(parsed("18446744073709551615"), Json(UINT64_MAX));
    EXPECT_EQ(parsed("-9223372036854775808"), Json(INT64_MIN));
    EXPECT_EQ(parsed("a:\nb: ~"), Json::parse(R"({"a": null, "b": null})"));
}

TEST(Yaml, WhatOnlyResemblesANumberStaysAString) {
    for (const char* text :
         {"10.0.0.1", "10.0.0.0/8",           "fd00::1", "1.2.3", "0x",   "-",    "+",    ".",  "1e",    "089",
          "12:30:00", "2026-01-01T00:00:00Z", "yes",     "off",   ".inf", ".nan", "0xfg", "v1", "1_000", "--1"}) {
        EXPECT_EQ(parsed(std::string("[\"x\", ") + text + "]").at(1), Json(text));
    }
}

TEST(Yaml, QuotedScalarsStayStrings) {
    EXPECT_EQ(parsed("[\"1\", 'true', \"null\", '', \"0x1\", !!str 12]"),
              Json::parse(R"(["1", "true", "null", "", "0x1", "12"])"));
    EXPECT_EQ(parsed("|\n  a\n  b\n"), Json("a\nb\n"));
}

TEST(Yaml, KeysAreStrings) {
    EXPECT_EQ(parsed("1: a\ntrue: b\nnull: c\n"), Json::parse(R"({"1": "a", "true": "b", "null": "c"})"));
}

TEST(Yaml, AnchorsAndMergeKeys) {
    EXPECT_EQ(parsed("base: &b {a: 1, b: 2}\nuse: *b\nmerged:\n  <<: *b\n  b: 3\n"),
              Json::parse(R"({"base": {"a":1,"b":2}, "use": {"a":1,"b":2}, "merged": {"a":1,"b":3}})"));
    EXPECT_EQ(parsed("\"<<\": 1"), Json::parse(R"({"<<": 1})"));
    EXPECT_NE(refused("a: {<<: 5}").find("<< merges mappings only"), std::string::npos);
}

TEST(Yaml, AnAvalancheOfAliasesIsRefused) {
    std::string text = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n";
    for (int i = 1; i < 12; ++i) {
        const std::string previous = "*a" + std::to_string(i - 1);
        text += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [";
        for (int j = 0; j < 10; ++j) text += previous + " ,";
        text += "x]\n";
    }
    EXPECT_NE(refused(text).find("more than 1000000 values"), std::string::npos);
}

TEST(Yaml, ErrorsGiveLineAndColumn) {
    EXPECT_EQ(refused("a: 1\nb: 2\na: 3\n"), "line 3, column 1: mapping key \"a\" is given twice");
    EXPECT_TRUE(refused("a: [1, 2\nb: 3\n").starts_with("line 2, column "));
    EXPECT_TRUE(refused("a:\n\t- b\n").starts_with("line 2, column "));
    EXPECT_TRUE(refused("? [a]\n: b\n").find("a mapping key must be a scalar") != std::string::npos);
    EXPECT_EQ(parse_yaml("a: 1\na: 2\n", 10).error().message, "line 11, column 1: mapping key \"a\" is given twice");
    EXPECT_NE(refused("a: 1\n---\nb: 2\n").find("more than one document"), std::string::npos);
    EXPECT_NE(refused("a: *nowhere").find("line 1"), std::string::npos);
    refused(std::string(100'000, '['));
    refused("\"unterminated");
}

TEST(Yaml, NoContentIsNull) {
    EXPECT_EQ(parsed(""), Json(nullptr));
    EXPECT_EQ(parsed("# only a comment\n\n"), Json(nullptr));
    EXPECT_EQ(parsed("---\n"), Json(nullptr));
}

TEST(Yaml, WritesAsAPersonWould) {
    EXPECT_EQ(
        to_yaml(Json::parse(
            R"({"kind": "Pod", "metadata": {"name": "a", "labels": {}}, "list": [1, {"a": "x", "b": [true, null]}, [2, 3], []],
                                      "cidr": "10.0.0.0/8", "number": "12", "time": "2026-01-01T00:00:00Z", "ip": "10.0.0.1", "on": "on"})")),
        "cidr: 10.0.0.0/8\nip: 10.0.0.1\nkind: Pod\nlist:\n- 1\n- a: x\n  b:\n  - true\n  - null\n- - 2\n  - 3\n- []\n"
        "metadata:\n  labels: {}\n  name: a\nnumber: \"12\"\n\"on\": \"on\"\ntime: \"2026-01-01T00:00:00Z\"\n");
    EXPECT_EQ(to_yaml(Json("a")), "a\n");
    EXPECT_EQ(to_yaml(Json::object()), "{}\n");
}

TEST(Yaml, StringsSurviveTheRoundTrip) {
    for (const char* text :
         {"",     " ",    "1",      "-1",      "0x1f", "0o7",  "0123",       "1.5",        "1e3",  "1_000", "true",
          "True", "yes",  "No",     "on",      "OFF",  "y",    "null",       "~",          "Null", "-",     "?",
          ":",    "a: b", "a:",     "a #b",    "#a",   "- a",  "[a]",        "{a}",        "*a",   "&a",    "!a",
          "|",    ">",    "%a",     "@a",      "`a",   "'a'",  "\"a\"",      "a\nb",       "a\n",  "\t",    "\\",
          "\x01", "é",    "日本",   "🙂",      ".inf", ".5",   "12:30:00",   "2026-01-01", "<<",   "---",   "--- a",
          "...",  "=",    "a\r\nb", "fd00::1", "::1",  "\x7f", "10.0.0.0/8", "1.2.3.4"}) {
        const Json value = {{"k", text}, {text, "v"}, {"l", {text, {{text, text}}}}};
        EXPECT_EQ(parsed(to_yaml(value)), value) << to_yaml(value);
        EXPECT_EQ(parsed(to_yaml(Json(text))), Json(text)) << to_yaml(Json(text));
    }
}

Json random_value(std::mt19937& random, int depth) {
    constexpr std::string_view kAlphabet = "ab01 :-#\"'\n\t{}[],&*!|>%@~.eE+x\\/_";
    const auto text = [&] {
        std::string out;
        for (auto n = random() % 8; n > 0; --n) out += kAlphabet[random() % kAlphabet.size()];
        return out;
    };
    switch (random() % (depth > 0 ? 8 : 6)) {
        case 0: return nullptr;
        case 1: return random() % 2 == 0;
        case 2: return static_cast<std::int64_t>(random()) - 2'000'000'000;
        case 3: return static_cast<double>(random()) / 1000.0 - 1e6;
        case 6: {
            Json list = Json::array();
            for (auto n = random() % 4; n > 0; --n) list.push_back(random_value(random, depth - 1));
            return list;
        }
        case 7: {
            Json map = Json::object();
            for (auto n = random() % 4; n > 0; --n) map[text()] = random_value(random, depth - 1);
            return map;
        }
        default: return text();
    }
}

TEST(Yaml, AnyValueSurvivesTheRoundTrip) {
    std::mt19937 random(20261120);
    for (int i = 0; i < 3000; ++i) {
        const Json value = random_value(random, 5);
        const auto again = parse_yaml(to_yaml(value));
        ASSERT_TRUE(again) << again.error().message << "\n" << to_yaml(value);
        ASSERT_EQ(*again, value) << to_yaml(value);
    }
}

}  // namespace
}  // namespace axo
