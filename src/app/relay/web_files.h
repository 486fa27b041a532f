// The files of the built page. Read when they are asked for: an upgrade in place is seen at once. Thread: any.
#pragma once

#include <string>

#include "io/http.h"

namespace axo {

// path: of the request, decoded. What is not below root, or not a plain file, is not there.
HttpResponse web_file(const std::string& root, const std::string& path);
// share/axoneme/ui beside the folder of this program: the same in a build, an installation and the image.
std::string default_web_root();

}  // namespace axo
