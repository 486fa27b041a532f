#include "hubble/server/flow_query.h"

#include <axoneme/flow_counters.pb.h>
#include <google/protobuf/util/field_mask_util.h>

#include <chrono>

// Fields that Hubble calls deprecated are the only ones that older clients know.
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

namespace axo::hubble {

namespace {

using Next = rpc::Call::Next;
using google::protobuf::util::FieldMaskUtil;

constexpr std::size_t kBatch = 512;                    // records taken from the ring at once
constexpr std::size_t kTurn = 8192;                    // records looked at before others have their turn
constexpr std::int64_t kLostInterval = 1'000'000'000;  // between two notices of the same client

struct Range {
    std::int64_t since = std::numeric_limits<std::int64_t>::min();
    std::int64_t until = std::numeric_limits<std::int64_t>::max();
};

class FlowQuery final : public rpc::Call {
public:
    FlowQuery(const ::observer::GetFlowsRequest& request, FlowFilterSet filter, Observer& observer,
              const History* history)
        : observer_(observer),
          history_(history),
          filter_(std::move(filter)),
          context_(flow_context(observer)),
          mask_(request.field_mask()),
          number_(request.number()),
          first_(request.first()),
          follow_(request.follow()) {
        if (request.has_since()) range_.since = from_timestamp(request.since());
        if (request.has_until()) range_.until = from_timestamp(request.until());
        // Asked for by an empty message of that kind, or by the mask.
        context_.counters =
            request.extensions().Is<::axoneme::FlowCounters>() || FieldMaskUtil::IsPathInFieldMask("extensions", mask_);
        const FlowRing::Span span = observer_.ring().span();
        position_ = span.next;
        if (follow_ && number_ == 0 && !request.has_since()) {
            phase_ = Phase::kRing;
        } else if (first_ || number_ == 0) {
            begin_forward();
        } else {
            phase_ = Phase::kRewindRing;
        }
    }

    Next next(std::string& message) override {
        std::size_t budget = kTurn;
        for (;;) {
            if (done_) return Next::kDone;
            if (ready_at_ < ready_.size()) {
                const FlowRecord& record = ready_[ready_at_++];
                if (offer(record, message)) return Next::kMessage;
                if (--budget == 0) return Next::kBusy;
                continue;
            }
            if (phase_ == Phase::kRing && notice_missed(message, false)) return Next::kMessage;
            const Phase phase = phase_;
            const std::size_t found = advance();
            if (found != 0) {
                budget = found < budget ? budget : 1;
                continue;
            }
            if (phase != Phase::kRing) {
                if (budget <= kBatch) return Next::kBusy;
                budget -= kBatch;
                continue;
            }
            if (follow_) return notice_missed(message, true) ? Next::kMessage : Next::kLater;
            return notice_missed(message, true) ? Next::kMessage : Next::kDone;
        }
    }

private:
    enum class Phase { kRewindRing, kRewindHistory, kHistory, kRing };

    bool in_range(const FlowRecord& record) const {
        return record.time_ns >= range_.since && record.time_ns <= range_.until;
    }
    bool wanted(const FlowRecord& record) const { return in_range(record) && filter_.matches(record); }

    // From the oldest flow of the range on.
    void begin_forward() {
        const FlowRing::Span span = observer_.ring().span();
        position_ = span.first;
        phase_ = Phase::kRing;
        if (history_ == nullptr) return;
        std::vector<FlowRecord> oldest;
        std::uint64_t missed = 0;
        observer_.ring().read(span.first, 1, oldest, missed);
        ring_from_ = oldest.empty() ? std::numeric_limits<std::int64_t>::max() : oldest.front().time_ns;
        if (range_.since >= ring_from_) return;
        block_ = history_->seek(range_.since);
        if (block_ != History::kEnd) phase_ = Phase::kHistory;
    }

    // Brings more records to ready_, or goes to the next phase. How many came.
    std::size_t advance() {
        ready_.clear();
        ready_at_ = 0;
        switch (phase_) {
            case Phase::kRewindRing: rewind_ring(); break;
            case Phase::kRewindHistory: rewind_history(); break;
            case Phase::kHistory: read_history(); break;
            case Phase::kRing: {
                // Whoever comes after this look, wakes.
                observer_.ring().arm();
                std::uint64_t missed = 0;
                position_ = observer_.ring().read(position_, kBatch, ready_, missed);
                missed_ += missed;
                if (missed != 0) observer_.count_ring_lost(missed);
                break;
            }
        }
        return ready_.size();
    }

    // Backwards until there are as many as asked for: only the place is kept, and what lies behind it read again.
    void rewind_ring() {
        std::vector<FlowRecord> back;
        const std::uint64_t before = position_;
        const std::uint64_t reached = observer_.ring().read_back(before, kBatch, back);
        for (std::size_t i = 0; i < back.size(); ++i) {
            if (back[i].time_ns < range_.since) {
                position_ = before - i;
                phase_ = Phase::kRing;
                return;
            }
            if (!back[i].is_lost() && wanted(back[i]) && ++counted_ == number_) {
                position_ = before - i - 1;
                phase_ = Phase::kRing;
                return;
            }
        }
        if (!back.empty()) {
            ring_from_ = back.back().time_ns;
            position_ = reached;
            return;
        }
        phase_ = Phase::kRing;
        if (history_ == nullptr) return;
        block_ = history_->last();
        if (block_ != History::kEnd) phase_ = Phase::kRewindHistory;
    }

    void rewind_history() {
        skip_later(&History::previous);
        if (block_ == History::kEnd) {
            // There are no more, or none that early.
            block_ = history_->seek(range_.since);
            phase_ = block_ == History::kEnd ? Phase::kRing : Phase::kHistory;
            if (counted_ > number_) skip_ = counted_ - number_;
            return;
        }
        std::uint64_t here = 0;
        bool reached_since = false;
        for (const FlowRecord& record : history_->read(block_)) {
            reached_since = reached_since || record.time_ns < range_.since;
            if (record.time_ns < ring_from_ && wanted(record)) ++here;
        }
        counted_ += here;
        const History::Block before = history_->previous(block_);
        if (counted_ < number_ && !reached_since && before != History::kEnd) {
            block_ = before;
            return;
        }
        if (counted_ > number_) skip_ = counted_ - number_;
        phase_ = Phase::kHistory;
    }

    // Blocks that are all beyond the end need not be read.
    void skip_later(History::Block (History::*step)(History::Block) const) {
        while (block_ != History::kEnd && history_->is_after(block_, range_.until)) block_ = (history_->*step)(block_);
    }

    // What the ring has is taken from there; but it may have lost it meanwhile.
    void read_history() {
        skip_later(&History::next);
        if (block_ != History::kEnd) {
            for (FlowRecord& record : history_->read(block_)) {
                if (record.time_ns >= history_from_ && record.time_ns < ring_from_) ready_.push_back(std::move(record));
            }
            block_ = history_->next(block_);
        }
        if (block_ != History::kEnd) return;
        phase_ = Phase::kRing;
        std::vector<FlowRecord> oldest;
        std::uint64_t missed = 0;
        observer_.ring().read(position_, 1, oldest, missed);
        if (missed == 0 || oldest.empty()) return;
        position_ += missed;
        history_from_ = std::exchange(ring_from_, oldest.front().time_ns);
        block_ = history_->seek(history_from_);
        if (block_ != History::kEnd) phase_ = Phase::kHistory;
    }

    // Makes the message if the record is wanted.
    bool offer(const FlowRecord& record, std::string& message) {
        if (record.is_lost() ? !in_range(record) : !wanted(record)) {
            // Clocks jump: one flow beyond the end is not the end while others may come.
            if (record.time_ns > range_.until && phase_ == Phase::kRing && follow_ && ++beyond_ >= 16) done_ = true;
            return false;
        }
        if (!record.is_lost() && skip_ != 0) {
            --skip_;
            return false;
        }
        response_.Clear();
        response_.set_node_name(context_.node_name);
        to_timestamp(record.time_ns, *response_.mutable_time());
        if (record.is_lost()) {
            to_proto(record, *response_.mutable_lost_events());
        } else {
            to_proto(record, context_, *response_.mutable_flow());
            if (mask_.paths_size() != 0) FieldMaskUtil::TrimMessage(mask_, response_.mutable_flow());
            ++delivered_;
            if (!follow_ && number_ != 0 && delivered_ >= number_) done_ = true;
        }
        return response_.AppendToString(&message);
    }

    bool notice_missed(std::string& message, bool idle) {
        if (missed_ == 0) return false;
        const std::int64_t now =
            std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now().time_since_epoch())
                .count();
        if (!idle && now - noticed_at_ < kLostInterval && now >= noticed_at_) return false;
        noticed_at_ = now;
        FlowRecord lost;
        lost.time_ns = now;
        lost.lost = std::exchange(missed_, 0);
        lost.lost_source = LostSource::kHubbleRing;
        response_.Clear();
        response_.set_node_name(context_.node_name);
        to_timestamp(now, *response_.mutable_time());
        to_proto(lost, *response_.mutable_lost_events());
        return response_.AppendToString(&message);
    }

    Observer& observer_;
    const History* history_;
    FlowFilterSet filter_;
    FlowContext context_;
    google::protobuf::FieldMask mask_;
    Range range_;
    const std::uint64_t number_;
    const bool first_, follow_;
    Phase phase_ = Phase::kRing;
    std::uint64_t position_ = 1;  // in the ring
    History::Block block_ = History::kEnd;
    // Those of this time are the history's.
    std::int64_t history_from_ = std::numeric_limits<std::int64_t>::min();
    std::int64_t ring_from_ = std::numeric_limits<std::int64_t>::max();
    std::uint64_t counted_ = 0, skip_ = 0, delivered_ = 0, missed_ = 0;
    std::int64_t noticed_at_ = 0;
    int beyond_ = 0;
    bool done_ = false;
    std::vector<FlowRecord> ready_;
    std::size_t ready_at_ = 0;
    ::observer::GetFlowsResponse response_;
};

}  // namespace

FlowContext flow_context(const Observer& observer) {
    return {.node_name = observer.node_name(),
            .node_labels = observer.node_labels(),
            .version = observer.settings().version};
}

Result<std::unique_ptr<rpc::Call>> query_flows(std::string_view request, Observer& observer, const History* history) {
    ::observer::GetFlowsRequest parsed;
    if (!parsed.ParseFromArray(request.data(), static_cast<int>(request.size())))
        return fail(Code::kInvalidArgument, "the request is no observer.GetFlowsRequest");
    if (parsed.first() && parsed.follow())
        return fail(Code::kInvalidArgument, "first cannot be combined with follow: it asks for the oldest flows");
    if (parsed.field_mask().paths_size() == 0 && parsed.experimental().has_field_mask())
        *parsed.mutable_field_mask() = parsed.experimental().field_mask();
    for (const std::string& path : parsed.field_mask().paths()) {
        if (!FieldMaskUtil::IsValidPath<::flow::Flow>(path))
            return fail(Code::kInvalidArgument, "field_mask: \"" + path + "\": flow.Flow has no such field");
    }
    const FlowContext context = flow_context(observer);
    TRY_ASSIGN(FlowFilterSet filter, FlowFilterSet::compile(parsed.whitelist(), parsed.blacklist(), context));
    return std::make_unique<FlowQuery>(parsed, std::move(filter), observer, history);
}

}  // namespace axo::hubble
