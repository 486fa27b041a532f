#include <gtest/gtest.h>

#include "app/cli/output/format.h"
#include "app/cli/output/json_path.h"
#include "app/cli/output/tab_writer.h"
#include "app/cli/output/yaml.h"

namespace axo::cli {
namespace {

std::string table(std::string_view text, std::size_t min_width = 2, std::size_t padding = 3) {
    TabWriter w(min_width, padding);
    w << text;
    return w.str();
}

// Expected texts were made with Go's text/tabwriter rules (minwidth, tabwidth 0, padding, ' ').
TEST(TabWriter, ColumnsAreAsWideAsTheirWidestCell) {
    EXPECT_EQ(table("ID\tLABELS\n1\treserved:host\n16777217\tcidr:10.1.0.0/16\n\treserved:world\n"),
              "ID         LABELS\n1          reserved:host\n16777217   cidr:10.1.0.0/16\n           reserved:world\n");
}

TEST(TabWriter, ACellAfterTheLastTabBelongsToNoColumn) {
    EXPECT_EQ(table("a\tvery long trailing text\nb\tx\n"), "a   very long trailing text\nb   x\n");
    EXPECT_EQ(table("a\tb\t\nlong cell\tb\t\n"), "a           b   \nlong cell   b   \n");
}

TEST(TabWriter, ALineWithoutTheColumnEndsIt) {
    EXPECT_EQ(table("Key:\tvalue\nno columns here\nLonger key:\tvalue\n"),
              "Key:   value\nno columns here\nLonger key:   value\n");
    // Columns further right are blocks of their own.
    EXPECT_EQ(table("a\tb\tc\na\tb\nlonger\tlonger\tc\n"), "a        b   c\na        b\nlonger   longer   c\n");
}

TEST(TabWriter, CodePointsCountNotBytes) {
    EXPECT_EQ(table("└\tx\nab\tx\n"), "└    x\nab   x\n");
}

TEST(TabWriter, MinimumWidthAndEdges) {
    EXPECT_EQ(table("a\tb\n", 5, 3), "a    b\n");
    EXPECT_EQ(table("a\tb\n", 0, 3), "a   b\n");
    EXPECT_EQ(table(""), "");
    EXPECT_EQ(table("no newline"), "no newline");
}

const Json kDocument = Json::parse(
    R"({"a":{"b":"text","n":7,"odd.key":true},"items":[{"id":1,"s":"ready","l":["x","y"]},{"id":2,"s":"gone"},{"id":3,"s":"ready"}]})");

std::string path(const std::string& expression) {
    const auto result = json_path(expression, kDocument);
    return result ? *result : "error: " + result.error().message;
}

TEST(JsonPath, Paths) {
    EXPECT_EQ(path("{.a.b}"), "text");
    EXPECT_EQ(path("{$.a.n}"), "7");
    EXPECT_EQ(path("{.items[*].id}"), "1 2 3");
    EXPECT_EQ(path("{.items[0].l}"), R"(["x","y"])");
    EXPECT_EQ(path("{.items[-1].id}"), "3");
    EXPECT_EQ(path("{.items[1:].id}"), "2 3");
    EXPECT_EQ(path("{.items[:1].id}"), "1");
    EXPECT_EQ(path("{.a['odd.key']}"), "true");
    EXPECT_EQ(path("{..id}"), "1 2 3");
    EXPECT_EQ(path("{.nowhere.at.all}"), "");
    EXPECT_EQ(path("b={.a.b}, n={.a.n}"), "b=text, n=7");
    EXPECT_EQ(path(R"({.items[?(@.s=="ready")].id})"), "1 3");
    EXPECT_EQ(path("{.items[?(@.id>1)].s}"), "gone ready");
    EXPECT_EQ(path("{.items[?(@.l)].id}"), "1");
    EXPECT_EQ(path(R"({range .items[*]}{.id}{"\t"}{.s}{"\n"}{end})"), "1\tready\n2\tgone\n3\tready\n");
    const auto list = json_path("{[*].id}", Json::parse(R"([{"id":5},{"id":6}])"));
    ASSERT_TRUE(list);
    EXPECT_EQ(*list, "5 6");
}

TEST(JsonPath, MistakesAreNamed) {
    for (const char* wrong : {"{.a", "{.items[0}", "{.items[x]}", "{range .items[*]}{.id}", "{end}", "{.}{..}",
                              "{.items[?(id==1)]}", "{.items[?(@.id==x y)]}"}) {
        const auto result = json_path(wrong, kDocument);
        EXPECT_FALSE(result) << wrong << " gave " << *result;
    }
}

TEST(Yaml, BlocksAndQuotes) {
    const Json value = Json::parse(
        R"({"name":"x","number":1,"n":2,"empty":{},"none":[],"null":null,"list":["a","true","10.0.0.1","k8s:app=x",": y"],
        "objects":[{"a":1,"b":{"c":2}},{"d":[3]}],"text":"two\nlines"})");
    EXPECT_EQ(to_yaml(value), R"(name: x
number: 1
"n": 2
empty: {}
none: []
"null": null
list:
- a
- "true"
- "10.0.0.1"
- k8s:app=x
- ": y"
objects:
- a: 1
  b:
    c: 2
- d:
  - 3
text: "two\nlines"
)");
    EXPECT_EQ(to_yaml(Json::array()), "[]\n");
}

TEST(OutputFormat, FormsAndMistakes) {
    const auto printed = [](const std::string& option) {
        const auto format = OutputFormat::parse(option);
        return format ? format->print(kDocument["a"]).value_or("?") : "error";
    };
    EXPECT_EQ(printed("json"), "{\n  \"b\": \"text\",\n  \"n\": 7,\n  \"odd.key\": true\n}\n");
    EXPECT_EQ(printed("jsonpath={.b}"), "text\n");
    EXPECT_EQ(printed("jsonpath='{.b}'"), "text\n");
    EXPECT_EQ(printed("jsonpath=.b"), "text\n");
    EXPECT_EQ(printed("xml"), "error");
    EXPECT_TRUE(OutputFormat::parse("")->is_text());
}

TEST(Format, Times) {
    EXPECT_EQ(parse_time("1970-01-01T00:00:00Z"), std::nullopt);
    EXPECT_EQ(parse_time("2026-01-01T00:00:00.123456789Z"), 1767225600);
    EXPECT_EQ(parse_time("2026-01-01T02:00:00+02:00"), 1767225600);
    EXPECT_EQ(time_since("0001-01-01T00:00:00Z", 5), "never");
    EXPECT_EQ(time_since("2026-01-01T00:00:00Z", 1767225612), "12s ago");
    EXPECT_EQ(human_bytes(512), "512 B");
    EXPECT_EQ(human_bytes(39 * 1024 * 1024 + 524288), "39.5 MiB");
}

}  // namespace
}  // namespace axo::cli
