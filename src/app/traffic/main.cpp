// axoneme-traffic: what `axoneme connectivity`, the cluster tests, the demo and the benchmarks send through a cluster,
// and the server they send it to.
//
//   axoneme-traffic serve --port P [--cpu N]
//   axoneme-traffic probe < targets.json
//   axoneme-traffic load --to A --port P [--protocol udp|icmp] [--per-second N] [--bytes N] [--seconds N]
//   axoneme-traffic stream --to A --port P [--per-second N] [--bytes N] [--seconds N]
//   axoneme-traffic rr|crr|bulk --to A --port P [--protocol tcp|udp] [--seconds N] [--cpu N]
#include <cstdio>
#include <cstdlib>
#include <map>

#include "app/traffic/modes.h"

namespace axo::traffic {
namespace {

class Arguments {
public:
    static Result<Arguments> parse(int argc, char** argv) {
        Arguments arguments;
        for (int i = 2; i < argc; i += 2) {
            const std::string name = argv[i];
            if (!name.starts_with("--") || i + 1 == argc)
                return fail(Code::kInvalidArgument, "'" + name + "': expected --NAME VALUE");
            arguments.values_[name.substr(2)] = argv[i + 1];
        }
        return arguments;
    }
    [[nodiscard]] std::string text(const std::string& name, const std::string& fallback) const {
        const auto found = values_.find(name);
        return found == values_.end() ? fallback : found->second;
    }
    [[nodiscard]] double number(const std::string& name, double fallback) const {
        const auto found = values_.find(name);
        return found == values_.end() ? fallback : std::strtod(found->second.c_str(), nullptr);
    }

private:
    std::map<std::string, std::string> values_;
};

Status run(const std::string& mode, const Arguments& arguments) {
    const auto port = static_cast<std::uint16_t>(arguments.number("port", 7000));
    const int cpu = static_cast<int>(arguments.number("cpu", -1));
    if (mode == "serve") return serve(port, cpu);
    if (mode == "probe") return probe();
    TRY_ASSIGN(const IpAddress to, IpAddress::parse(arguments.text("to", "")));
    const LoadOptions load_options{
        .to = to,
        .port = port,
        .protocol = arguments.text("protocol", "udp"),
        .per_second = static_cast<int>(arguments.number("per-second", mode == "load" ? 500 : 100)),
        .bytes = static_cast<std::size_t>(arguments.number("bytes", mode == "load" ? 64 : 1400)),
        .seconds = static_cast<int>(arguments.number("seconds", 0))};
    if (load_options.per_second < 2 || load_options.per_second > 100000) {
        return fail(Code::kInvalidArgument, "--per-second: expected 2 to 100000");
    }
    if (mode == "load") return load(load_options);
    if (mode == "stream") return stream(load_options);
    const RateOptions rate_options{.to = to,
                                   .port = port,
                                   .protocol = arguments.text("protocol", "tcp"),
                                   .seconds = arguments.number("seconds", 3),
                                   .cpu = cpu};
    if (mode == "rr") return request_response(rate_options);
    if (mode == "crr") return connect_request_response(rate_options);
    if (mode == "bulk") return bulk(rate_options);
    return fail(Code::kInvalidArgument, "mode '" + mode + "': expected serve, probe, load, stream, rr, crr or bulk");
}

}  // namespace
}  // namespace axo::traffic

int main(int argc, char** argv) {
    auto arguments = axo::traffic::Arguments::parse(argc, argv);
    axo::Status status = arguments ? axo::traffic::run(argc > 1 ? argv[1] : "", *arguments)
                                   : axo::Status(axo::forward_error(arguments.error()));
    if (status) return 0;
    std::fprintf(stderr, "axoneme-traffic: %s\n", status.error().message.c_str());
    return 1;
}
