#include "base/base64.h"

#include <gtest/gtest.h>

namespace axo {
namespace {

std::string decoded(std::string_view text) {
    const auto bytes = base64_decode(text);
    return bytes ? std::string(bytes->begin(), bytes->end()) : "refused";
}

// RFC 4648, section 10.
TEST(Base64, Decodes) {
    EXPECT_EQ(decoded(""), "");
    EXPECT_EQ(decoded("Zg=="), "f");
    EXPECT_EQ(decoded("Zm8="), "fo");
    EXPECT_EQ(decoded("Zm9v"), "foo");
    EXPECT_EQ(decoded("Zm9vYmFy"), "foobar");
    EXPECT_EQ(decoded("+/+/"), "\xfb\xff\xbf");
}

TEST(Base64, Refuses) {
    for (const char* text : {"Z", "Zg", "Zg=", "Z===", "Zm9v=", "Zm 9", "Zh==", "Zm9=", "=Zg=", "Zg==Zg=="})
        EXPECT_EQ(decoded(text), "refused") << text;
}

}  // namespace
}  // namespace axo
