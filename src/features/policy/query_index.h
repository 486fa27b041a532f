// Which of many label queries take a set of labels, without trying all of them. Pure. Thread: one.
//
// Each query is filed under one condition that it cannot do without: a label's value or a key. Queries
// that only say what must not be there are tried every time.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "features/policy/match.h"

namespace axo::policy {

struct StringHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
};
template <class Value>
using StringMap = std::unordered_map<std::string, Value, StringHash, std::equal_to<>>;

// The requirement that the fewest labels fulfil, as far as one can tell without seeing any; null if all of them are
// fulfilled by absent labels.
inline const Requirement* narrowest(const LabelQuery& query) {
    const Requirement* best = nullptr;
    for (const Requirement& one : query.all) {
        if (one.op == Requirement::Op::kIn) {
            if (best == nullptr || best->op == Requirement::Op::kExists || one.values.size() < best->values.size()) {
                best = &one;
            }
        } else if (one.op == Requirement::Op::kExists && best == nullptr) {
            best = &one;
        }
    }
    return best;
}

template <class Token>
class QueryIndex {
public:
    // The query has to live, unchanged, until remove.
    void add(Token token, const LabelQuery& query) {
        const Entry entry{token, &query};
        const Requirement* best = narrowest(query);
        if (best == nullptr) {
            always_.push_back(entry);
            return;
        }
        Key& key = keys_[best->key];
        if (best->op == Requirement::Op::kExists) {
            key.exists.push_back(entry);
        } else {
            for (const std::string& value : best->values) key.values[value].push_back(entry);
        }
    }
    void remove(Token token, const LabelQuery& query) {
        const Requirement* best = narrowest(query);
        if (best == nullptr) {
            erase(always_, token);
            return;
        }
        const auto key = keys_.find(best->key);
        if (best->op == Requirement::Op::kExists) {
            erase(key->second.exists, token);
        } else {
            for (const std::string& value : best->values) {
                const auto entries = key->second.values.find(value);
                erase(entries->second, token);
                if (entries->second.empty()) key->second.values.erase(entries);
            }
        }
        if (key->second.exists.empty() && key->second.values.empty()) keys_.erase(key);
    }
    // Calls found(token) once for each query that takes the labels, in no particular order.
    template <class Found>
    void match(const LabelSet& labels, Found found) const {
        try_all(always_, labels, nullptr, found);
        for (const Label& label : labels) {
            const auto key = keys_.find(label.key);
            if (key == keys_.end()) continue;
            try_all(key->second.exists, labels, &label, found);
            if (const auto entries = key->second.values.find(label.value); entries != key->second.values.end()) {
                try_all(entries->second, labels, &label, found);
            }
        }
    }

private:
    struct Entry {
        Token token;
        const LabelQuery* query;
    };
    struct Key {
        std::vector<Entry> exists;
        StringMap<std::vector<Entry>> values;
    };

    static void erase(std::vector<Entry>& entries, Token token) {
        const auto at = std::ranges::find(entries, token, &Entry::token);
        if (at == entries.end()) return;
        *at = entries.back();
        entries.pop_back();
    }
    template <class Found>
    static void try_all(const std::vector<Entry>& entries, const LabelSet& labels, const Label* filed_under,
                        Found& found) {
        for (const Entry& entry : entries) {
            // Where the label that it is filed under is all that it asks for, only the source is left to compare.
            if (filed_under != nullptr && entry.query->all.size() == 1) {
                const std::string& source = entry.query->all.front().source;
                if (source == label_source::kAny || source == filed_under->source) found(entry.token);
            } else if (matches(*entry.query, labels)) {
                found(entry.token);
            }
        }
    }

    std::vector<Entry> always_;
    StringMap<Key> keys_;
};

}  // namespace axo::policy
