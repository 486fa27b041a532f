// Table<Key, Row>: rows in memory, keyed, revisioned, with a change stream.
//
// Writers change rows; each watcher is told once per loop turn which keys changed since it was last
// told, and reads the net state. A slow watcher therefore sees fewer, larger changes and never an
// intermediate one. Rows are values: a reader copies or looks, it cannot change.
// Thread: the loop's only.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "runtime/event_loop.h"

namespace axo {

template <class Key, class Row>
class Table {
public:
    using ChangeCallback = std::function<void(const std::set<Key>& changed)>;

    Table(EventLoop& loop, std::string name) : loop_(loop), name_(std::move(name)) {}
    // Watchers are told nothing any more; their Watch objects may go later.
    ~Table() {
        for (auto& [id, watcher] : *watchers_) watcher->cancelled = true;
    }
    Table(const Table&) = delete;
    Table& operator=(const Table&) = delete;

    [[nodiscard]] const std::string& name() const { return name_; }
    [[nodiscard]] const std::map<Key, Row>& rows() const { return rows_; }
    [[nodiscard]] std::size_t size() const { return rows_.size(); }
    // Grows with every change; 0: never written.
    [[nodiscard]] std::uint64_t revision() const { return revision_; }
    [[nodiscard]] const Row* find(const Key& key) const {
        const auto it = rows_.find(key);
        return it == rows_.end() ? nullptr : &it->second;
    }

    // Returns whether anything changed; an equal row is not a change.
    bool upsert(const Key& key, Row row) {
        const auto it = rows_.find(key);
        if (it != rows_.end()) {
            if (it->second == row) return false;
            it->second = std::move(row);
        } else {
            rows_.emplace(key, std::move(row));
        }
        changed(key);
        return true;
    }
    bool erase(const Key& key) {
        if (rows_.erase(key) == 0) return false;
        changed(key);
        return true;
    }

    // The source has delivered everything it had at start: pruning what is not desired is safe from now on.
    void mark_initialized() {
        if (initialized_) return;
        initialized_ = true;
        for (auto& [id, watcher] : *watchers_) schedule(*watcher);
    }
    [[nodiscard]] bool initialized() const { return initialized_; }

    class Watch {
    public:
        Watch() = default;
        explicit Watch(std::function<void()> cancel) : cancel_(std::move(cancel)) {}
        Watch(Watch&& other) noexcept : cancel_(std::exchange(other.cancel_, nullptr)) {}
        Watch& operator=(Watch&& other) noexcept {
            if (this != &other) {
                if (cancel_) cancel_();
                cancel_ = std::exchange(other.cancel_, nullptr);
            }
            return *this;
        }
        ~Watch() {
            if (cancel_) cancel_();
        }

    private:
        std::function<void()> cancel_;
    };

    // The first call carries all present keys (also when there are none), asynchronously.
    [[nodiscard]] Watch watch(ChangeCallback callback) {
        auto watcher = std::make_shared<Watcher>();
        watcher->callback = std::move(callback);
        for (const auto& [key, row] : rows_) watcher->pending.insert(key);
        const std::uint64_t id = ++next_watcher_;
        watchers_->emplace(id, watcher);
        schedule(*watcher);
        return Watch([watchers = std::weak_ptr(watchers_), id, watcher] {
            watcher->cancelled = true;
            if (const auto all = watchers.lock()) all->erase(id);
        });
    }

private:
    struct Watcher : std::enable_shared_from_this<Watcher> {
        ChangeCallback callback;
        std::set<Key> pending;
        bool scheduled = false;
        bool cancelled = false;
    };

    void changed(const Key& key) {
        ++revision_;
        for (auto& [id, watcher] : *watchers_) {
            watcher->pending.insert(key);
            schedule(*watcher);
        }
    }

    void schedule(Watcher& watcher) {
        if (watcher.scheduled) return;
        watcher.scheduled = true;
        loop_.post([self = watcher.shared_from_this()] {
            if (self->cancelled) return;
            self->scheduled = false;
            const std::set<Key> keys = std::exchange(self->pending, {});
            self->callback(keys);
        });
    }

    EventLoop& loop_;
    std::string name_;
    std::map<Key, Row> rows_;
    std::uint64_t revision_ = 0;
    bool initialized_ = false;
    std::uint64_t next_watcher_ = 0;
    using Watchers = std::map<std::uint64_t, std::shared_ptr<Watcher>>;
    std::shared_ptr<Watchers> watchers_ = std::make_shared<Watchers>();
};

}  // namespace axo
