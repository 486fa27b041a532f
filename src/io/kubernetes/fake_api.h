// For tests: an API server on the loopback address that behaves, or misbehaves, as the test says.
//
// Objects live in memory, each change has a resourceVersion, watches are told, what is older than the compaction is
// answered with 410. On a raw socket, so that answers may end anywhere. Thread: the loop's only.
#pragma once

#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/fd.h"
#include "model/json.h"
#include "runtime/event_loop.h"

namespace axo::kubernetes {

class FakeApi {
public:
    explicit FakeApi(EventLoop& loop);
    ~FakeApi();
    FakeApi(const FakeApi&) = delete;
    FakeApi& operator=(const FakeApi&) = delete;

    [[nodiscard]] std::string address() const { return "http://127.0.0.1:" + std::to_string(port_); }

    // collection: "/api/v1/pods" whatever the namespace.
    void put(const std::string& collection, Json object);
    void erase(const std::string& collection, const std::string& name_space, const std::string& name);
    [[nodiscard]] Json object(const std::string& collection, const std::string& name_space,
                              const std::string& name) const;
    // Watches cannot go on from what is older than now.
    void compact() { compacted_ = revision_; }
    void bookmark(const std::string& collection);
    // Ends all connections, as a restart does.
    void disconnect();
    // Nobody listens; and again.
    void down();
    void up();

    std::size_t page_limit = 1000;  // at most so many items in one answer
    // Kinds that are not served: "/apis/cilium.io/v2".
    std::map<std::string, std::vector<std::string>> resources;  // of a group's version, for discovery
    struct Asked {
        std::string method, target, authorization, accept, body;
    };
    std::vector<Asked> asked;
    // Looked at before anything else: the raw answer to a request, or "" for the normal one. "-": the connection is
    // closed, "?": no answer at all.
    std::function<std::string(const Asked&)> answer;

    [[nodiscard]] std::size_t count(const std::string& method, const std::string& part) const;
    // A whole HTTP answer.
    static std::string http(int status, const std::string& body, const std::string& headers = "");
    static std::string status_body(int code, const std::string& reason, const std::string& message,
                                   const Json& details = Json::object());

private:
    struct Client {
        Fd fd;
        std::string in;
        std::string watching;  // the collection; "": none
        std::string selector;
        EventLoop::Handle readable;
        bool closed = false;
    };
    void listen(std::uint16_t port);
    void accept();
    void read(Client& client);
    void serve(Client& client, const Asked& request);
    void list(Client& client, const std::string& collection, const std::map<std::string, std::string>& query);
    void watch(Client& client, const std::string& collection, const std::map<std::string, std::string>& query);
    void write(Client& client, const std::string& collection, const std::string& key, bool status,
               const Asked& request);
    void send(Client& client, const std::string& text);
    void event(const std::string& type, const std::string& collection, const Json& object);
    void reap();

    struct Event {
        std::int64_t revision;
        std::string collection, type;
        Json object;
    };
    EventLoop& loop_;
    Fd listener_;
    std::uint16_t port_ = 0;
    EventLoop::Handle acceptable_, reaper_;
    std::list<Client> clients_;
    std::map<std::string, std::map<std::string, Json>> objects_;  // collection, "namespace/name"
    std::vector<Event> events_;
    std::int64_t revision_ = 100, compacted_ = 0;
};

}  // namespace axo::kubernetes
