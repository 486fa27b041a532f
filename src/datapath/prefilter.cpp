#include "datapath/prefilter.h"

#include <set>

namespace axo {
namespace {

// Does one thing for each prefix; after a failure the other one for those that it was done for.
template <class Do, class Undo>
Status all_or_none(const std::set<Prefix>& prefixes, const Do& change, const Undo& back) {
    for (auto one = prefixes.begin(); one != prefixes.end(); ++one) {
        auto done = change(*one);
        if (done) continue;
        for (auto before = prefixes.begin(); before != one; ++before) TRY(back(*before));
        return std::unexpected(std::move(done).error().with_context(one->to_string()));
    }
    return {};
}

}  // namespace

Status Prefilter::check_revision(std::int64_t expected) const {
    if (expected == 0 || expected == revision_) return {};
    return fail(Code::kAborted, "revision " + std::to_string(expected) +
                                    ": the list has changed meanwhile; accepted: " + std::to_string(revision_) +
                                    ", or 0 for any");
}

Status Prefilter::add(std::int64_t expected, const std::vector<Prefix>& prefixes) {
    TRY(check_revision(expected));
    for (const Prefix& prefix : prefixes) {
        if (prefix.family() == Family::kIpv6 ? !families_.ipv6 : !families_.ipv4)
            return fail(Code::kInvalidArgument, prefix.to_string() + ": no packets of this family are looked at, " +
                                                    (prefix.family() == Family::kIpv6 ? "enable-ipv6" : "enable-ipv4") +
                                                    "=false");
    }
    std::set<Prefix> fresh(prefixes.begin(), prefixes.end());
    TRY_ASSIGN(const std::vector<Prefix> present, list());
    for (const Prefix& prefix : present) fresh.erase(prefix);
    TRY(all_or_none(
        fresh, [this](const Prefix& prefix) { return maps_.put(prefix); },
        [this](const Prefix& prefix) { return maps_.remove(prefix); }));
    ++revision_;
    return {};
}

Status Prefilter::remove(std::int64_t expected, const std::vector<Prefix>& prefixes) {
    TRY(check_revision(expected));
    TRY_ASSIGN(const std::vector<Prefix> listed, list());
    const std::set<Prefix> present(listed.begin(), listed.end());
    for (const Prefix& prefix : prefixes) {
        if (!present.contains(prefix))
            return fail(Code::kNotFound,
                        prefix.to_string() + ": is not on the list; accepted: what `prefilter list` shows");
    }
    TRY(all_or_none(
        {prefixes.begin(), prefixes.end()}, [this](const Prefix& prefix) { return maps_.remove(prefix); },
        [this](const Prefix& prefix) { return maps_.put(prefix); }));
    ++revision_;
    return {};
}

}  // namespace axo
