#include <algorithm>

#include "app/cli/helm/template.h"

namespace axo::cli::helm {

// One template's run: its variables and where they are visible.
class Execution {
public:
    Execution(Engine& engine, const Value& data) : engine_(engine) { variables_.emplace_back("", data); }

    Status run(const std::vector<Node>& nodes, const Value& dot, std::string& out) {
        const std::size_t before = variables_.size();
        for (const Node& node : nodes) TRY(run(node, dot, out));
        variables_.resize(before);
        return {};
    }

private:
    Status run(const Node& node, const Value& dot, std::string& out) {
        switch (node.kind) {
            case Node::Kind::kText: out += node.text; return {};
            case Node::Kind::kPrint: {
                TRY_ASSIGN(const Value value, evaluate(node.pipeline, dot));
                if (node.pipeline.variables.empty() && !value.is_nil()) out += value.text();
                return {};
            }
            case Node::Kind::kTemplate: {
                Value data;
                if (!node.pipeline.commands.empty()) {
                    TRY_ASSIGN(data, evaluate(node.pipeline, dot));
                }
                TRY_ASSIGN(const std::string text, engine_.run(node.text, data));
                out += text;
                return {};
            }
            default: return run_block(node, dot, out);
        }
    }

    Status run_block(const Node& node, const Value& dot, std::string& out) {
        // Variables of the condition live as long as the block.
        const std::size_t before = variables_.size();
        if (node.kind == Node::Kind::kRange) {
            TRY(run_range(node, dot, out));
        } else {
            TRY_ASSIGN(const Value value, evaluate(node.pipeline, dot));
            const bool with = node.kind == Node::Kind::kWith;
            TRY(value.truth() ? run(node.body, with ? value : dot, out) : run(node.otherwise, dot, out));
        }
        variables_.resize(before);
        return {};
    }

    Status run_range(const Node& node, const Value& dot, std::string& out) {
        TRY_ASSIGN(const Value over, evaluate(without_variables(node.pipeline), dot));
        std::vector<std::pair<Value, Value>> items;
        if (const Array* array = over.array()) {
            for (std::size_t i = 0; i < array->size(); ++i)
                items.emplace_back(static_cast<std::int64_t>(i), (*array)[i]);
        } else if (const Object* object = over.object()) {
            for (const auto& [key, value] : *object) items.emplace_back(key, value);
        } else if (!over.is_nil()) {
            return fail(Code::kInvalidArgument, "range over " + over.kind());
        }
        if (items.empty()) return run(node.otherwise, dot, out);
        const std::vector<std::string>& names = node.pipeline.variables;
        const std::size_t before = variables_.size();
        for (const auto& [key, value] : items) {
            if (names.size() == 2) variables_.emplace_back(names[0], key);
            if (!names.empty()) variables_.emplace_back(names.back(), value);
            TRY(run(node.body, value, out));
            variables_.resize(before);
        }
        return {};
    }

    static Pipeline without_variables(const Pipeline& pipeline) { return {{}, false, pipeline.commands}; }

    Result<Value> evaluate(const Pipeline& pipeline, const Value& dot) {
        Value value;
        bool first = true;
        for (const Command& command : pipeline.commands) {
            TRY_ASSIGN(Value next, evaluate(command, dot, first ? nullptr : &value));
            value = std::move(next);
            first = false;
        }
        if (pipeline.variables.empty()) return value;
        const std::string& name = pipeline.variables.front();
        if (!pipeline.assigns) {
            variables_.emplace_back(name, value);
            return value;
        }
        Value* known = find_variable(name);
        if (known == nullptr) return fail(Code::kInvalidArgument, "undefined variable $" + name);
        *known = value;
        return value;
    }

    Value* find_variable(const std::string& name) {
        const auto found = std::find_if(variables_.rbegin(), variables_.rend(),
                                        [&name](const auto& variable) { return variable.first == name; });
        return found == variables_.rend() ? nullptr : &found->second;
    }

    Result<Value> evaluate(const Command& command, const Value& dot, const Value* piped) {
        const Operand& head = command.front();
        if (head.kind == Operand::Kind::kFunction && (head.name == "and" || head.name == "or"))
            return evaluate_logic(command, dot, piped);
        Array arguments;
        for (std::size_t i = 1; i < command.size(); ++i) {
            TRY_ASSIGN(Value argument, evaluate(command[i], dot));
            arguments.push_back(std::move(argument));
        }
        if (piped != nullptr) arguments.push_back(*piped);
        if (head.kind == Operand::Kind::kFunction) return call(head.name, arguments);
        TRY_ASSIGN(Value value, evaluate(head, dot));
        if (const Function* method = value.function()) return (*method)(arguments);
        if (!arguments.empty()) return fail(Code::kInvalidArgument, "arguments for something that is no function");
        return value;
    }

    // What decides ends it: later arguments may not be evaluable.
    Result<Value> evaluate_logic(const Command& command, const Value& dot, const Value* piped) {
        const bool stops_at = command.front().name == "or";
        Value value;
        for (std::size_t i = 1; i < command.size(); ++i) {
            TRY_ASSIGN(value, evaluate(command[i], dot));
            if (value.truth() == stops_at) return value;
        }
        return piped != nullptr ? *piped : value;
    }

    Result<Value> call(const std::string& name, const Array& arguments) {
        auto value = engine_.functions_.at(name)(arguments);  // the parser has seen to it that there is one
        if (!value && value.error().code != Code::kFailedPrecondition)
            return forward_error(std::move(value).error().with_context(name));
        return value;
    }

    Result<Value> evaluate(const Operand& operand, const Value& dot) {
        Value value;
        switch (operand.kind) {
            case Operand::Kind::kDot: value = dot; break;
            case Operand::Kind::kLiteral: return operand.literal;
            case Operand::Kind::kFunction: return call(operand.name, {});
            case Operand::Kind::kPipeline: {
                TRY_ASSIGN(value, evaluate(*operand.pipeline, dot));
                break;
            }
            case Operand::Kind::kVariable: {
                const Value* known = find_variable(operand.name);
                if (known == nullptr) return fail(Code::kInvalidArgument, "undefined variable $" + operand.name);
                value = *known;
            }
        }
        for (const std::string& field : operand.fields) {
            const Object* object = value.object();
            if (object == nullptr) return fail(Code::kInvalidArgument, "." + field + " of " + value.kind());
            const auto found = object->find(field);
            value = found == object->end() ? Value() : Value(found->second);
        }
        return value;
    }

    Engine& engine_;
    std::vector<std::pair<std::string, Value>> variables_;
};

Engine::Engine(Lookup lookup) : functions_(plain_functions()) {
    // Both are the engine's own work, as they do not always evaluate their arguments.
    functions_["and"] = functions_["or"] = {};
    functions_["include"] = [this](const Array& arguments) -> Result<Value> {
        if (arguments.size() != 2 || arguments[0].string() == nullptr)
            return fail(Code::kInvalidArgument, "a name and data are wanted");
        TRY_ASSIGN(std::string text, run(*arguments[0].string(), arguments[1]));
        return text;
    };
    functions_["lookup"] = [lookup = std::move(lookup)](const Array& arguments) -> Result<Value> {
        if (arguments.size() != 4) return fail(Code::kInvalidArgument, "four arguments are wanted");
        if (!lookup) return Value(Object{});
        return lookup(arguments[0].text(), arguments[1].text(), arguments[2].text(), arguments[3].text());
    };
}

Result<std::string> Engine::run(const std::string& name, const Value& data) {
    const auto found = templates_.find(name);
    if (found == templates_.end()) return fail(Code::kNotFound, "template \"" + name + "\" is not defined");
    constexpr int kDeepest = 500;
    if (depth_ == kDeepest)
        return fail(Code::kInvalidArgument, "template \"" + name + "\" includes itself without end");
    std::string out;
    ++depth_;
    Status done = Execution(*this, data).run(found->second, data, out);
    --depth_;
    if (done) return out;
    if (done.error().code == Code::kFailedPrecondition) return forward_error(std::move(done).error());
    return forward_error(std::move(done).error().with_context(name));
}

}  // namespace axo::cli::helm
