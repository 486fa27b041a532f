#include "app/cli/output/tab_writer.h"

namespace axo::cli {
namespace {

using Line = std::vector<std::string_view>;

std::vector<Line> split(std::string_view text) {
    std::vector<Line> lines(1);
    std::size_t start = 0;
    for (std::size_t i = 0; i <= text.size(); ++i) {
        if (i < text.size() && text[i] != '\t' && text[i] != '\n') continue;
        lines.back().push_back(text.substr(start, i - start));
        start = i + 1;
        if (i < text.size() && text[i] == '\n') lines.emplace_back();
    }
    return lines;
}

class Layout {
public:
    Layout(const std::vector<Line>& lines, std::size_t min_width, std::size_t padding)
        : lines_(lines), min_width_(min_width), padding_(padding) {}

    std::string run() {
        format(0, lines_.size());
        if (!out_.empty()) out_.pop_back();  // the line after the last newline is not one
        return std::move(out_);
    }

private:
    // A cell of this column that a tab ended.
    [[nodiscard]] bool has_cell(std::size_t line, std::size_t column) const { return column + 1 < lines_[line].size(); }

    void format(std::size_t first, std::size_t end) {
        const std::size_t column = widths_.size();
        std::size_t unwritten = first;
        for (std::size_t line = first; line < end; ++line) {
            if (!has_cell(line, column)) continue;
            write(unwritten, line);
            std::size_t block_end = line;
            std::size_t width = min_width_;
            for (; block_end < end && has_cell(block_end, column); ++block_end) {
                width = std::max(width, display_width(lines_[block_end][column]) + padding_);
            }
            widths_.push_back(width);
            format(line, block_end);
            widths_.pop_back();
            unwritten = block_end;
            line = block_end;  // not in this column, so it starts no block either
        }
        write(unwritten, end);
    }

    void write(std::size_t first, std::size_t end) {
        for (std::size_t i = first; i < end; ++i) {
            const Line& line = lines_[i];
            for (std::size_t cell = 0; cell < line.size(); ++cell) {
                out_ += line[cell];
                if (cell < widths_.size() && cell + 1 < line.size())
                    out_.append(widths_[cell] - display_width(line[cell]), ' ');
            }
            out_ += '\n';
        }
    }

    const std::vector<Line>& lines_;
    std::size_t min_width_;
    std::size_t padding_;
    std::vector<std::size_t> widths_;
    std::string out_;
};

}  // namespace

std::size_t display_width(std::string_view utf8) {
    return static_cast<std::size_t>(
        std::count_if(utf8.begin(), utf8.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

void TabWriter::row(const std::vector<std::string>& cells) {
    for (std::size_t i = 0; i < cells.size(); ++i) {
        if (i != 0) text_ += '\t';
        text_ += cells[i];
    }
    text_ += '\n';
}

void TabWriter::closed_row(const std::vector<std::string>& cells) {
    for (const std::string& cell : cells) text_ += cell + '\t';
    text_ += '\n';
}

std::string TabWriter::str() const {
    if (text_.empty()) return {};
    const std::vector<Line> lines = split(text_);
    return Layout(lines, min_width_, padding_).run();
}

}  // namespace axo::cli
