#include "runtime/task.h"

namespace axo {

namespace task_detail {

Root drive(Task<void> task) {
    co_await std::move(task);
    std::move_only_function<void()> nothing = [] {};
    co_return std::move(nothing);
}

}  // namespace task_detail

void TaskGroup::spawn(Task<void> task) {
    if (!task.is_ready()) start(task_detail::drive(std::move(task)));
}

Task<void> sleep_for(EventLoop& loop, Duration time) {
    Awaited<std::monostate> over;
    const auto timer = loop.after(time, [&over] { over.set({}); });
    co_await over;
}

}  // namespace axo
