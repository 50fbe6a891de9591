// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "sparsify/detection/box_output.hpp"
#include "sparsify/modifiers/quantization.hpp"
#include "sparsify/onnx/export.hpp"
#include "sparsify/onnx/runtime.hpp"
#include "sparsify/trainers/calibrate.hpp"
#include "workflow/data_source.hpp"
#include "workflow/saved_model.hpp"

namespace sparsify {

/// The target of a scheme's name: "cpu", "cpu-legacy", "deepsparse" or "gpu"; throws Error for anything else.
onnx::Target parse_target(const std::string& name);

/// How a file is to be.
struct ExportForm {
  onnx::Target target = onnx::Target::kCpu;
  int opset = onnx::ExportOptions{}.opset;
  std::int64_t batch_size = 0;  ///< images that a run takes; 0: any number
  /// Of a detector. Of what non-maximum suppression does, `multi_label` and `max_nms` are not for files.
  detection::BoxOutput boxes = detection::BoxOutput::kDecoded;
  detection::NmsOptions nms{};
};

/// What became of an export.
struct ExportOutcome {
  onnx::ExportReport report;
  std::int64_t integer_layers = 0;   ///< of those, computed in integers by ONNX Runtime; cpu target only
  std::int64_t two_four_layers = 0;  ///< whose weights hold 2:4 in the model and in the file
  std::vector<std::string> warnings{};
  std::vector<std::string> broken{};  ///< what must hold of the file and does not
};

/// Exports a model for the target its recipe quantizes for (any target when it does not quantize), runs the
/// ONNX checker, and looks whether ONNX Runtime computes just the planned layers in integers (cpu), whether
/// TensorRT's rules are kept (gpu), and whether 2:4 patterns are still there. `example`: [1, 3, H, W]. Throws
/// Error; no file is left then. The file's metadata says how images are to be normalised.
ExportOutcome export_checked(const SavedModel& saved, const at::Tensor& example, const ExportForm& form,
                             const std::filesystem::path& path);

/// An exported file in ONNX Runtime, run as its target is compared; any number of images, whatever number the
/// file takes.
Forward open_engine(const std::filesystem::path& path, onnx::Target target);
/// The same for the target that the file's metadata names.
Forward open_engine(const std::filesystem::path& path, const std::map<std::string, std::string>& metadata);

/// What `forward` of a trained network gives, as a file of this form has it.
Forward as_exported(const Network& network, Forward forward, const ExportForm& form);

/// An example when no data is at hand: seeded noise of the model's input size.
at::Tensor example_input(const ModelCard& card);

/// Puts quantizers on a trained model, replacing those of its recipe (post-training quantization). Weights
/// and batch-norms stay as they are unless `calibration` asks for more. The model is marked "requantized".
/// Returns what the user should know.
std::vector<std::string> requantize(SavedModel& saved, const Quantization::Options& options,
                                    const DataSource& data, const CalibrationOptions& calibration);

}  // namespace sparsify
