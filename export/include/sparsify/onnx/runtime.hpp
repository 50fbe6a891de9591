// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "sparsify/onnx/export_graph.hpp"

namespace sparsify::onnx {

struct EngineOptions {
  int threads = 0;             ///< within an operator; 0: as many as LibTorch uses
  bool optimize = true;        ///< false: the file's operators as they stand, the reference semantics
  bool exact_integers = true;  ///< "session.x64quantprecision"; false: as ONNX Runtime is by default
  std::filesystem::path optimized_model{};  ///< where to write the graph that is really run; empty: nowhere
};

/// How an exported file is run to be compared: optimised for the cpu target. A file for GPU engines is run
/// operator by operator, as it stands, since CPU fusions round its tensors elsewhere than GPU engines do.
EngineOptions comparison_options(Target target);

/// Whether ONNX Runtime multiplies u8 by s8 exactly on this CPU when nothing is set: on x86 without VNNI it
/// adds products in pairs that saturate at 16 bits, unless "session.x64quantprecision" is "1".
bool default_integers_are_exact();

/// An .onnx file in ONNX Runtime on the CPU; its integers are exact on every CPU unless the options say
/// otherwise.
class Engine {
 public:
  /// Throws Error when the file cannot be loaded.
  explicit Engine(const std::filesystem::path& path, const EngineOptions& options = {});
  Engine(Engine&&) noexcept;
  Engine& operator=(Engine&&) noexcept;
  ~Engine();

  /// The first output for a single input, [N, ...] as exported; throws Error when shape or type do not fit.
  at::Tensor run(const at::Tensor& input);
  /// All outputs for all inputs, in the file's order.
  std::vector<at::Tensor> run(const std::vector<at::Tensor>& inputs);

  const std::vector<std::string>& input_names() const;
  const std::vector<std::string>& output_names() const;
  /// Of dimension 0 of the first input: how many samples a run takes; -1: any number.
  std::int64_t batch_size() const;

  /// ONNX Runtime's version.
  static std::string version();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Which layers ONNX Runtime computes with integers, found in the graph it runs.
struct FusionReport {
  std::map<std::string, std::int64_t> operators;  ///< how often each operator occurs in the graph that is run
  std::vector<std::string> integer_layers;  ///< node names of convolutions and matrix products in integers
  std::vector<std::string> float_layers;  ///< of those in floating point; names as in ExportReport::quantized
  std::map<std::string, std::string> kernels;  ///< the operator that computes each of both: "QLinearConv" ...
  /// How often each operator reads integers of an activation dequantized: it computes in floating point
  /// between integer kernels.
  std::map<std::string, std::int64_t> float_islands;
};

/// Loads the file with every optimisation and looks at the result.
FusionReport integer_layers(const std::filesystem::path& path);

}  // namespace sparsify::onnx
