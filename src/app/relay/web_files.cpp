#include "app/relay/web_files.h"

#include <array>
#include <filesystem>
#include <utility>

#include "base/file.h"

namespace axo {
namespace {

namespace fs = std::filesystem;

constexpr std::array<std::pair<std::string_view, const char*>, 7> kTypes{{
    {".html", "text/html; charset=utf-8"},
    {".js", "text/javascript; charset=utf-8"},
    {".css", "text/css; charset=utf-8"},
    {".svg", "image/svg+xml"},
    {".woff2", "font/woff2"},
    {".json", "application/json"},
    {".png", "image/png"},
}};

// Flows name what clients sent (paths, DNS names): nothing of it may become code, and no other site may frame the page.
constexpr const char* kPolicy =
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'";

HttpResponse not_found() {
    return {.status = 404, .body = "not found\n", .content_type = "text/plain"};
}

}  // namespace

std::string default_web_root() {
    std::error_code error;
    const fs::path self = fs::read_symlink("/proc/self/exe", error);
    return (self.parent_path().parent_path() / "share/axoneme/ui").string();
}

HttpResponse web_file(const std::string& root, const std::string& path) {
    for (const fs::path& part : fs::path(path))
        if (part.string().starts_with('.')) return not_found();
    const bool front = path.empty() || path == "/";
    // "//etc/x.json" is absolute behind its first slash, and would take root's place.
    const fs::path file = (fs::path(root) / (front ? "index.html" : fs::path(path).relative_path())).lexically_normal();
    const fs::path inside = file.lexically_relative(fs::path(root).lexically_normal());
    if (inside.empty() || *inside.begin() == "..") return not_found();
    const auto type =
        std::ranges::find(kTypes, file.extension().string(), &std::pair<std::string_view, const char*>::first);
    std::error_code error;
    if (type == kTypes.end() || !fs::is_regular_file(file, error))
        return front ? HttpResponse{.status = 404,
                                    .body = "The page is not installed at " + root +
                                            " (--web-root). The API is at /api/v1/.\n",
                                    .content_type = "text/plain"}
                     : not_found();
    auto content = read_file(file.string());
    if (!content) return not_found();
    HttpResponse response{.status = 200, .body = std::move(*content), .content_type = type->second};
    response.headers["Content-Security-Policy"] = kPolicy;
    response.headers["X-Content-Type-Options"] = "nosniff";
    response.headers["Referrer-Policy"] = "no-referrer";
    // Names below assets/ hold a digest of what is in them.
    response.headers["Cache-Control"] =
        path.starts_with("/assets/") ? "public, max-age=31536000, immutable" : "no-cache";
    return response;
}

}  // namespace axo
