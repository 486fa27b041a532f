#include "app/agent/monitor_notices.h"

#include <gtest/gtest.h>

#include "app/agent/hubble_events.h"
#include "model/json.h"

namespace axo {
namespace {

// What a tap of agent events makes of them.
class MonitorNotices : public testing::Test {
protected:
    MonitorNotices() {
        events_.set_tap([this](const std::string& event) { last_ = monitor_notice(event); });
        endpoint_.id = EndpointId(12);
        endpoint_.k8s_pod = "web";
        endpoint_.k8s_namespace = "default";
        endpoint_.labels = LabelSet{Label::parse("k8s:app=web")};
    }
    void expect(AgentNotice::Type type, const std::string& json) {
        ASSERT_TRUE(last_);
        EXPECT_EQ(last_->type, type);
        EXPECT_EQ(Json::parse(last_->text), Json::parse(json)) << last_->text;
    }

    hubble::AgentEvents events_;
    std::optional<AgentNotice> last_;
    EndpointRow endpoint_;
};

TEST_F(MonitorNotices, Started) {
    hubble_events::started(events_);
    ASSERT_TRUE(last_);
    EXPECT_EQ(last_->type, AgentNotice::kStarted);
    EXPECT_TRUE(Json::parse(last_->text)["time"].get<std::string>().ends_with("Z")) << last_->text;
}

TEST_F(MonitorNotices, Policies) {
    hubble_events::policy_changed(events_, false, {"k8s:a=b"}, 3, 2);
    expect(AgentNotice::kPolicyUpdated, R"({"labels":["k8s:a=b"],"revision":3,"rule_count":2})");
    hubble_events::policy_changed(events_, true, {}, 4, 0);
    expect(AgentNotice::kPolicyDeleted, R"({"revision":4,"rule_count":0})");
}

TEST_F(MonitorNotices, Endpoints) {
    hubble_events::endpoint_made(events_, endpoint_);
    expect(AgentNotice::kEndpointCreated,
           R"({"id":12,"labels":["k8s:app=web"],"namespace":"default","pod-name":"web"})");
    hubble_events::endpoint_gone(events_, endpoint_);
    expect(AgentNotice::kEndpointDeleted,
           R"({"id":12,"labels":["k8s:app=web"],"namespace":"default","pod-name":"web"})");
    hubble_events::endpoint_regenerated(events_, endpoint_, "");
    expect(AgentNotice::kEndpointRegenerated, R"({"id":12,"labels":["k8s:app=web"]})");
    hubble_events::endpoint_regenerated(events_, endpoint_, "no room");
    expect(AgentNotice::kEndpointNotRegenerated, R"({"error":"no room","id":12,"labels":["k8s:app=web"]})");
}

TEST_F(MonitorNotices, Ipcache) {
    IpcacheRow row;
    row.identity = IdentityId(300);
    row.host_ip = IpAddress::parse("192.168.0.2").value();
    row.k8s_namespace = "default";
    row.name = "web";
    hubble_events::ipcache_changed(events_, Prefix::parse("10.0.0.7/32").value(), &row);
    expect(AgentNotice::kIpcacheUpserted, R"({"cidr":"10.0.0.7/32","encrypt-key":0,"host-ip":"192.168.0.2","id":300,)"
                                          R"("namespace":"default","pod-name":"web"})");
    hubble_events::ipcache_changed(events_, Prefix::parse("10.0.0.7/32").value(), nullptr);
    expect(AgentNotice::kIpcacheDeleted, R"({"cidr":"10.0.0.7/32","encrypt-key":0,"id":0})");
}

TEST_F(MonitorNotices, ServicesAreNotTold) {
    hubble_events::service_deleted(events_, 7);
    EXPECT_FALSE(last_);
    EXPECT_FALSE(monitor_notice("no message"));
}

}  // namespace
}  // namespace axo
