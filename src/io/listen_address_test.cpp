#include "io/listen_address.h"

#include <gtest/gtest.h>

namespace axo {
namespace {

TEST(ListenAddress, ReadsWhatGoPrograms) {
    EXPECT_EQ(parse_listen_address(":9962").value(), (ListenAddress{.address = {}, .port = 9962}));
    EXPECT_EQ(parse_listen_address("[::1]:99").value().address.to_string(), "::1");
    EXPECT_EQ(parse_listen_address("localhost:1").value().address.to_string(), "127.0.0.1");
    EXPECT_EQ(parse_listen_address("10.0.0.1:65535").value().port, 65535);
    for (const char* text : {"", "9962", ":", ":0", ":65536", "host:1", "10.0.0.1", "10.0.0.1:1x", "[::1:1"}) {
        const auto parsed = parse_listen_address(text);
        ASSERT_FALSE(parsed) << text;
        EXPECT_EQ(parsed.error().code, Code::kInvalidArgument) << text;
    }
}

}  // namespace
}  // namespace axo
