// JSON that arrives in pieces, cut where one object ends: no answer is ever held as a whole.
// Thread: any one at a time.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace axo::kubernetes {

// Follows the nesting of JSON byte by byte; what it does not look at (numbers, words) is the parser's business.
class JsonNesting {
public:
    // Takes one byte. Returns whether it is structure: outside of strings, and no string's quote.
    bool take(char c);
    [[nodiscard]] int depth() const { return depth_; }
    [[nodiscard]] bool in_string() const { return in_string_; }

private:
    int depth_ = 0;
    bool in_string_ = false, escaped_ = false;
};

// Objects one after the other, as a watch sends them.
class ObjectSplitter {
public:
    using Sink = std::function<bool(std::string_view object)>;
    // limit: of one object. The sink may return false: no more.
    ObjectSplitter(std::size_t limit, Sink sink) : limit_(limit), sink_(std::move(sink)) {}

    // false: the sink has had enough. kDataLoss: that is no sequence of objects; kResourceExhausted.
    Result<bool> feed(std::string_view piece);
    // Part of an object has come, but not its end.
    [[nodiscard]] bool incomplete() const { return !pending_.empty(); }

private:
    std::size_t limit_;
    Sink sink_;
    JsonNesting nesting_;
    std::string pending_;
};

// A Kubernetes list: {"kind": …, "metadata": …, "items": [{…}, {…}]}.
class ListSplitter {
public:
    ListSplitter(std::size_t limit, ObjectSplitter::Sink sink) : limit_(limit), sink_(std::move(sink)) {}

    Result<bool> feed(std::string_view piece);
    // The document without its items, once it is complete.
    [[nodiscard]] const std::string& rest() const { return rest_; }
    [[nodiscard]] bool complete() const { return complete_; }

private:
    Result<bool> take_item(char c, bool structure);

    std::size_t limit_;
    ObjectSplitter::Sink sink_;
    JsonNesting nesting_;
    std::string rest_, item_, text_, key_;
    bool in_items_ = false, complete_ = false;
};

}  // namespace axo::kubernetes
