// For tests: an object store in a temporary directory, its event loop, and waiting for what is to happen.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/file.h"
#include "io/resources.h"
#include "model/json.h"
#include "runtime/controller.h"

namespace axo {

// A store whose operations tests call like functions: they run the loop until the answer is there.
class SyncStore {
public:
    SyncStore() = default;
    SyncStore(EventLoop& loop, std::unique_ptr<ObjectStore> store) : loop_(&loop), store_(std::move(store)) {}
    SyncStore(EventLoop& loop, Result<std::unique_ptr<ObjectStore>> store)
        : SyncStore(loop, std::move(store).value()) {}

    Result<Json> get(const ResourceType& type, const ObjectKey& key) const { return run(store_->get(type, key)); }
    Result<std::vector<Json>> list(const ResourceType& type) const { return run(store_->list(type)); }
    Result<Json> create(const ResourceType& type, const Json& object) const {
        return run(store_->create(type, object));
    }
    Result<Json> update(const ResourceType& type, const Json& object) const {
        return run(store_->update(type, object));
    }
    Result<Json> update_status(const ResourceType& type, const Json& object) const {
        return run(store_->update_status(type, object));
    }
    Status remove(const ResourceType& type, const ObjectKey& key) const { return run(store_->remove(type, key)); }
    std::unique_ptr<ObjectStore::Watch> watch(const ResourceType& type, ObjectStore::WatchHandler handler,
                                              WatchOptions options = {}) const {
        return store_->watch(type, std::move(handler), std::move(options));
    }
    [[nodiscard]] std::vector<ObjectStore::Rejected> rejected() const { return store_->rejected(); }
    [[nodiscard]] std::string describe() const { return store_->describe(); }

    const SyncStore* operator->() const { return this; }
    ObjectStore& operator*() const { return *store_; }
    explicit operator bool() const { return store_ != nullptr; }
    void reset() { store_.reset(); }

private:
    template <class T>
    T run(Task<T> task) const {
        return run_to_end(*loop_, std::move(task));
    }
    EventLoop* loop_ = nullptr;
    std::unique_ptr<ObjectStore> store_;
};

class StoreTest : public testing::Test {
protected:
    StoreTest() {
        std::string pattern = (std::filesystem::temp_directory_path() / "axo-store-XXXXXX").string();
        directory_ = mkdtemp(pattern.data());
        store_ = SyncStore(loop_, open_object_store("dir:" + directory_.string(), loop_));
    }
    ~StoreTest() override {
        store_.reset();
        std::filesystem::remove_all(directory_);
    }

    // Runs the loop until the condition holds or the time is over; returns whether it held.
    bool wait_until(const std::function<bool()>& condition, Duration limit = std::chrono::seconds(5)) {
        bool held = false;
        const auto deadline = std::chrono::steady_clock::now() + limit;
        const auto poll = loop_.every(std::chrono::milliseconds(2), [&] {
            held = condition();
            if (held || std::chrono::steady_clock::now() > deadline) loop_.stop();
        });
        loop_.run();
        return held;
    }
    void run_for(Duration time) {
        wait_until([] { return false; }, time);
    }

    // A manifest as somebody who edits the directory leaves it.
    void write(const std::string& file, const std::string& text) {
        const std::filesystem::path hidden = directory_ / ("." + file);
        std::ofstream(hidden) << text;
        std::filesystem::rename(hidden, directory_ / file);
    }
    void erase(const std::string& file) { std::filesystem::remove(directory_ / file); }

    Json put(const ResourceType& type, Json object) {
        object["apiVersion"] = type.api_version();
        object["kind"] = type.kind;
        auto made = store_->create(type, object);
        EXPECT_TRUE(made) << made.error().message;
        return made.value_or(Json());
    }
    void drop(const ResourceType& type, const ObjectKey& key) {
        const auto dropped = store_->remove(type, key);
        EXPECT_TRUE(dropped);
    }
    // The object, or null.
    Json get(const ResourceType& type, const ObjectKey& key) { return store_->get(type, key).value_or(Json()); }
    bool exists(const ResourceType& type, const ObjectKey& key) { return store_->get(type, key).has_value(); }

    std::filesystem::path directory_;
    EventLoop loop_;
    ControllerRegistry registry_;
    SyncStore store_;
};

}  // namespace axo
