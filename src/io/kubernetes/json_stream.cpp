#include "io/kubernetes/json_stream.h"

namespace axo::kubernetes {
namespace {

bool blank(char c) {
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

std::unexpected<Error> too_large(std::size_t limit) {
    return fail(Code::kResourceExhausted, "an object is larger than " + std::to_string(limit >> 20) + " MiB");
}

}  // namespace

bool JsonNesting::take(char c) {
    if (in_string_) {
        if (escaped_) {
            escaped_ = false;
        } else if (c == '\\') {
            escaped_ = true;
        } else if (c == '"') {
            in_string_ = false;
        }
        return false;
    }
    if (c == '"') {
        in_string_ = true;
        return false;
    }
    if (c == '{' || c == '[') ++depth_;
    if (c == '}' || c == ']') --depth_;
    return true;
}

Result<bool> ObjectSplitter::feed(std::string_view piece) {
    std::size_t begin = 0;  // of what is not yet in pending_
    for (std::size_t i = 0; i < piece.size(); ++i) {
        const char c = piece[i];
        if (nesting_.depth() == 0 && !nesting_.in_string()) {
            begin = i;
            if (blank(c)) continue;
            if (c != '{')
                return fail(Code::kDataLoss, "an object is expected where '" + std::string(1, c) + "' stands");
        }
        if (!nesting_.take(c) || nesting_.depth() > 0) continue;
        if (nesting_.depth() < 0) return fail(Code::kDataLoss, "a bracket too many");
        pending_.append(piece, begin, i + 1 - begin);
        begin = i + 1;
        const std::string object = std::exchange(pending_, {});
        if (!sink_(object)) return false;
    }
    if (nesting_.depth() > 0 || nesting_.in_string()) pending_.append(piece, begin);
    if (pending_.size() > limit_) return too_large(limit_);
    return true;
}

Result<bool> ListSplitter::feed(std::string_view piece) {
    for (const char c : piece) {
        if (complete_) {
            if (blank(c)) continue;
            return fail(Code::kDataLoss, "text after the end of the list");
        }
        if (nesting_.depth() == 0 && c != '{') {
            if (blank(c)) continue;
            return fail(Code::kDataLoss, "an object is expected where '" + std::string(1, c) + "' stands");
        }
        const bool was_string = nesting_.in_string();
        const bool structure = nesting_.take(c);
        if (in_items_) {
            TRY_ASSIGN(const bool go_on, take_item(c, structure));
            if (!go_on) return false;
            continue;
        }
        rest_ += c;
        if (rest_.size() > limit_) return too_large(limit_);
        if (nesting_.depth() != 1 && !(nesting_.depth() == 2 && c == '[')) {
            complete_ = structure && nesting_.depth() == 0;
            continue;
        }
        if (nesting_.in_string()) {
            if (!was_string)
                text_.clear();
            else
                text_ += c;
        } else if (structure && c == ':') {
            key_ = text_;
        } else if (structure && c == ',') {
            key_.clear();
        } else if (structure && c == '[' && key_ == "items") {
            in_items_ = true;
        }
    }
    return true;
}

Result<bool> ListSplitter::take_item(char c, bool structure) {
    if (structure && nesting_.depth() < 2) {
        rest_ += c;
        in_items_ = false;
        return true;
    }
    if (item_.empty() && (blank(c) || (structure && c == ','))) return true;
    item_ += c;
    if (item_.size() > limit_) return too_large(limit_);
    if (!structure || nesting_.depth() != 2) {
        // Items are objects; null or text here is nothing that Kubernetes sends.
        if (item_.front() == '{') return true;
        return fail(Code::kDataLoss, "an item of the list is no object");
    }
    if (item_.front() != '{') return fail(Code::kDataLoss, "an item of the list is no object");
    const std::string item = std::exchange(item_, {});
    return sink_(item);
}

}  // namespace axo::kubernetes
