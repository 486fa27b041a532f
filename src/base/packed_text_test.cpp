#include "base/packed_text.h"

#include <gtest/gtest.h>

#include <random>

namespace axo {
namespace {

TEST(PackedText, IsTheTextAgain) {
    std::mt19937 random(1);
    for (const std::size_t length : {0U, 1U, 2U, 7U, 100U, 5'000U, 300'000U}) {
        std::string noise(length, ' '), words;
        for (char& c : noise) c = static_cast<char>(random());
        while (words.size() < length) words += R"({"matchLabels": {"app": "web"}}, )";
        for (const std::string& text : {noise, words}) {
            const PackedText packed(text);
            EXPECT_EQ(packed.text(), text);
            EXPECT_EQ(packed.empty(), text.empty());
            EXPECT_LE(packed.packed_size(), text.size());
            PackedText other;
            other = packed;
            EXPECT_EQ(other.text(), text);
        }
    }
    EXPECT_TRUE(PackedText().empty());
    EXPECT_EQ(PackedText().text(), "");
}

TEST(PackedText, OfWordsIsSmall) {
    std::string rules;
    for (int i = 0; i < 10; ++i)
        rules +=
            R"({"fromEndpoints":[{"matchLabels":{"any:app":"client-)" + std::to_string(i) +
            R"(","k8s:io.kubernetes.pod.namespace":"default"}}],"toPorts":[{"ports":[{"port":"80","protocol":"TCP"}]}]},)";
    EXPECT_LT(PackedText(rules).packed_size(), rules.size() / 4);
}

}  // namespace
}  // namespace axo
