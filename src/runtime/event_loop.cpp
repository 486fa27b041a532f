#include "runtime/event_loop.h"

#include <fcntl.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <unordered_set>
#include <utility>

#include "base/log.h"

namespace axo {
namespace {

using IoContext = boost::asio::io_context;
using boost::system::error_code;

// steady_clock counts nanoseconds in 64 bits; "practically never" must not overflow into the past.
constexpr Duration kLongestDelay = std::chrono::hours(24 * 365 * 10);

Duration clamp_delay(Duration delay) {
    return std::clamp(delay, Duration{0}, kLongestDelay);
}

// Threads for work that blocks (fsync, synchronous HTTP). They start with the first use: most short-lived
// processes never need one.
class BlockingPool {
public:
    ~BlockingPool() {
        {
            const std::lock_guard lock(mutex_);
            stopping_ = true;
            queue_.clear();
        }
        wake_.notify_all();
        for (std::thread& thread : threads_) thread.join();
    }

    void submit(std::function<void()> job) {
        const std::lock_guard lock(mutex_);
        queue_.push_back(std::move(job));
        if (idle_ < queue_.size() && threads_.size() < kThreads) threads_.emplace_back([this] { serve(); });
        wake_.notify_one();
    }

private:
    static constexpr std::size_t kThreads = 4;

    void serve() {
        std::unique_lock lock(mutex_);
        for (;;) {
            ++idle_;
            wake_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
            --idle_;
            if (stopping_) return;
            auto job = std::move(queue_.front());
            queue_.pop_front();
            lock.unlock();
            job();
            job = nullptr;  // its captures die here, not under the lock
            lock.lock();
        }
    }

    std::mutex mutex_;
    std::condition_variable wake_;
    std::deque<std::function<void()>> queue_;
    std::vector<std::thread> threads_;
    std::size_t idle_ = 0;
    bool stopping_ = false;
};

}  // namespace

// A registration lives as long as its handle or an outstanding operation of Asio, whichever is longer. The loop keeps
// a list of them so that handles may outlive the loop: it closes what still hangs on its io_context.
struct EventLoop::Handle::State : std::enable_shared_from_this<State> {
    using Registry = std::unordered_set<State*>;

    explicit State(std::shared_ptr<Registry> all) : registry(std::move(all)) { registry->insert(this); }
    virtual ~State() { registry->erase(this); }
    State(const State&) = delete;
    State& operator=(const State&) = delete;

    void cancel() {
        cancelled = true;
        close();
        // Moved out first: the captures may hold what leads back here.
        if (!running) const auto dropped = std::exchange(work, nullptr);
    }
    // Runs the callback unless cancelled; afterwards tells whether to arm again.
    bool fire(int value) {
        if (cancelled) return false;
        running = true;
        work(value);
        running = false;
        if (!cancelled) return true;
        const auto dropped = std::exchange(work, nullptr);
        return false;
    }
    // Ends the outstanding operation and gives up the Asio object.
    virtual void close() = 0;

    std::shared_ptr<Registry> registry;
    std::function<void(int)> work;
    bool cancelled = false;
    bool running = false;
};

namespace {

using State = EventLoop::Handle::State;

template <class Derived>
std::shared_ptr<Derived> self_of(Derived* state) {
    return std::static_pointer_cast<Derived>(state->shared_from_this());
}

struct TimerState : State {
    TimerState(std::shared_ptr<Registry> all, IoContext& io, Duration repeat_every)
        : State(std::move(all)), timer(std::in_place, io), interval(repeat_every) {}

    void start(Duration delay) {
        timer->expires_after(delay);
        wait();
    }
    void wait() {
        timer->async_wait([self = self_of(this)](const error_code& error) {
            if (error || !self->fire(0) || self->interval == Duration{0}) return;
            // Fixed rate; intervals missed while something blocked are skipped, not made up.
            const auto now = std::chrono::steady_clock::now();
            auto next = self->timer->expiry() + self->interval;
            if (next < now) next = now + self->interval;
            self->timer->expires_at(next);
            self->wait();
        });
    }
    void close() override { timer.reset(); }

    std::optional<boost::asio::steady_timer> timer;
    Duration interval;  // 0: once
};

struct ReadableState : State {
    ReadableState(std::shared_ptr<Registry> all, IoContext& io)
        : State(std::move(all)), descriptor(std::in_place, io) {}
    ~ReadableState() override { release(); }

    void wait() {
        // Asio makes the descriptor non-blocking on its first wait. It never reads from it, and the mode is the
        // owner's choice (libnl waits for acknowledgements in blocking mode), so it is put back.
        const int fd = descriptor->native_handle();
        const int flags = std::exchange(made_nonblocking, true) ? -1 : ::fcntl(fd, F_GETFL);
        descriptor->async_wait(boost::asio::posix::stream_descriptor::wait_read,
                               [self = self_of(this)](const error_code& error) {
                                   if (error || !self->fire(0)) return;
                                   self->wait();
                               });
        if (flags >= 0 && ::fcntl(fd, F_GETFL) != flags) ::fcntl(fd, F_SETFL, flags);
    }
    void release() {
        if (descriptor && descriptor->is_open()) descriptor->release();  // the caller closes it
    }
    void close() override {
        release();
        descriptor.reset();
    }

    std::optional<boost::asio::posix::stream_descriptor> descriptor;
    bool made_nonblocking = false;  // by asio, and put back
};

struct SignalState : State {
    SignalState(std::shared_ptr<Registry> all, IoContext& io, int number)
        : State(std::move(all)), signals(std::in_place, io, number) {}

    void wait() {
        signals->async_wait([self = self_of(this)](const error_code& error, int number) {
            if (error || !self->fire(number)) return;
            self->wait();
        });
    }
    void close() override { signals.reset(); }

    std::optional<boost::asio::signal_set> signals;
};

}  // namespace

EventLoop::Handle& EventLoop::Handle::operator=(Handle&& other) noexcept {
    if (this != &other) {
        auto incoming = std::move(other.state_);
        cancel();
        state_ = std::move(incoming);
    }
    return *this;
}

void EventLoop::Handle::cancel() {
    if (const auto state = std::exchange(state_, nullptr)) state->cancel();
}

struct EventLoop::Impl {
    ~Impl() {
        pool.reset();  // waits for running work; what it posted is dropped with the io_context
        while (!registry->empty()) {
            const auto state = (*registry->begin())->shared_from_this();
            registry->erase(state.get());
            state->cancel();
        }
    }

    std::shared_ptr<State::Registry> registry = std::make_shared<State::Registry>();
    IoContext io{1};
    boost::asio::executor_work_guard<IoContext::executor_type> work{io.get_executor()};
    std::mutex pool_mutex;
    std::unique_ptr<BlockingPool> pool;
};

EventLoop::EventLoop() : impl_(std::make_unique<Impl>()) {}
EventLoop::~EventLoop() = default;

void EventLoop::run() {
    impl_->io.run();
    impl_->io.restart();
}

void EventLoop::stop() {
    impl_->io.stop();
}

void EventLoop::post(std::function<void()> work) {
    boost::asio::post(impl_->io, std::move(work));
}

EventLoop::Handle EventLoop::after(Duration delay, std::function<void()> work) {
    auto state = std::make_shared<TimerState>(impl_->registry, impl_->io, Duration{0});
    state->work = [work = std::move(work)](int) { work(); };
    state->start(clamp_delay(delay));
    return Handle(std::move(state));
}

EventLoop::Handle EventLoop::every(Duration interval, std::function<void()> work) {
    interval = std::max(clamp_delay(interval), Duration{1});
    auto state = std::make_shared<TimerState>(impl_->registry, impl_->io, interval);
    state->work = [work = std::move(work)](int) { work(); };
    state->start(interval);
    return Handle(std::move(state));
}

EventLoop::Handle EventLoop::on_readable(int fd, std::function<void()> work) {
    auto state = std::make_shared<ReadableState>(impl_->registry, impl_->io);
    state->work = [work = std::move(work)](int) { work(); };
    error_code error;
    (void)state->descriptor->assign(fd, error);
    if (error) {
        Logger("event-loop").error("Cannot watch descriptor", {{"fd", fd}, {"error", error.message()}});
        return {};
    }
    state->wait();
    return Handle(std::move(state));
}

EventLoop::Handle EventLoop::on_signal(int signal_number, std::function<void(int)> work) {
    try {
        auto state = std::make_shared<SignalState>(impl_->registry, impl_->io, signal_number);
        state->work = std::move(work);
        state->wait();
        return Handle(std::move(state));
    } catch (const boost::system::system_error& error) {
        Logger("event-loop").error("Cannot catch signal", {{"signal", signal_number}, {"error", error.what()}});
        return {};
    }
}

void EventLoop::run_blocking(std::function<Status()> work, std::function<void(Status)> done) {
    const std::lock_guard lock(impl_->pool_mutex);
    if (!impl_->pool) impl_->pool = std::make_unique<BlockingPool>();
    impl_->pool->submit([&io = impl_->io, work = std::move(work), done = std::move(done)]() mutable {
        Status outcome;
        try {
            outcome = work();
        } catch (const std::exception& error) {
            outcome = fail(Code::kInternal, std::string("exception in background work: ") + error.what());
        }
        // `done` (and what it captured) is destroyed on the loop's thread as well.
        boost::asio::post(
            io, [done = std::move(done), outcome = std::move(outcome)]() mutable { done(std::move(outcome)); });
    });
}

boost::asio::io_context& EventLoop::io_context() {
    return impl_->io;
}

}  // namespace axo
