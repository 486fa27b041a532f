// completion: a script that lets the shell complete commands and options, made from the commands themselves.
#include <CLI/CLI.hpp>

#include "app/cli/commands.h"
#include "app/cli/context.h"

namespace axo::cli {
namespace {

// "axoneme bpf ct" -> "list": one line of a case statement per command.
void collect(const CLI::App& app, const std::string& path, std::string& cases) {
    std::string words;
    for (const CLI::App* sub : app.get_subcommands([](const CLI::App*) { return true; })) {
        if (sub->get_name().empty()) continue;
        words += " " + sub->get_name();
        collect(*sub, path.empty() ? sub->get_name() : path + " " + sub->get_name(), cases);
    }
    for (const CLI::Option* option : app.get_options([](const CLI::Option* o) { return !o->get_group().empty(); })) {
        for (const std::string& name : option->get_lnames()) words += " --" + name;
        for (const std::string& name : option->get_snames()) words += " -" + name;
    }
    cases += "    \"" + path + "\") words=\"" + (words.empty() ? "" : words.substr(1)) + "\" ;;\n";
}

std::string bash_script(const CLI::App& app, const std::string& program) {
    std::string cases;
    collect(app, "", cases);
    return "# bash completion; load it with: source <(" + program + " completion bash)\n_" + program + "() {\n" +
           "  local path=\"\" word words=\"\"\n  for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n" +
           "    [[ $word == -* ]] || path=\"${path:+$path }$word\"\n  done\n  case \"$path\" in\n" + cases +
           "  esac\n  COMPREPLY=($(compgen -W \"$words\" -- \"${COMP_WORDS[COMP_CWORD]}\"))\n}\ncomplete -o default -F _" +
           program + " " + program + "\n";
}

std::string zsh_script(const CLI::App& app, const std::string& program) {
    return "autoload -U +X bashcompinit && bashcompinit\n" + bash_script(app, program);
}

}  // namespace

void add_completion_commands(const Command& root) {
    Context& context = root.context();
    CLI::App* app = root.app();
    const Command group = root.group("completion", "Scripts for the shell's completion");
    group.command("bash", "For bash", [app, &context]() -> Status {
        print(bash_script(*app, context.program));
        return {};
    });
    group.command("zsh", "For zsh", [app, &context]() -> Status {
        print(zsh_script(*app, context.program));
        return {};
    });
}

}  // namespace axo::cli
