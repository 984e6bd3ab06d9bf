// The architectures: one row each, and below them only what is new in one.
#pragma once

#include <string>

#include "gguf.h"
#include "model.h"

namespace pl {

// The config of the model in `file`, checked. Fails with kUnsupported (an unknown architecture: the message lists the
// known ones) or kInvalidModel.
Config read_config(const Gguf& file);

// "falcon, gemma2, …"
std::string known_architectures();

}  // namespace pl
