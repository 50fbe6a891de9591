// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/autocast_mode.h>

#include <string>

namespace sparsify {

enum class Precision { kFp32, kBf16, kFp16 };

/// "auto", "fp32", "bf16" or "fp16"; throws Error for anything else. `auto` is bf16 where the device computes
/// with it natively (CPUs with AVX512-BF16 or AMX, GPUs from Ampere on), else fp32.
Precision parse_precision(const std::string& name, at::Device device);
std::string to_string(Precision precision);

/// Autocast for the forward pass: switched on while it lives, unless the precision is fp32.
class Autocast {
 public:
  Autocast(Precision precision, at::Device device);
  ~Autocast();
  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;

 private:
  at::DeviceType device_;
  bool active_;
  bool was_enabled_ = false;
  at::ScalarType previous_ = at::kFloat;
};

}  // namespace sparsify
