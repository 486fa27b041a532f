// Task<T>: a coroutine of the control loop, for work that waits (for an API server, a timer) without holding the loop.
//
// A Task is lazy and has one owner: awaiting it runs it, destroying it destroys its frame and everything that it waits
// for. That is the cancellation: whoever holds its tasks as a member is never called back after its end. A Task may
// also be a value that is there already; then nothing is allocated and the one who awaits it does not suspend.
//
//   Task<Status> Publisher::sync(ObjectKey key) {          parameters by value: they live in the frame
//       CO_TRY_ASSIGN(Json object, store_.get(kPod, key));  Task or Result
//       …
//       co_return Status{};
//   }
//   tasks_.spawn(sync(key), [this](Status done) { … });    TaskGroup: the owner
//
// Exceptions are not used: one that leaves a coroutine ends the process. Lambdas with captures are no coroutines here:
// the captures die with the lambda. An awaited call stands in a statement of its own (the macros see to that): GCC 12
// destroys temporaries of larger expressions with co_await too early or twice.
// Thread: the loop's only.
#pragma once

#include <coroutine>
#include <exception>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "base/result.h"
#include "runtime/event_loop.h"

namespace axo {

template <class T>
class Task;

namespace task_detail {

struct Root;

// Which spawned tasks are running at this moment, innermost first. A task whose group is destroyed from within it goes
// on until it would wait, and ends there.
struct Active {
    Root* root = nullptr;
    Active* below = nullptr;
    std::coroutine_handle<> orphan{};
};
inline thread_local Active* active = nullptr;

inline Root* current_root() {
    return active == nullptr ? nullptr : active->root;
}
inline void resume(std::coroutine_handle<> coroutine, Root* root) {
    Active record{root, active, {}};
    active = &record;
    coroutine.resume();
    active = record.below;
    if (record.orphan) record.orphan.destroy();
}

template <class T>
using Stored = std::conditional_t<std::is_void_v<T>, std::monostate, T>;

template <class T>
struct Promise;

template <class T>
struct PromiseBase {
    struct Final {
        [[nodiscard]] bool await_ready() const noexcept { return false; }
        std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise<T>> ended) const noexcept {
            return ended.promise().continuation;
        }
        void await_resume() const noexcept {}
    };
    std::suspend_always initial_suspend() noexcept { return {}; }
    Final final_suspend() noexcept { return {}; }
    void unhandled_exception() noexcept { std::terminate(); }

    std::coroutine_handle<> continuation = std::noop_coroutine();
    std::optional<Stored<T>> value;
};

template <class T>
struct Promise : PromiseBase<T> {
    Task<T> get_return_object();
    template <class U>
    void return_value(U&& result) {
        this->value.emplace(std::forward<U>(result));
    }
};
template <>
struct Promise<void> : PromiseBase<void> {
    Task<void> get_return_object();
    void return_void() { value.emplace(); }
};

}  // namespace task_detail

template <class T>
class [[nodiscard]] Task {
public:
    using promise_type = task_detail::Promise<T>;
    using Value = T;

    // A value that is there already.
    template <class U>
        requires(!std::is_void_v<T> && !std::is_same_v<std::remove_cvref_t<U>, Task> && std::is_convertible_v<U, T>)
    Task(U&& value) : value_(std::in_place, std::forward<U>(value)) {}  // NOLINT(google-explicit-constructor)
    static Task ready(task_detail::Stored<T> value = {}) {
        Task task{std::coroutine_handle<promise_type>{}};
        task.value_.emplace(std::move(value));
        return task;
    }

    Task(Task&& other) noexcept
        : coroutine_(std::exchange(other.coroutine_, {})), value_(std::exchange(other.value_, std::nullopt)) {}
    Task& operator=(Task&& other) noexcept {
        if (this != &other) {
            destroy();
            coroutine_ = std::exchange(other.coroutine_, {});
            value_ = std::exchange(other.value_, std::nullopt);
        }
        return *this;
    }
    ~Task() { destroy(); }

    // Whether awaiting it would not even start a coroutine.
    [[nodiscard]] bool is_ready() const { return value_.has_value(); }
    // Of a task that is ready.
    T take() {
        if constexpr (!std::is_void_v<T>) {
            T value = std::move(*value_);
            value_.reset();
            return value;
        }
    }

    struct Awaiter {
        Task& task;
        [[nodiscard]] bool await_ready() const noexcept { return task.is_ready(); }
        std::coroutine_handle<> await_suspend(std::coroutine_handle<> waiting) noexcept {
            task.coroutine_.promise().continuation = waiting;
            return task.coroutine_;
        }
        T await_resume() {
            if (task.coroutine_) {
                task.value_ = std::move(task.coroutine_.promise().value);
                task.destroy();
            }
            return task.take();
        }
    };
    Awaiter operator co_await() && { return {*this}; }

private:
    friend promise_type;
    explicit Task(std::coroutine_handle<promise_type> coroutine) : coroutine_(coroutine) {}
    void destroy() {
        if (coroutine_) std::exchange(coroutine_, {}).destroy();
    }

    std::coroutine_handle<promise_type> coroutine_;
    std::optional<task_detail::Stored<T>> value_;
};

namespace task_detail {

template <class T>
Task<T> Promise<T>::get_return_object() {
    return Task<T>(std::coroutine_handle<Promise<T>>::from_promise(*this));
}
inline Task<void> Promise<void>::get_return_object() {
    return Task<void>(std::coroutine_handle<Promise<void>>::from_promise(*this));
}

template <class T>
Task<Result<T>> as_task(Result<T> result) {
    return Task<Result<T>>(std::move(result));
}
template <class T>
Task<T> as_task(Task<T> task) {
    return task;
}

// The outermost frame of a spawned task.
struct Root {
    struct promise_type;
    using Position = std::list<Root>::iterator;

    explicit Root(std::coroutine_handle<promise_type> frame) : coroutine(frame) {}
    Root(const Root&) = delete;
    Root& operator=(const Root&) = delete;
    Root(Root&& other) noexcept : coroutine(std::exchange(other.coroutine, {})) {}
    ~Root() {
        if (!coroutine) return;
        for (Active* running = active; running != nullptr; running = running->below) {
            if (running->root != this) continue;
            running->root = nullptr;
            running->orphan = abandoned();
            return;
        }
        coroutine.destroy();
    }
    std::coroutine_handle<> abandoned();

    std::coroutine_handle<promise_type> coroutine;
};

struct Root::promise_type {
    using Finish = std::move_only_function<void()>;

    Root get_return_object() { return Root(std::coroutine_handle<promise_type>::from_promise(*this)); }
    std::suspend_always initial_suspend() noexcept { return {}; }
    struct Final {
        [[nodiscard]] bool await_ready() const noexcept { return false; }
        void await_suspend(std::coroutine_handle<promise_type> ended) const noexcept {
            promise_type& promise = ended.promise();
            if (promise.group == nullptr) return;  // an orphan: whoever resumed it destroys it
            for (Active* running = active; running != nullptr; running = running->below) {
                if (running->root == &*promise.position) running->root = nullptr;
            }
            Finish finish = std::move(promise.finish);
            promise.group->erase(promise.position);  // with it this awaiter
            finish();
        }
        void await_resume() const noexcept {}
    };
    Final final_suspend() noexcept { return {}; }
    void unhandled_exception() noexcept { std::terminate(); }
    void return_value(Finish at_end) { finish = std::move(at_end); }

    std::list<Root>* group = nullptr;
    Position position;
    Finish finish;
};

inline std::coroutine_handle<> Root::abandoned() {
    coroutine.promise().group = nullptr;
    return coroutine;
}

template <class T>
Root drive(Task<T> task, std::function<void(T)> done) {
    T value = co_await std::move(task);
    std::move_only_function<void()> finish = [done = std::move(done), value = std::move(value)]() mutable {
        done(std::move(value));
    };
    co_return std::move(finish);
}
Root drive(Task<void> task);

}  // namespace task_detail

// Running tasks and their owner: destroying it ends them. One that is destroyed from within a task of its own lets that
// task go on until it would wait.
class TaskGroup {
public:
    TaskGroup() = default;
    TaskGroup(const TaskGroup&) = delete;
    TaskGroup& operator=(const TaskGroup&) = delete;
    ~TaskGroup() { cancel(); }

    // Runs the task; done gets its value, before spawn returns when nothing had to be waited for. It may destroy the
    // group.
    template <class T>
    void spawn(Task<T> task, std::type_identity_t<std::function<void(T)>> done) {
        if (task.is_ready()) return done(task.take());
        start(task_detail::drive(std::move(task), std::move(done)));
    }
    void spawn(Task<void> task);
    void cancel() {
        const auto ended = std::move(roots_);  // their destructors may look at this group
        roots_.clear();
    }
    [[nodiscard]] bool empty() const { return roots_.empty(); }
    [[nodiscard]] std::size_t size() const { return roots_.size(); }

private:
    void start(task_detail::Root root) {
        roots_.push_back(std::move(root));
        const auto position = std::prev(roots_.end());
        position->coroutine.promise().group = &roots_;
        position->coroutine.promise().position = position;
        task_detail::resume(position->coroutine, &*position);
    }

    std::list<task_detail::Root> roots_;
};

// What a callback will bring to the one task that awaits it. It is a local of that task, so whoever may call set must
// be stopped by the task's other locals (a timer's handle, a request).
template <class T>
class Awaited {
public:
    Awaited() = default;
    Awaited(const Awaited&) = delete;
    Awaited& operator=(const Awaited&) = delete;

    // The first value counts. The task goes on inside this call.
    void set(T value) {
        if (value_) return;
        value_.emplace(std::move(value));
        if (waiting_) task_detail::resume(std::exchange(waiting_, {}), root_);
    }
    [[nodiscard]] bool is_set() const { return value_.has_value(); }

    [[nodiscard]] bool await_ready() const noexcept { return value_.has_value(); }
    void await_suspend(std::coroutine_handle<> waiting) noexcept {
        waiting_ = waiting;
        root_ = task_detail::current_root();
    }
    T await_resume() { return std::move(*value_); }

private:
    std::optional<T> value_;
    std::coroutine_handle<> waiting_;
    task_detail::Root* root_ = nullptr;
};

// Any number of tasks that wait for one outcome.
template <class T>
class Waiters {
public:
    // Of the next settle.
    Task<T> wait() {
        Awaited<T> outcome;
        const Entry entry(*this, outcome);
        co_return co_await outcome;
    }
    void settle(T value) {
        for (const auto& slot : std::exchange(slots_, {})) {
            if (*slot != nullptr) (*slot)->set(value);
        }
    }
    [[nodiscard]] bool empty() const { return slots_.empty(); }

private:
    using Slot = std::shared_ptr<Awaited<T>*>;
    struct Entry {
        Entry(Waiters& all, Awaited<T>& outcome) : slot(std::make_shared<Awaited<T>*>(&outcome)) {
            all.slots_.push_back(slot);
        }
        Entry(const Entry&) = delete;
        Entry& operator=(const Entry&) = delete;
        ~Entry() { *slot = nullptr; }
        Slot slot;
    };
    std::vector<Slot> slots_;
};

Task<void> sleep_for(EventLoop& loop, Duration time);

// kDeadlineExceeded when it takes longer; the task is ended then. what: "releasing the lease".
template <class T>
Task<Result<T>> within(EventLoop& loop, Duration limit, std::string what, Task<Result<T>> task) {
    Awaited<Result<T>> outcome;
    TaskGroup group;
    group.spawn(std::move(task), [&outcome](Result<T> result) { outcome.set(std::move(result)); });
    const auto timer = loop.after(limit, [&outcome, &what, limit] {
        const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(limit).count();
        outcome.set(fail(Code::kDeadlineExceeded, what + ": no answer within " + std::to_string(ms) + " ms"));
    });
    co_return co_await outcome;
}

// For tests and for programs that have nothing else to do: runs the loop until the task has ended.
template <class T>
T run_to_end(EventLoop& loop, Task<T> task) {
    std::optional<T> value;
    bool running = false;
    TaskGroup group;
    group.spawn(std::move(task), [&](T result) {
        value.emplace(std::move(result));
        if (running) loop.stop();
    });
    running = true;
    while (!value) loop.run();
    return std::move(*value);
}

}  // namespace axo

// TRY and TRY_ASSIGN of coroutines. expr: a Task<Result<…>>, which is awaited, or a Result.
#define CO_TRY(expr)                                                                       \
    do {                                                                                   \
        auto axo_try_task = ::axo::task_detail::as_task(expr);                             \
        auto axo_try_status = co_await std::move(axo_try_task);                            \
        if (!axo_try_status) co_return std::unexpected(std::move(axo_try_status).error()); \
    } while (false)

#define CO_TRY_ASSIGN(declaration, expr) \
    CO_TRY_ASSIGN_INNER(declaration, expr, AXO_CONCAT(axo_try_task_, __LINE__), AXO_CONCAT(axo_try_result_, __LINE__))
#define CO_TRY_ASSIGN_INNER(declaration, expr, task, tmp)          \
    auto task = ::axo::task_detail::as_task(expr);                 \
    auto tmp = co_await std::move(task);                           \
    if (!(tmp)) co_return std::unexpected(std::move(tmp).error()); \
    declaration = std::move(*(tmp))

// CO_AWAIT(auto x, expr): binds what the task brings, failure or not.
#define CO_AWAIT(declaration, expr) CO_AWAIT_INNER(declaration, expr, AXO_CONCAT(axo_await_task_, __LINE__))
#define CO_AWAIT_INNER(declaration, expr, task) \
    auto task = (expr);                         \
    declaration = co_await std::move(task)
