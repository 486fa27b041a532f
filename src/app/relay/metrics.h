// The relay's figures in Prometheus' text format. Thread: any.
#pragma once

#include <string>

#include "hubble/relay/service.h"

namespace axo {

std::string relay_metrics(relay_server::RelayService& service);

}  // namespace axo
