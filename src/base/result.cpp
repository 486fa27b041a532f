#include "base/result.h"

#include <cerrno>
#include <cstring>

namespace axo {

std::string_view code_name(Code code) {
    switch (code) {
        case Code::kCancelled: return "cancelled";
        case Code::kUnknown: return "unknown";
        case Code::kInvalidArgument: return "invalid argument";
        case Code::kDeadlineExceeded: return "deadline exceeded";
        case Code::kNotFound: return "not found";
        case Code::kAlreadyExists: return "already exists";
        case Code::kPermissionDenied: return "permission denied";
        case Code::kResourceExhausted: return "resource exhausted";
        case Code::kFailedPrecondition: return "failed precondition";
        case Code::kAborted: return "aborted";
        case Code::kOutOfRange: return "out of range";
        case Code::kUnimplemented: return "unimplemented";
        case Code::kInternal: return "internal";
        case Code::kUnavailable: return "unavailable";
        case Code::kDataLoss: return "data loss";
    }
    return "unknown";
}

Error Error::with_context(std::string_view context) && {
    message.insert(0, std::string(context) + ": ");
    return std::move(*this);
}

std::string Error::to_string() const {
    return message.empty() ? std::string(code_name(code)) : message;
}

namespace {

Code code_from_errno(int err) {
    switch (err) {
        case EINVAL: return Code::kInvalidArgument;
        case ENOENT:
        case ESRCH:
        case ENODEV:
        case ENXIO: return Code::kNotFound;
        case EEXIST: return Code::kAlreadyExists;
        case EPERM:
        case EACCES: return Code::kPermissionDenied;
        case ENOSPC:
        case ENOMEM:
        case EMFILE:
        case ENFILE:
        case E2BIG:
        case EDQUOT: return Code::kResourceExhausted;
        case ETIMEDOUT: return Code::kDeadlineExceeded;
        case ENOSYS:
        case EOPNOTSUPP: return Code::kUnimplemented;
        case ECONNREFUSED:
        case ECONNRESET:
        case EPIPE:
        case EAGAIN: return Code::kUnavailable;
        case ECANCELED: return Code::kCancelled;
        case ERANGE: return Code::kOutOfRange;
        default: return Code::kUnknown;
    }
}

}  // namespace

std::unexpected<Error> fail_errno(std::string_view what, int err) {
    return std::unexpected<Error>(Error{code_from_errno(err), std::string(what) + ": " + std::strerror(err), err});
}

std::unexpected<Error> fail_errno(std::string_view what) {
    return fail_errno(what, errno);
}

}  // namespace axo
