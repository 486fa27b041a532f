#include <cctype>
#include <charconv>

#include "app/cli/helm/template.h"

namespace axo::cli::helm {

namespace {

struct Token {
    enum class Kind { kWord, kField, kVariable, kString, kNumber, kSymbol, kEnd };
    Kind kind = Kind::kEnd;
    std::string text;
    bool spaced = false;  // a blank stands before it
};

// One action, without its braces.
class Lexer {
public:
    explicit Lexer(std::string_view text) : text_(text) {}

    Result<std::vector<Token>> run() {
        std::vector<Token> tokens;
        for (;;) {
            bool spaced = false;
            while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_])) != 0) {
                ++at_;
                spaced = true;
            }
            if (at_ == text_.size()) break;
            TRY_ASSIGN(Token token, next());
            token.spaced = spaced;
            tokens.push_back(std::move(token));
        }
        tokens.push_back({});
        return tokens;
    }

private:
    static bool is_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

    std::string word() {
        const std::size_t start = at_;
        while (at_ < text_.size() && is_word(text_[at_])) ++at_;
        return std::string(text_.substr(start, at_ - start));
    }

    Result<Token> next() {
        const char c = text_[at_];
        if (c == '"' || c == '`') return quoted(c);
        if (c == '$') {
            ++at_;
            return Token{Token::Kind::kVariable, word()};
        }
        if (c == '.' && at_ + 1 < text_.size() && is_word(text_[at_ + 1])) {
            ++at_;
            return Token{Token::Kind::kField, word()};
        }
        if (std::isdigit(static_cast<unsigned char>(c)) != 0 ||
            (c == '-' && at_ + 1 < text_.size() && std::isdigit(static_cast<unsigned char>(text_[at_ + 1])) != 0)) {
            const std::size_t start = at_++;
            while (at_ < text_.size() && (is_word(text_[at_]) || text_[at_] == '.')) ++at_;
            return Token{Token::Kind::kNumber, std::string(text_.substr(start, at_ - start))};
        }
        if (is_word(c)) return Token{Token::Kind::kWord, word()};
        if (c == ':' && text_.substr(at_, 2) == ":=") {
            at_ += 2;
            return Token{Token::Kind::kSymbol, ":="};
        }
        if (std::string_view("().|,=").find(c) == std::string_view::npos)
            return fail(Code::kInvalidArgument, std::string("unexpected '") + c + "'");
        ++at_;
        return Token{Token::Kind::kSymbol, std::string(1, c)};
    }

    Result<Token> quoted(char quote) {
        std::string out;
        for (++at_; at_ < text_.size() && text_[at_] != quote; ++at_) {
            if (quote == '`' || text_[at_] != '\\' || at_ + 1 == text_.size()) {
                out += text_[at_];
                continue;
            }
            switch (text_[++at_]) {
                case 'n': out += '\n'; break;
                case 't': out += '\t'; break;
                default: out += text_[at_];
            }
        }
        if (at_ == text_.size()) return fail(Code::kInvalidArgument, "a string without an end");
        ++at_;
        return Token{Token::Kind::kString, out};
    }

    std::string_view text_;
    std::size_t at_ = 0;
};

class PipelineParser {
public:
    PipelineParser(std::vector<Token> tokens, const Functions& functions)
        : tokens_(std::move(tokens)), functions_(functions) {}

    Result<Pipeline> whole() {
        TRY_ASSIGN(Pipeline pipeline, parse());
        if (peek().kind != Token::Kind::kEnd) return fail(Code::kInvalidArgument, "unexpected \"" + peek().text + "\"");
        return pipeline;
    }

private:
    [[nodiscard]] const Token& peek(std::size_t ahead = 0) const {
        return tokens_[std::min(at_ + ahead, tokens_.size() - 1)];
    }
    [[nodiscard]] bool is_symbol(std::string_view symbol, std::size_t ahead = 0) const {
        return peek(ahead).kind == Token::Kind::kSymbol && peek(ahead).text == symbol;
    }

    Result<Pipeline> parse() {
        Pipeline pipeline;
        declarations(pipeline);
        for (;;) {
            TRY_ASSIGN(Command command, parse_command());
            pipeline.commands.push_back(std::move(command));
            if (!is_symbol("|")) return pipeline;
            ++at_;
        }
    }

    void declarations(Pipeline& pipeline) {
        const auto is_variable = [this](std::size_t ahead) { return peek(ahead).kind == Token::Kind::kVariable; };
        const bool two = is_variable(0) && is_symbol(",", 1) && is_variable(2) && is_symbol(":=", 3);
        const bool one = is_variable(0) && (is_symbol(":=", 1) || is_symbol("=", 1));
        if (!one && !two) return;
        pipeline.variables.push_back(peek().text);
        if (two) pipeline.variables.push_back(peek(2).text);
        pipeline.assigns = one && is_symbol("=", 1);
        at_ += two ? 4 : 2;
    }

    Result<Command> parse_command() {
        Command command;
        while (peek().kind != Token::Kind::kEnd && !is_symbol("|") && !is_symbol(")")) {
            TRY_ASSIGN(Operand operand, parse_operand());
            command.push_back(std::move(operand));
        }
        if (command.empty()) return fail(Code::kInvalidArgument, "a command is missing");
        return command;
    }

    Result<Operand> parse_operand() {
        Operand operand;
        const Token token = peek();
        ++at_;
        switch (token.kind) {
            case Token::Kind::kField: operand.fields.push_back(token.text); break;
            case Token::Kind::kVariable:
                operand.kind = Operand::Kind::kVariable;
                operand.name = token.text;
                break;
            case Token::Kind::kString:
                operand.kind = Operand::Kind::kLiteral;
                operand.literal = token.text;
                return operand;
            case Token::Kind::kNumber: return number(token.text);
            case Token::Kind::kWord: return word(token.text);
            default:
                if (token.text == "(") {
                    operand.kind = Operand::Kind::kPipeline;
                    TRY_ASSIGN(Pipeline inner, parse());
                    operand.pipeline = std::make_shared<Pipeline>(std::move(inner));
                    if (!is_symbol(")")) return fail(Code::kInvalidArgument, "')' is missing");
                    ++at_;
                } else if (token.text != ".") {
                    return fail(Code::kInvalidArgument, "unexpected \"" + token.text + "\"");
                }
        }
        while (peek().kind == Token::Kind::kField && !peek().spaced) {
            operand.fields.push_back(peek().text);
            ++at_;
        }
        return operand;
    }

    Result<Operand> word(const std::string& text) {
        Operand operand{.kind = Operand::Kind::kLiteral};
        if (text == "true" || text == "false") {
            operand.literal = text == "true";
        } else if (text != "nil") {
            if (!functions_.contains(text)) return fail(Code::kUnimplemented, "function \"" + text + "\" is not known");
            operand.kind = Operand::Kind::kFunction;
            operand.name = text;
        }
        return operand;
    }

    static Result<Operand> number(const std::string& text) {
        Operand operand{.kind = Operand::Kind::kLiteral};
        std::int64_t whole = 0;
        const char* end = text.data() + text.size();
        if (const auto read = std::from_chars(text.data(), end, whole); read.ec == std::errc{} && read.ptr == end) {
            operand.literal = whole;
            return operand;
        }
        double real = 0;
        if (const auto read = std::from_chars(text.data(), end, real); read.ec == std::errc{} && read.ptr == end) {
            operand.literal = real;
            return operand;
        }
        return fail(Code::kInvalidArgument, "\"" + text + "\": not a number");
    }

    std::vector<Token> tokens_;
    const Functions& functions_;
    std::size_t at_ = 0;
};

class TemplateParser {
public:
    TemplateParser(std::string name, std::string_view text, const Functions& functions, Templates& into)
        : name_(std::move(name)), text_(text), functions_(functions), into_(into) {}

    Status run() {
        std::vector<Node> nodes;
        TRY_ASSIGN(const std::string end, parse_list(nodes));
        if (!end.empty()) return wrong("unexpected {{" + end + "}}");
        into_[name_] = std::move(nodes);
        return {};
    }

private:
    [[nodiscard]] std::unexpected<Error> wrong(const std::string& what) const {
        const auto line = 1 + std::count(text_.begin(), text_.begin() + static_cast<std::ptrdiff_t>(at_), '\n');
        return fail(Code::kInvalidArgument, name_ + ":" + std::to_string(line) + ": " + what);
    }

    static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

    // Until the end of the text, {{end}} or {{else …}}; returns what ended it: "", "end", "else", "else if …".
    Result<std::string> parse_list(std::vector<Node>& nodes) {
        for (;;) {
            const std::size_t open = std::min(text_.find("{{", at_), text_.size());
            std::string plain(text_.substr(at_, open - at_));
            if (trim_next_) plain.erase(0, std::min(plain.find_first_not_of(" \t\r\n"), plain.size()));
            trim_next_ = false;
            const bool trims = open + 3 < text_.size() && text_[open + 2] == '-' && is_space(text_[open + 3]);
            if (trims) {
                const auto last = plain.find_last_not_of(" \t\r\n");
                plain.resize(last == std::string::npos ? 0 : last + 1);
            }
            if (!plain.empty()) nodes.push_back({.kind = Node::Kind::kText, .text = std::move(plain)});
            at_ = open;
            if (open == text_.size()) return std::string();
            TRY_ASSIGN(const std::string action, read_action(open + (trims ? 3 : 2)));
            if (action.empty()) continue;  // a comment
            if (action == "end" || action == "else" || action.starts_with("else ")) return action;
            TRY(parse_action(action, nodes));
        }
    }

    // The action's text without trim markers; "" for a comment.
    Result<std::string> read_action(std::size_t start) {
        std::size_t close = start;
        const std::size_t first = text_.find_first_not_of(" \t\r\n", start);
        const bool comment = first != std::string_view::npos && text_.substr(first, 2) == "/*";
        if (comment) {
            close = text_.find("*/", first);
            if (close == std::string_view::npos) return wrong("a comment without an end");
            close = text_.find("}}", close);
        } else {
            close = end_of_action(start);
        }
        if (close == std::string_view::npos) return wrong("an action without an end");
        std::string action(text_.substr(start, close - start));
        at_ = close + 2;
        if (action.size() > 1 && action.back() == '-' && is_space(action[action.size() - 2])) {
            trim_next_ = true;
            action.pop_back();
        }
        if (comment) return std::string();
        const auto from = action.find_first_not_of(" \t\r\n");
        if (from == std::string::npos) return wrong("an empty action");
        return action.substr(from, action.find_last_not_of(" \t\r\n") + 1 - from);
    }

    // Braces inside strings do not count.
    [[nodiscard]] std::size_t end_of_action(std::size_t at) const {
        for (char quote = 0; at + 1 < text_.size(); ++at) {
            const char c = text_[at];
            if (quote != 0) {
                if (c == '\\' && quote == '"') {
                    ++at;
                } else if (c == quote) {
                    quote = 0;
                }
            } else if (c == '"' || c == '`') {
                quote = c;
            } else if (c == '}' && text_[at + 1] == '}') {
                return at;
            }
        }
        return std::string_view::npos;
    }

    Result<Pipeline> pipeline(const std::string& text) {
        auto tokens = Lexer(text).run();
        if (!tokens) return wrong(tokens.error().message + " in {{" + text + "}}");
        auto parsed = PipelineParser(std::move(*tokens), functions_).whole();
        if (!parsed) return wrong(parsed.error().message + " in {{" + text + "}}");
        return parsed;
    }

    Status parse_action(const std::string& action, std::vector<Node>& nodes) {
        const auto blank = std::min(action.find_first_of(" \t\r\n("), action.size());
        const std::string word = action.substr(0, blank);
        const std::string rest = action.substr(blank);
        if (word == "if") return block(Node::Kind::kIf, rest, nodes);
        if (word == "with") return block(Node::Kind::kWith, rest, nodes);
        if (word == "range") return block(Node::Kind::kRange, rest, nodes);
        if (word == "define") return define(rest);
        if (word == "template") return call(rest, nodes);
        Node node{.kind = Node::Kind::kPrint};
        TRY_ASSIGN(node.pipeline, pipeline(action));
        nodes.push_back(std::move(node));
        return {};
    }

    Status block(Node::Kind kind, const std::string& condition, std::vector<Node>& nodes) {
        Node node{.kind = kind};
        TRY_ASSIGN(node.pipeline, pipeline(condition));
        TRY_ASSIGN(std::string end, parse_list(node.body));
        if (end.starts_with("else ")) {
            // {{else if x}}…{{end}} is {{else}}{{if x}}…{{end}}{{end}} with one end.
            const std::string inner = end.substr(end.find_first_not_of(" \t\r\n", 5));
            if (!inner.starts_with("if ") && !inner.starts_with("if(")) return wrong("unexpected {{" + end + "}}");
            TRY(block(Node::Kind::kIf, inner.substr(2), node.otherwise));
            nodes.push_back(std::move(node));
            return {};
        }
        if (end == "else") {
            TRY_ASSIGN(end, parse_list(node.otherwise));
        }
        if (end != "end") return wrong("{{end}} is missing");
        nodes.push_back(std::move(node));
        return {};
    }

    Result<std::string> quoted_name(const std::string& text) {
        auto tokens = Lexer(text).run();
        if (!tokens || tokens->front().kind != Token::Kind::kString) return wrong("a template's name is missing");
        return tokens->front().text;
    }

    Status define(const std::string& rest) {
        TRY_ASSIGN(const std::string name, quoted_name(rest));
        std::vector<Node> body;
        TRY_ASSIGN(const std::string end, parse_list(body));
        if (end != "end") return wrong("{{end}} of template \"" + name + "\" is missing");
        into_[name] = std::move(body);
        return {};
    }

    Status call(const std::string& rest, std::vector<Node>& nodes) {
        Node node{.kind = Node::Kind::kTemplate};
        TRY_ASSIGN(node.text, quoted_name(rest));
        const std::string data = rest.substr(rest.find('"', rest.find('"') + 1) + 1);
        if (data.find_first_not_of(" \t\r\n") != std::string::npos) {
            TRY_ASSIGN(node.pipeline, pipeline(data));
        }
        nodes.push_back(std::move(node));
        return {};
    }

    std::string name_;
    std::string_view text_;
    const Functions& functions_;
    Templates& into_;
    std::size_t at_ = 0;
    bool trim_next_ = false;
};

}  // namespace

Status parse_template(const std::string& name, std::string_view text, const Functions& functions, Templates& into) {
    return TemplateParser(name, text, functions, into).run();
}

}  // namespace axo::cli::helm
