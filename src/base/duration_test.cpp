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

}  // namespace
}  // namespace axo
