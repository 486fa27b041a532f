// Aligned columns by elastic tab stops, laid out as Go's text/tabwriter does, so that tables look as users
// and their scripts know them from Cilium.
//
// A cell ends at a tab; a column is a run of lines that all have such a cell there, and is as wide as its
// widest cell plus the padding. What follows a line's last tab belongs to no column. Thread: any one.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace axo::cli {

class TabWriter {
public:
    explicit TabWriter(std::size_t min_width = 2, std::size_t padding = 3) : min_width_(min_width), padding_(padding) {}

    TabWriter& operator<<(std::string_view text) {
        text_ += text;
        return *this;
    }
    // One line of cells, each ended by a tab but the last.
    void row(const std::vector<std::string>& cells);
    // As row, with a tab after the last cell too: Cilium's tables that end in one keep trailing blanks.
    void closed_row(const std::vector<std::string>& cells);
    [[nodiscard]] std::string str() const;

private:
    std::size_t min_width_;
    std::size_t padding_;
    std::string text_;
};

// Columns that a text takes on a terminal, one per code point.
std::size_t display_width(std::string_view utf8);

}  // namespace axo::cli
