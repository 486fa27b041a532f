// Devices of deleted pods are removed one after the other, and only those that still are theirs.
#include "app/agent/datapath_port.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <cstdlib>

#include "kernel/netlink.h"

namespace axo {
namespace {

// Removing a device asks nothing of it.
struct NoDatapath : Datapath {
    [[noreturn]] static void unused() {
        ADD_FAILURE() << "the datapath was asked";
        std::abort();
    }
    const DatapathDecisions& decisions() const override { unused(); }
    const DatapathStartReport& start_report() const override { unused(); }
    EndpointMap& endpoints() override { unused(); }
    EndpointDeviceMap& endpoint_devices() override { unused(); }
    IpcacheMap& ipcache() override { unused(); }
    Generations& generations() override { unused(); }
    PolicySlabs& policy() override { unused(); }
    FlowMaps& flows() override { unused(); }
    MetricsMap& metrics() override { unused(); }
    IfIndex host_device() const override { unused(); }
    IfIndex tunnel_device() const override { unused(); }
    void set_change_callback(std::function<void()>) override { unused(); }
    Status attach_endpoint(EndpointId, const std::string&, IfIndex) override { unused(); }
    Status detach_endpoint(EndpointId) override { unused(); }
    Status prune_endpoints(const std::vector<EndpointId>&) override { unused(); }
    Status start_events(EventCallback) override { unused(); }
    std::uint64_t events_seen() const override { unused(); }
    std::uint64_t events_lost() const override { unused(); }
    Result<std::vector<MapUsage>> map_usage() override { unused(); }
};

// In a network namespace of its own, which the loop's pool inherits.
class DeviceRemoval : public testing::Test {
protected:
    void SetUp() override {
        if (::geteuid() != 0) GTEST_SKIP() << "needs root";
        original_ = Fd(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
        ASSERT_TRUE(original_);
        ASSERT_EQ(::unshare(CLONE_NEWNET), 0);
        entered_ = true;
        loop_ = std::make_unique<EventLoop>();
        port_ = std::make_unique<DatapathPort>(*loop_, datapath_);
    }
    void TearDown() override {
        port_.reset();
        loop_.reset();
        if (entered_ && ::setns(original_.get(), CLONE_NEWNET) != 0) std::abort();
    }
    EndpointRow device(const std::string& name) {
        auto netlink = Netlink::open();
        EXPECT_TRUE(netlink);
        EXPECT_TRUE(netlink->add_veth({.name = name, .peer_name = name + "p"}));
        EndpointRow row;
        row.interface_name = name;
        row.link = netlink->link(name)->index;
        return row;
    }
    static bool exists(const std::string& name) { return Netlink::open()->link(name).has_value(); }
    void remove(const EndpointRow& row) {
        port_->remove_device(row, [this, name = row.interface_name](Status status) {
            order_ += name + (status ? " " : "(" + status.error().message + ") ");
            if (then_) std::exchange(then_, {})();
            if (--expected_ == 0) loop_->stop();
        });
    }
    void run(int expected) {
        expected_ = expected;
        const auto guard = loop_->after(std::chrono::seconds(10), [this] { loop_->stop(); });
        loop_->run();
        EXPECT_EQ(expected_, 0);
    }

    Fd original_;
    bool entered_ = false;
    NoDatapath datapath_;
    std::unique_ptr<EventLoop> loop_;
    std::unique_ptr<DatapathPort> port_;
    std::string order_;
    std::function<void()> then_;
    int expected_ = 0;
};

TEST_F(DeviceRemoval, InOrderAndEachIsAnswered) {
    const EndpointRow one = device("one"), two = device("two"), kept = device("kept");
    EndpointRow late = device("late");
    EndpointRow gone = one, reused = kept;
    gone.interface_name = "gone";
    gone.link = IfIndex(4000);
    reused.interface_name = "former";  // its number is another device's now
    then_ = [&] { remove(late); };     // while the queue is being worked on
    for (const EndpointRow& row : {one, gone, reused, two}) remove(row);
    EXPECT_EQ(order_, "") << "nothing is answered from within the call";
    run(5);
    EXPECT_EQ(order_, "one gone former two late ");
    EXPECT_FALSE(exists("one") || exists("two") || exists("late"));
    EXPECT_TRUE(exists("kept"));
    order_.clear();
    remove(kept);  // the queue starts again after it was empty
    run(1);
    EXPECT_EQ(order_, "kept ");
    EXPECT_FALSE(exists("kept"));
}

TEST_F(DeviceRemoval, EndsWithThePort) {
    const EndpointRow one = device("one"), two = device("two");
    remove(one);
    remove(two);
    port_.reset();
    const auto stop = loop_->after(std::chrono::milliseconds(200), [this] { loop_->stop(); });
    loop_->run();
    EXPECT_EQ(order_, "") << "whoever waited is gone";
    EXPECT_TRUE(exists("two"));
}

}  // namespace
}  // namespace axo
