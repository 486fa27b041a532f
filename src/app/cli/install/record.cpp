#include "app/cli/install/record.h"

namespace axo::cli::install {

namespace {
constexpr const char* kName = "axoneme-installation";
}

Json record_object(const std::string& space, const Record& record) {
    Json object = reference("v1", "ConfigMap", space, kName);
    object["metadata"]["labels"] = {{"app.kubernetes.io/part-of", "cilium"}};
    object["data"] = {{"objects", Json(record.objects).dump()},
                      {"values", record.values.dump()},
                      {"version", record.version},
                      {"made-namespace", record.made_namespace ? "true" : "false"}};
    return object;
}

Result<std::optional<Record>> read_record(Api& api, const std::string& space) {
    const auto object = get_object(api, reference("v1", "ConfigMap", space, kName));
    if (!object && object.error().code == Code::kNotFound) return std::nullopt;
    if (!object) return forward_error(object.error());
    Record record{.values = Json::parse(text_at(*object, "/data/values"), nullptr, false),
                  .version = text_at(*object, "/data/version"),
                  .made_namespace = text_at(*object, "/data/made-namespace") == "true"};
    const Json objects = Json::parse(text_at(*object, "/data/objects"), nullptr, false);
    bool good = objects.is_array() && record.values.is_object();
    for (const Json& one : good ? objects : Json::array()) {
        good = good && object_path(one).has_value();
        record.objects.push_back(one);
    }
    if (!good) return fail(Code::kDataLoss, object_title(*object) + ": its data is not a record of an installation");
    return record;
}

}  // namespace axo::cli::install
