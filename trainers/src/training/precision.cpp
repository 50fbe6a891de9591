// SPDX-License-Identifier: Apache-2.0
#include "sparsify/trainers/precision.hpp"

#include <torch/torch.h>

#include <fstream>

#include "sparsify/error.hpp"

namespace sparsify {
namespace {

bool cpu_computes_bf16() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);)
    if (line.rfind("flags", 0) == 0)
      return line.find(" avx512_bf16") != std::string::npos || line.find(" amx_bf16") != std::string::npos;
  return false;
}

}  // namespace

Precision parse_precision(const std::string& name, at::Device device) {
  if (name == "fp32") return Precision::kFp32;
  if (name == "bf16") return Precision::kBf16;
  if (name == "fp16") return Precision::kFp16;
  if (name != "auto") throw Error("precision: expected auto, fp32, bf16 or fp16, got '" + name + "'");
  if (device.is_cuda()) return Precision::kBf16;
  return cpu_computes_bf16() ? Precision::kBf16 : Precision::kFp32;
}

std::string to_string(Precision precision) {
  return precision == Precision::kFp32 ? "fp32" : precision == Precision::kBf16 ? "bf16" : "fp16";
}

Autocast::Autocast(Precision precision, at::Device device)
    : device_(device.type()), active_(precision != Precision::kFp32) {
  if (!active_) return;
  was_enabled_ = at::autocast::is_autocast_enabled(device_);
  previous_ = at::autocast::get_autocast_dtype(device_);
  at::autocast::set_autocast_enabled(device_, true);
  at::autocast::set_autocast_dtype(device_, precision == Precision::kBf16 ? at::kBFloat16 : at::kHalf);
  at::autocast::increment_nesting();
}

Autocast::~Autocast() {
  if (!active_) return;
  // Casts of weights are cached for one forward pass; the next one must see the stepped weights.
  if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
  at::autocast::set_autocast_enabled(device_, was_enabled_);
  at::autocast::set_autocast_dtype(device_, previous_);
}

}  // namespace sparsify
