#include "kernel/nft_table.h"

#include <gtest/gtest.h>

#include "kernel/command.h"
#include "kernel/scratch_netns.h"

namespace axo {
namespace {

TEST(NftTable, ListedAndRemovedAlone) {
    const ScratchNetns netns;
    netns.inside([] {
        ASSERT_OK(nft_tables());
        EXPECT_EQ(nft_tables().value(), std::set<std::string>{});
        const auto made =
            run_command({"iptables-nft-restore", "--noflush"},
                        "*nat\n:OURS - [0:0]\n-A POSTROUTING -j OURS\nCOMMIT\n*raw\n:OURS - [0:0]\nCOMMIT\n",
                        std::chrono::seconds(10));
        ASSERT_OK(made);
        ASSERT_EQ(made->exit_status, 0) << made->err;
        EXPECT_TRUE(nft_tables().value().contains("ip nat"));
        EXPECT_TRUE(nft_tables().value().contains("ip raw"));
        ASSERT_OK(remove_nft_table("ip nat"));
        EXPECT_EQ(nft_tables().value(), std::set<std::string>{"ip raw"});
        EXPECT_OK(remove_nft_table("ip nat"));
        EXPECT_EQ(remove_nft_table("nat").error().code, Code::kInvalidArgument);
        EXPECT_EQ(remove_nft_table("ipx nat").error().code, Code::kInvalidArgument);
    });
}

}  // namespace
}  // namespace axo
