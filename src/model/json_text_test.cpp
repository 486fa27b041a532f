#include "model/json_text.h"

#include <gtest/gtest.h>

#include <random>

namespace axo {
namespace {

// parse_json and nlohmann's own parser agree on what is JSON and what it says, types included.
void compare(const std::string& text) {
    const Json expected = Json::parse(text, nullptr, false);
    const auto parsed = parse_json(text);
    ASSERT_EQ(parsed.has_value(), !expected.is_discarded()) << text;
    if (!parsed) {
        EXPECT_FALSE(parsed.error().message.starts_with("[")) << parsed.error().message;
        return;
    }
    EXPECT_EQ(*parsed, expected) << text;
    EXPECT_EQ(parsed->dump(), expected.dump()) << text;
    EXPECT_EQ(parsed->type(), expected.type()) << text;
    EXPECT_EQ(json_text(*parsed), expected.dump()) << text;
    EXPECT_EQ(json_text(*parsed, 2), expected.dump(2)) << text;
}

const std::vector<std::string> kDocuments = {
    R"({"b": [1, -2, 0, -0, 1.5, 1e3, -7E-2, 123456789012345678, 18446744073709551615, -9223372036854775808],
        "a": {"x": null, "y": true, "z": false, "": {}}, "a": [ ], "long name of a member": "text"})",
    R"(["", "plain", "quote \" and \\ and \/", "\b\f\n\r\t", "\u00e4\u20ac\ud83d\ude42", "naïve 🙂", "\ud83d"])",
    " \t\r\n [ [ ] , { } , [ { \"k\" : [ \"v\" ] } ] ] \n",
    "\"text\"",
    "12",
    "-",
    "01",
    "1.",
    "+1",
    "1e400",
    ".5",
    "tru",
    "nul",
    "",
    "   ",
    "[1,]",
    "[1 2]",
    "{\"a\" 1}",
    "{a: 1}",
    "{\"a\": 1,}",
    "[1] x",
    "[\"tab\tinside\"]",
    "[\"\\x\"]",
    "[\"\\",
    "[\"",
    "[\"\xff\"]",
    "[\"\xc3\xa4\"]",
    "\xef\xbb\xbf{\"after\": \"a byte order mark\"}",
    std::string("[\"\0\"]", 5),
};

TEST(ParseJson, AgreesWithTheLibrary) {
    for (const std::string& document : kDocuments) compare(document);
}

TEST(ParseJson, AgreesOnDamagedDocuments) {
    std::mt19937 random(7);
    constexpr std::string_view kBytes = "{}[]\",:\\0123456789eE+-. tfnu\n\x80\xc3";
    for (int round = 0; round < 5'000; ++round) {
        std::string text = kDocuments[random() % kDocuments.size()];
        for (std::size_t i = random() % 4; i > 0 && !text.empty(); --i) {
            const std::size_t at = random() % text.size();
            switch (random() % 3) {
                case 0: text[at] = kBytes[random() % kBytes.size()]; break;
                case 1: text.erase(at, 1); break;
                default: text.insert(at, 1, kBytes[random() % kBytes.size()]);
            }
        }
        compare(text);
        if (testing::Test::HasFailure()) return;
    }
}

TEST(JsonText, WritesEveryByteAsTheLibraryDoes) {
    for (int byte = 0; byte < 256; ++byte) {
        const std::string text = std::string("a") + static_cast<char>(byte) + "b";
        const Json value = {{text, {text, Json::object(), Json::array(), -1, 1.5, nullptr, true, false}}};
        EXPECT_EQ(json_text(value), value.dump(-1, ' ', false, Json::error_handler_t::replace));
    }
}

TEST(ParseJson, DepthIsLimited) {
    EXPECT_TRUE(parse_json(std::string(500, '[') + std::string(500, ']')));
    EXPECT_TRUE(parse_json("[1.5, " + std::string(499, '[') + std::string(499, ']') + "]"));
    for (const std::string& deep :
         {std::string(501, '[') + std::string(501, ']'), "[1.5, " + std::string(500, '[') + std::string(500, ']') + "]",
          std::string(100'000, '[')}) {
        const auto parsed = parse_json(deep);
        ASSERT_FALSE(parsed);
        EXPECT_NE(parsed.error().message.find("nested deeper than 500"), std::string::npos) << parsed.error().message;
    }
}

TEST(ParseJson, ErrorsSayWhere) {
    const auto parsed = parse_json("{\"a\": 1,\n \"b\": }");
    ASSERT_FALSE(parsed);
    EXPECT_TRUE(parsed.error().message.starts_with("line 2, column 7: ")) << parsed.error().message;
}

}  // namespace
}  // namespace axo
