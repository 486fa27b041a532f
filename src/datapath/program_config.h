// Settings, decisions and devices -> the structs in the programs' read-only data. Pure.
#pragma once

#include "datapath/devices.h"
#include "datapath/programs.h"

namespace axo {

ProgramConfig make_program_config(const DatapathSettings& settings, const KernelFeatures& features,
                                  const DatapathDecisions& decisions, const BaseDevices& devices);

}  // namespace axo
