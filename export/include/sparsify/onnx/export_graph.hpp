// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "sparsify/graph/graph.hpp"
#include "sparsify/quantization/plan.hpp"

namespace sparsify::onnx {

/// Which engines a file is for. Neither family accepts the other's form of a quantized model.
enum class Target {
  kCpu,  ///< ONNX Runtime, OpenVINO, oneDNN: unsigned activations, int32 bias behind a DequantizeLinear
  kGpu,  ///< TensorRT: signed symmetric activations, float bias
};

/// "cpu" or "gpu", the name of the quantization scheme that belongs to a target.
std::string name(Target target);

/// What a file is to leave of a detector's boxes.
struct BoxSelection {
  double confidence = 0.25;    ///< boxes score more than this
  double iou = 0.45;           ///< boxes of one class that overlap more than this are one object
  std::int64_t max_det = 300;  ///< kept at most of an image, the best ones
};

struct ExportOptions {
  Target target = Target::kCpu;
  int opset = 17;             ///< 13 to 17: what every engine of the two families reads
  bool dynamic_batch = true;  ///< dimension 0 of the inputs is symbolic ("batch")
  /// gpu only: weights as int8 initializers instead of float ones behind a QuantizeLinear. TensorRT before 10
  /// takes only the float form, and its sparsity tools understand no other; both forms hold the same
  /// integers.
  bool int8_weights = false;
  std::string graph_name = "sparsify";
  std::vector<std::string> input_names = {"input"};
  std::vector<std::string> output_names = {"output"};
  /// The graph gives boxes, [N, boxes, 5 + classes]: centre, size, objectness, class probabilities. The file
  /// then gives [N, max_det, 6] in their place: corners, score, class, best first, zeros behind the last.
  std::optional<BoxSelection> non_max_suppression{};
  std::map<std::string, std::string> metadata{};  ///< added to the file's metadata_props
};

/// A tensor that the plan rounds, in a file.
struct RoundedTensor {
  std::string site;    ///< of the call that makes it, as in the plan; "....sigmoid" inside a SiLU
  int quantizer = -1;  ///< index in the plan's activations
  std::string tensor;  ///< that holds its integers
};

struct ExportReport {
  std::filesystem::path path;
  std::int64_t bytes = 0;
  std::int64_t nodes = 0;
  std::int64_t layers = 0;  ///< convolutions and linear layers
  std::int64_t quantized_layers = 0;
  std::vector<std::string> quantized;         ///< their node names
  std::vector<UnquantizedLayer> unquantized;  ///< the others, each with the rule that says why
  std::vector<RoundedTensor> rounded;         ///< in the order of computation
  std::int64_t folded_batch_norms = 0;
  /// Channels whose bias would not have fitted int32 at the trained scale, and were put on a coarser grid.
  std::int64_t rescaled_channels = 0;
};

/// Writes a recorded forward pass as an ONNX file: batch-norms folded, quantizers placed as the plan says
/// (none without `trained`). An output that the plan rounds, because quantized layers read it too, leaves the
/// file rounded: engines compute nothing but its integers. The trained model returns it as it was before. The
/// file is written beside `path` and renamed. Throws Error naming the operator and its call site when one is
/// not covered, when the plan's scheme is not the target's, or when the file cannot be written (nothing is
/// left then).
ExportReport export_graph(const Graph& graph, const TrainedQuantization* trained,
                          const ExportOptions& options, const std::filesystem::path& path);

/// The name that a call site's node has in a file: the weight's name without ".weight".
std::string node_name(const std::string& site);

}  // namespace sparsify::onnx
