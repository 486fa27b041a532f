#include "model/labels.h"

#include <algorithm>
#include <atomic>

namespace axo {
namespace {

bool key_less(const Label& label, std::string_view key) {
    return label.key < key;
}

}  // namespace

Label Label::parse(std::string_view text) {
    Label label;
    constexpr std::string_view kReservedPrefix = "reserved.";
    if (text.starts_with('$')) {
        label.source = label_source::kReserved;
        text.remove_prefix(1);
    } else if (const std::size_t colon = text.find(':'); colon != std::string_view::npos) {
        label.source = text.substr(0, colon);
        text.remove_prefix(colon + 1);
    } else if (text.starts_with(kReservedPrefix)) {
        label.source = label_source::kReserved;
        text.remove_prefix(kReservedPrefix.size());
    }
    if (label.source.empty()) label.source = label_source::kUnspec;

    const std::size_t equals = text.find('=');
    if (equals == std::string_view::npos) {
        label.key = text;
    } else if (equals == 0 && label.is_reserved()) {
        label.key = text.substr(1);  // "reserved:=host"
    } else {
        label.key = text.substr(0, equals);
        label.value = text.substr(equals + 1);
    }
    return label;
}

std::string Label::to_string() const {
    std::string text = source + ":" + key;
    if (!value.empty()) text += "=" + value;
    return text;
}

Label cidr_label(const Prefix& prefix) {
    std::string address = prefix.address().to_string();
    std::ranges::replace(address, ':', '-');
    if (address.starts_with('-')) address.insert(0, 1, '0');
    if (address.ends_with('-')) address += '0';
    return {std::string(label_source::kCidr), address + "/" + std::to_string(prefix.length()), ""};
}

LabelSet LabelSet::from_strings(const std::vector<std::string>& texts) {
    LabelSet set;
    for (const std::string& text : texts) set.insert(Label::parse(text));
    return set;
}

LabelSet LabelSet::from_map(const std::map<std::string, std::string>& labels, std::string_view source) {
    LabelSet set;
    for (const auto& [key, value] : labels) set.insert({std::string(source), key, value});
    return set;
}

LabelSet LabelSet::from_key(std::string_view key) {
    LabelSet set;
    while (!key.empty()) {
        const std::size_t end = key.find(';');
        set.insert(Label::parse(key.substr(0, end)));
        if (end == std::string_view::npos) break;
        key.remove_prefix(end + 1);
    }
    return set;
}

LabelSet LabelSet::from_security_labels(const std::map<std::string, std::string>& labels) {
    LabelSet set;
    for (const auto& [source_and_key, value] : labels) {
        Label label = Label::parse(source_and_key);
        // A '=' inside the key belongs to it here: the value stands apart.
        if (!label.value.empty()) label.key += "=" + label.value;
        label.value = value;
        set.insert(std::move(label));
    }
    return set;
}

void LabelSet::insert(Label label) {
    if (label.key.empty()) return;
    Labels& labels = own();
    const auto at = std::lower_bound(labels.begin(), labels.end(), std::string_view(label.key), key_less);
    if (at != labels.end() && at->key == label.key) {
        *at = std::move(label);
    } else {
        labels.insert(at, std::move(label));
    }
}

LabelSet::Labels& LabelSet::own() {
    if (!labels_ || labels_.use_count() > 1) labels_ = std::make_shared<Labels>(all());
    // The count is read without order: another thread's copy that has just gone may have been read until then.
    std::atomic_thread_fence(std::memory_order_acquire);
    return *labels_;
}

void LabelSet::merge(const LabelSet& other) {
    for (const Label& label : other) insert(label);
}

void LabelSet::erase(std::string_view key) {
    if (const Label* found = find(key)) {
        const auto at = found - all().data();
        own().erase(own().begin() + at);
    }
}

const Label* LabelSet::find(std::string_view key) const {
    const auto at = std::lower_bound(begin(), end(), key, key_less);
    return at != end() && at->key == key ? &*at : nullptr;
}

bool LabelSet::contains(const Label& label) const {
    const Label* found = find(label.key);
    return found != nullptr && *found == label;
}

bool LabelSet::has_reserved() const {
    return std::ranges::any_of(all(), &Label::is_reserved);
}

bool LabelSet::has_reserved(std::string_view name) const {
    const Label* found = find(name);
    return found != nullptr && found->is_reserved();
}

std::vector<std::string> LabelSet::to_strings() const {
    std::vector<std::string> texts;
    texts.reserve(size());
    for (const Label& label : *this) texts.push_back(label.to_string());
    std::ranges::sort(texts);
    return texts;
}

std::string LabelSet::to_string() const {
    std::string joined;
    for (const std::string& text : to_strings()) {
        if (!joined.empty()) joined += ',';
        joined += text;
    }
    return joined;
}

std::string LabelSet::key() const {
    std::string key;
    for (const Label& label : *this) {
        key += label.source;
        key += ':';
        key += label.key;
        key += '=';
        key += label.value;
        key += ';';
    }
    return key;
}

std::map<std::string, std::string> LabelSet::to_security_labels() const {
    std::map<std::string, std::string> labels;
    for (const Label& label : *this) labels.emplace(label.source + ":" + label.key, label.value);
    return labels;
}

}  // namespace axo
