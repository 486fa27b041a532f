// Go's text/template, as much of it as the chart uses: actions with trim markers, pipelines, variables, if, else if,
// with, range, define, template, include. Anything else is an error that names the place.
//
// Source of the language: pkg.go.dev/text/template. Thread: main's.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "app/cli/helm/value.h"

namespace axo::cli::helm {

struct Pipeline;

// What a command is made of: `.a.b`, `$x.y`, `"text"`, `(pipeline).z`, the name of a function.
struct Operand {
    enum class Kind { kDot, kVariable, kLiteral, kFunction, kPipeline };
    Kind kind = Kind::kDot;
    std::string name;  // of the variable, "" for `$`; of the function
    Value literal;
    std::shared_ptr<Pipeline> pipeline;
    std::vector<std::string> fields;
};
using Command = std::vector<Operand>;

// `$k, $v := a b | c d`
struct Pipeline {
    std::vector<std::string> variables;
    bool assigns = false;  // = instead of :=
    std::vector<Command> commands;
};

struct Node {
    enum class Kind { kText, kPrint, kIf, kWith, kRange, kTemplate };
    Kind kind = Kind::kText;
    std::string text;  // of kText; name of kTemplate
    Pipeline pipeline;
    std::vector<Node> body, otherwise;
};

using Templates = std::map<std::string, std::vector<Node>>;
using Functions = std::map<std::string, Function>;

// Adds the template `name`, and those that it defines. Errors name the template and the line: also of a function that
// is none of these.
Status parse_template(const std::string& name, std::string_view text, const Functions& functions, Templates& into);

class Engine {
public:
    // As Helm's lookup: apiVersion, kind, namespace, name; an empty object: there is none.
    using Lookup = std::function<Value(const std::string&, const std::string&, const std::string&, const std::string&)>;

    explicit Engine(Lookup lookup = {});
    Status add(const std::string& name, std::string_view text) {
        return parse_template(name, text, functions_, templates_);
    }
    // An error from `fail` and `required` has their message and kFailedPrecondition, any other names the template.
    Result<std::string> run(const std::string& name, const Value& data);

private:
    friend class Execution;
    Templates templates_;
    Functions functions_;
    int depth_ = 0;
};

// Functions that need no templates: of Go's, Sprig's and Helm's those that the chart uses.
Functions plain_functions();

}  // namespace axo::cli::helm
