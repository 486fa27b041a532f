#include "base/duration.h"

#include <gtest/gtest.h>

namespace axo {
namespace {

using namespace std::chrono_literals;

TEST(Duration, UnitsOfGo) {
    EXPECT_EQ(*parse_duration("1h2m3.5s"), 3723s + 500ms);
    EXPECT_EQ(*parse_duration("7us5ns"), 7005ns);
    EXPECT_EQ(*parse_duration("7\u00b5s"), 7us);  // the micro sign
    EXPECT_EQ(*parse_duration("7\u03bcs"), 7us);  // the Greek letter
    EXPECT_EQ(*parse_duration("0.25000000000000000000s"), 250ms);
    for (const char* bad : {"", ".", "5", "1\u00b5", "s", "1 s", "-1s", "1..2s", "2562048h", "99999999999999999999h"})
        EXPECT_FALSE(parse_duration(bad)) << bad;
}

TEST(Duration, PrintedAsGoDoes) {
    EXPECT_EQ(duration_text(0s), "0s");
    EXPECT_EQ(duration_text(7ns), "7ns");
    EXPECT_EQ(duration_text(660781ns), "660.781µs");
    EXPECT_EQ(duration_text(3132793ns), "3.132793ms");
    EXPECT_EQ(duration_text(1500ms), "1.5s");
    EXPECT_EQ(duration_text(96s), "1m36s");
    EXPECT_EQ(duration_text(96566ms), "1m36.566s");
    EXPECT_EQ(duration_text(1h), "1h0m0s");
    EXPECT_EQ(duration_text(10h + 5ms), "10h0m0.005s");
    EXPECT_EQ(duration_text(-90s), "-1m30s");
    EXPECT_EQ(duration_text(std::chrono::nanoseconds::min()), "-2562047h47m16.854775808s");
    for (const auto some : {1ns, 999ns, 1001ns, 1'000'001ns, 59'999'999'999ns, 60'000'000'001ns})
        EXPECT_EQ(*parse_duration(duration_text(some)), some);
}

}  // namespace
}  // namespace axo
