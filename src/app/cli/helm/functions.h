// What the templates' functions are written with. Thread: main's.
#pragma once

#include "app/cli/helm/template.h"

namespace axo::cli::helm {

std::unexpected<Error> wrong(const std::string& what);
// Checks the number of arguments; most: 0 means any.
Function counted(std::size_t least, std::size_t most, Function function);
// A function of texts.
Function of_texts(std::size_t count, std::function<Result<Value>(const std::vector<std::string>&)> function);
// What is no number counts as 0.
double as_number(const Value& value);
// "<1.30-0, >= 1.20": all parts hold for the version.
Result<bool> semver_matches(std::string constraint, const std::string& version);
std::vector<std::string> split(const std::string& separator, const std::string& text);

// Those of numbers, lists and objects.
void add_data_functions(Functions& all);
// Those that make certificates.
void add_certificate_functions(Functions& all);

}  // namespace axo::cli::helm
