// Error and Result<T>: how every fallible function of this code base reports failure.
//
// Error codes are the canonical set known from gRPC and Abseil, so they cross every boundary
// (REST, gRPC, logs) unchanged. A message names the object, the field, the value and what would
// have been accepted. Exceptions stay inside calls of third-party libraries.
// Thread: any (values).
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace axo {

enum class Code {
    kCancelled,
    kUnknown,
    kInvalidArgument,
    kDeadlineExceeded,
    kNotFound,
    kAlreadyExists,
    kPermissionDenied,
    kResourceExhausted,
    kFailedPrecondition,
    kAborted,  // lost a compare-and-swap: read again and retry
    kOutOfRange,
    kUnimplemented,
    kInternal,
    kUnavailable,
    kDataLoss,
};

std::string_view code_name(Code code);

struct Error {
    Code code = Code::kUnknown;
    std::string message;
    int sys_errno = 0;  // 0 where no system call was involved

    // "opening /x/y: " in front of the message; errors gain context on their way up.
    Error with_context(std::string_view context) &&;
    [[nodiscard]] std::string to_string() const;
};

template <class T>
using Result = std::expected<T, Error>;
using Status = Result<void>;

inline std::unexpected<Error> fail(Code code, std::string message) {
    return std::unexpected<Error>(Error{code, std::move(message), 0});
}

// Maps errno to a canonical code and appends strerror: "open /x/y: No such file or directory".
// Pass err explicitly when anything ran between the failing call and this one.
std::unexpected<Error> fail_errno(std::string_view what, int err);
std::unexpected<Error> fail_errno(std::string_view what);

inline std::unexpected<Error> forward_error(Error error) {
    return std::unexpected<Error>(std::move(error));
}

}  // namespace axo

#define AXO_CONCAT_INNER(a, b) a##b
#define AXO_CONCAT(a, b) AXO_CONCAT_INNER(a, b)

// TRY(expr): returns the error of a Status expression to the caller.
#define TRY(expr)                                                                       \
    do {                                                                                \
        auto axo_try_status = (expr);                                                   \
        if (!axo_try_status) return std::unexpected(std::move(axo_try_status).error()); \
    } while (false)

// TRY_ASSIGN(auto x, expr): binds the value of a Result or returns its error.
#define TRY_ASSIGN(declaration, expr) TRY_ASSIGN_INNER(declaration, expr, AXO_CONCAT(axo_try_result_, __LINE__))
#define TRY_ASSIGN_INNER(declaration, expr, tmp)                \
    auto tmp = (expr);                                          \
    if (!(tmp)) return std::unexpected(std::move(tmp).error()); \
    declaration = std::move(*(tmp))
