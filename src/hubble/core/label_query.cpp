#include "hubble/core/label_query.h"

#include <charconv>

namespace axo::hubble {

namespace {

bool to_number(std::string_view text, long& number) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    return error == std::errc{} && end == text.data() + text.size() && !text.empty();
}

bool contains(const std::vector<std::string>& values, const std::string& value) {
    return std::ranges::find(values, value) != values.end();
}

bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

}  // namespace

class LabelQueryParser {
public:
    explicit LabelQueryParser(std::string_view text) : text_(text) {}

    Result<LabelQuery> parse() {
        LabelQuery query;
        skip_blanks();
        while (at_ < text_.size()) {
            TRY_ASSIGN(LabelQuery::Requirement requirement, one());
            query.all_.push_back(std::move(requirement));
            skip_blanks();
            if (at_ == text_.size()) break;
            if (text_[at_] != ',') return wrong("expected ','");
            ++at_;
            skip_blanks();
            if (at_ == text_.size()) return wrong("expected a label's key");
        }
        return query;
    }

private:
    using Op = LabelQuery::Op;

    std::unexpected<Error> wrong(const std::string& what) const {
        return fail(Code::kInvalidArgument, "\"" + std::string(text_) + "\" is no label selector: " + what +
                                                " at offset " + std::to_string(at_));
    }
    void skip_blanks() {
        while (at_ < text_.size() && is_blank(text_[at_])) ++at_;
    }
    std::string_view word() {
        const std::size_t begin = at_;
        static constexpr std::string_view kEnds = "=!,()<>";
        while (at_ < text_.size() && !is_blank(text_[at_]) && kEnds.find(text_[at_]) == std::string_view::npos) ++at_;
        return text_.substr(begin, at_ - begin);
    }
    bool take(std::string_view token) {
        if (!text_.substr(at_).starts_with(token)) return false;
        at_ += token.size();
        return true;
    }

    Result<LabelQuery::Requirement> one() {
        LabelQuery::Requirement requirement;
        const bool absent = take("!");
        skip_blanks();
        const std::string_view key = word();
        if (key.empty()) return wrong("expected a label's key");
        const std::size_t colon = key.find(':');
        requirement.source = colon == std::string_view::npos ? label_source::kAny : key.substr(0, colon);
        requirement.key = colon == std::string_view::npos ? key : key.substr(colon + 1);
        if (requirement.key.empty() || requirement.source.empty()) return wrong("expected a label's key");
        skip_blanks();
        if (absent) {
            requirement.op = Op::kAbsent;
            return requirement;
        }
        if (at_ == text_.size() || text_[at_] == ',') return requirement;
        if (take("==") || take("=")) return value(std::move(requirement), Op::kIn);
        if (take("!=")) return value(std::move(requirement), Op::kNotIn);
        if (take(">")) return value(std::move(requirement), Op::kGreater);
        if (take("<")) return value(std::move(requirement), Op::kLess);
        const std::string_view op = word();
        if (op == "in") return set(std::move(requirement), Op::kIn);
        if (op == "notin") return set(std::move(requirement), Op::kNotIn);
        return wrong("expected '=', '!=', 'in' or 'notin'");
    }

    Result<LabelQuery::Requirement> value(LabelQuery::Requirement requirement, Op op) {
        skip_blanks();
        requirement.op = op;
        requirement.values = {std::string(word())};
        if ((op == Op::kGreater || op == Op::kLess) && !to_number(requirement.values[0], requirement.number))
            return wrong("expected a number");
        return requirement;
    }

    Result<LabelQuery::Requirement> set(LabelQuery::Requirement requirement, Op op) {
        requirement.op = op;
        skip_blanks();
        if (!take("(")) return wrong("expected '('");
        for (;;) {
            skip_blanks();
            requirement.values.emplace_back(word());
            skip_blanks();
            if (take(")")) return requirement;
            if (!take(",")) return wrong("expected ',' or ')'");
        }
    }

    std::string_view text_;
    std::size_t at_ = 0;
};

Result<LabelQuery> LabelQuery::parse(std::string_view text) {
    return LabelQueryParser(text).parse();
}

bool LabelQuery::matches(const std::vector<Label>& labels) const {
    return std::ranges::all_of(all_, [&](const Requirement& requirement) {
        const auto found = std::ranges::find_if(labels, [&](const Label& label) {
            return label.key == requirement.key &&
                   (requirement.source == label_source::kAny || requirement.source == label.source);
        });
        const bool has = found != labels.end();
        long number = 0;
        switch (requirement.op) {
            case Op::kExists: return has;
            case Op::kAbsent: return !has;
            case Op::kIn: return has && contains(requirement.values, found->value);
            case Op::kNotIn: return !has || !contains(requirement.values, found->value);
            case Op::kGreater: return has && to_number(found->value, number) && number > requirement.number;
            case Op::kLess: return has && to_number(found->value, number) && number < requirement.number;
        }
        return false;
    });
}

}  // namespace axo::hubble
