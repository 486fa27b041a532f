// How `axoneme sandbox` shows clusters and pods: text for people, JSON for scripts. Thread: any.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "sandbox/cluster.h"
#include "sandbox/pods.h"

namespace axo {

void print_error(const Error& error);

std::string cluster_text(const sandbox::Cluster& cluster);
nlohmann::json cluster_json(const sandbox::Cluster& cluster);
std::string pods_text(const std::vector<sandbox::Pod>& pods);
nlohmann::json pods_json(const std::vector<sandbox::Pod>& pods);
std::string pods_added_text(const sandbox::PodsAdded& added);
nlohmann::json pods_added_json(const sandbox::PodsAdded& added);

}  // namespace axo
