// The chart deploy/helm/axoneme, as it was when this program was built, rendered as `helm template` does it.
// Thread: main's.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "app/cli/helm/template.h"

namespace axo::cli::helm {

// Path in the chart -> content: "values.yaml", "templates/…".
using Chart = std::map<std::string, std::string_view>;
const Chart& embedded_chart();

struct Release {
    std::string name = "axoneme";
    std::string name_space = "kube-system";
    bool upgrade = false;
    std::string kubernetes_version = "v1.30.0";
};

// The defaults of the chart under the given values: a null takes a default away.
Result<Value> chart_values(const Chart& chart, const Json& given);
// `--set a.b=1,c={x,y},d[0].e=z`, with \ before a comma, point or = that is meant literally. as_text: --set-string.
Status set_value(Json& values, const std::string& assignment, bool as_text = false);
// The same for one path and a text that is taken as it is: --set-file.
Status set_value_at(Json& values, const std::string& path, const std::string& text);
// What stands behind several `-f`: objects are merged, the later value wins.
void overlay(Json& below, const Json& above);

struct Rendered {
    std::map<std::string, std::string> manifests;  // by template
    std::string notes;
};
// kFailedPrecondition: the chart refuses the values; the message is its own.
Result<Rendered> render(const Chart& chart, const Release& release, const Json& given, Engine::Lookup lookup = {});
// Of a text with several, separated by lines "---".
std::vector<std::string> documents(const std::string& text);
// As `helm template` prints them.
std::string manifest_text(const Rendered& rendered);
// The objects of all manifests, in an order in which they can be made.
Result<std::vector<Json>> manifest_objects(const Rendered& rendered);

}  // namespace axo::cli::helm
