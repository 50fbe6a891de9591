// SPDX-License-Identifier: Apache-2.0
#include <ATen/ATen.h>

#include <algorithm>
#include <set>

#include "inspect/weights.hpp"
#include "sparsify/onnx/lint.hpp"

namespace sparsify::onnx {
namespace {

// TensorRT moves quantizers through what only selects and rearranges.
bool commutes(const pb::NodeProto& node) {
  static const std::set<std::string> operators = {
      "MaxPool", "Reshape",   "Flatten", "Transpose", "Squeeze",  "Slice",  "Gather",      "Pad",
      "Resize",  "Unsqueeze", "Split",   "Concat",    "Identity", "Expand", "DepthToSpace"};
  const auto interpolates = [](const pb::AttributeProto& one) {
    return one.name() == "mode" && one.s() != "nearest";
  };
  const auto& attributes = node.attribute();
  return operators.count(node.op_type()) &&
         !(node.op_type() == "Resize" && std::any_of(attributes.begin(), attributes.end(), interpolates));
}

// What it computes together with the layer before.
const std::set<std::string> kFused = {"Add",     "Relu",      "Clip", "LeakyRelu",   "PRelu",
                                      "Sigmoid", "HardSwish", "Mul",  "HardSigmoid", "Tanh"};
const std::set<std::string> kForbidden = {"QLinearConv", "QLinearMatMul", "QLinearAdd",           "QGemm",
                                          "ConvInteger", "MatMulInteger", "DynamicQuantizeLinear"};

class GpuRules {
 public:
  explicit GpuRules(const pb::ModelProto& model) : model_(model), index_(model.graph()) {}

  GpuLint run() {
    for (const auto& opset : model_.opset_import())
      if (opset.domain().empty() && (opset.version() < 13 || opset.version() > 17))
        report("opset", "", "opset " + std::to_string(opset.version()) + "; expected 13 to 17");
    for (const auto& node : model_.graph().node()) {
      if (kForbidden.count(node.op_type()))
        report("operator", node.name(),
               node.op_type() + " is not imported; expected QuantizeLinear and DequantizeLinear");
      if (node.op_type() == "QuantizeLinear" || node.op_type() == "DequantizeLinear") check_quantizer(node);
      if (is_layer(node)) check_layer(node);
      if (node.op_type() == "Add") check_sum(node);
      if (node.op_type() == "Concat") check_concatenation(node);
    }
    return std::move(lint_);
  }

 private:
  void report(const char* rule, const std::string& node, const std::string& message) {
    lint_.findings.push_back({rule, node, message});
  }

  void check_quantizer(const pb::NodeProto& node) {
    if (node.input_size() < 2) return report("operator", node.name(), "has no scale");
    const auto* zero_point = node.input_size() > 2 ? index_.initializer(node.input(2)) : nullptr;
    const auto* data = index_.initializer(node.input(0));
    const int type = zero_point ? zero_point->data_type()
                     : data     ? data->data_type()
                                : int{pb::TensorProto::UINT8};
    if (type == pb::TensorProto::INT32)
      report("int32-bias", node.name(), "dequantizes 32-bit integers; expected a float bias");
    else if (type != pb::TensorProto::INT8)
      report("unsigned", node.name(), "quantizes to unsigned integers; expected int8");
    if (zero_point && to_tensor(*zero_point).any().item<bool>())
      report("zero-point", node.name(), "has a zero point other than 0");
    check_scale(node);
  }

  void check_scale(const pb::NodeProto& node) {
    const auto* scale = index_.initializer(node.input(1));
    if (!scale) return report("scale", node.name(), "its scale is computed; expected a constant");
    if (!(to_tensor(*scale) > 0).all().item<bool>())
      report("scale", node.name(), "has a scale that is not positive");
    if (scale->dims_size() == 1 && scale->dims(0) > 1 && !index_.source(node.input(0)))
      report("granularity", node.name(), "rounds an activation per channel; expected one scale per tensor");
  }

  const pb::NodeProto* dequantizer(const std::string& tensor) const {
    const auto* node = index_.producer(tensor);
    return node && node->op_type() == "DequantizeLinear" && node->input_size() >= 2 ? node : nullptr;
  }

  bool is_quantized_layer(const pb::NodeProto* node) const {
    return node && is_layer(*node) && dequantizer(node->input(1));
  }

  // What gives a tensor its grid, through operators that keep it: a DequantizeLinear, or null.
  const pb::NodeProto* grid_of(const std::string& tensor) const {
    const auto* node = index_.producer(tensor);
    for (int steps = 0; node && steps <= model_.graph().node_size(); ++steps) {
      if (node->op_type() == "DequantizeLinear") return node;
      node = commutes(*node) && node->input_size() > 0 ? index_.producer(node->input(0)) : nullptr;
    }
    return nullptr;
  }

  // Whether a tensor reaches a quantizer, or a quantized layer, through operators that TensorRT moves
  // quantizers through, or else (`fused`) computes together with the layer before.
  bool becomes_integers(const std::string& tensor, bool fused) const {
    std::vector<std::string> open = {tensor};
    std::set<std::string> seen;
    while (!open.empty()) {
      const auto name = open.back();
      open.pop_back();
      if (!seen.insert(name).second) continue;
      for (const auto* reader : index_.consumers(name)) {
        if (reader->op_type() == "QuantizeLinear" || is_quantized_layer(reader)) return true;
        if (commutes(*reader) || (fused && kFused.count(reader->op_type())))
          open.insert(open.end(), reader->output().begin(), reader->output().end());
      }
    }
    return false;
  }

  // Whether a tensor is rounded, directly or before operators that keep the grid.
  bool is_rounded(const std::string& tensor, int depth = 0) const {
    const auto* node = index_.producer(tensor);
    if (!node || node->input_size() == 0 || depth > model_.graph().node_size()) return false;
    if (node->op_type() == "DequantizeLinear") return true;
    if (!commutes(*node)) return false;
    const int inputs = node->op_type() == "Concat" ? node->input_size() : 1;
    for (int i = 0; i < inputs; ++i)
      if (!is_rounded(node->input(i), depth + 1)) return false;
    return true;
  }

  void check_layer(const pb::NodeProto& layer) {
    const auto* weight = dequantizer(layer.input(1));
    const bool rounded = is_rounded(layer.input(0));
    if (weight && !rounded) report("input", layer.name(), "its weight is quantized, its input is not");
    const auto* input = dequantizer(layer.input(0));
    if (!weight && input && layer_weight(index_, layer) && !is_for_others(*input))
      report("weight", layer.name(), "its input is quantized for it alone, its weight is not");
    if (weight) check_axis(layer, *weight);
    check_residual(layer);
    if (layer_weight(index_, layer)) lint_.two_four.push_back(two_four(layer));
  }

  // Whether anything but float layers reads the integers that a DequantizeLinear reads.
  bool is_for_others(const pb::NodeProto& dequantizer) const {
    for (const auto* sibling : index_.consumers(dequantizer.input(0)))
      for (const auto* reader : index_.consumers(sibling->output(0)))
        if (!is_layer(*reader) || is_quantized_layer(reader)) return true;
    return false;
  }

  void check_axis(const pb::NodeProto& layer, const pb::NodeProto& weight) {
    const auto* scale = index_.initializer(weight.input(1));
    if (!scale || scale->dims_size() == 0) return;
    const auto& op = layer.op_type();
    const std::int64_t expected =
        op == "ConvTranspose" || op == "MatMul" || (op == "Gemm" && !attribute(layer, "transB", 0));
    const auto axis = attribute(weight, "axis", 1);
    if (axis != expected)
      report("weight-axis", layer.name(),
             "scales along axis " + std::to_string(axis) + "; expected " + std::to_string(expected));
  }

  // A quantizer between a convolution and the addition it should be fused with.
  void check_residual(const pb::NodeProto& layer) {
    const auto quantizers = index_.consumers(layer.output(0));
    if (quantizers.size() != 1 || quantizers[0]->op_type() != "QuantizeLinear") return;
    for (const auto* node : index_.consumers(quantizers[0]->output(0)))
      for (const auto* reader : index_.consumers(node->output(0)))
        if (reader->op_type() == "Add" && both_from_layers(*reader))
          report("residual", layer.name(),
                 "is quantized before '" + reader->name() + "' like the other input; one must not be");
  }

  // A convolution takes in the sum that alone follows it when the other side, the skip side, is rounded.
  void check_sum(const pb::NodeProto& add) {
    if (add.input_size() != 2 || grid_of(add.input(0)) || grid_of(add.input(1))) return;
    if (index_.consumers(add.output(0)).size() != 1) return;
    if (index_.source(add.input(0)) || index_.source(add.input(1))) return;
    const bool from_layer = is_quantized_layer(index_.producer(add.input(0))) ||
                            is_quantized_layer(index_.producer(add.input(1)));
    if (from_layer && becomes_integers(add.output(0), true))
      report("skip", add.name(),
             "adds to a quantized layer's output what is not rounded; expected a quantizer on it");
  }

  void check_concatenation(const pb::NodeProto& concatenation) {
    if (!becomes_integers(concatenation.output(0), false)) return;
    int rounded = 0, computed = 0;
    std::set<double> scales;
    for (const auto& input : concatenation.input()) {
      if (index_.source(input)) continue;
      ++computed;
      const auto* grid = grid_of(input);
      const auto* scale = grid ? index_.initializer(grid->input(1)) : nullptr;
      if (!scale) continue;
      ++rounded;
      scales.insert(to_tensor(*scale).flatten()[0].item<double>());
    }
    if (scales.size() > 1 || (rounded > 0 && rounded < computed))
      report("concat", concatenation.name(), "joins tensors of different scales; expected one for all");
  }

  bool both_from_layers(const pb::NodeProto& add) const {
    return add.input_size() == 2 && dequantizer(add.input(0)) && dequantizer(add.input(1));
  }

  TwoFourLayer two_four(const pb::NodeProto& layer) const {
    const auto weight = oriented_weight(index_, layer);
    TwoFourLayer facts{layer.name(), layer_weight(index_, layer)->name(), is_two_four(weight), ""};
    if (attribute(layer, "group", 1) != 1) {
      facts.valid = false;
      facts.reason = "grouped convolutions have no sparse kernels";
    } else if (weight.size(1) % 4 != 0) {
      facts.reason = std::to_string(weight.size(1)) + " input channels; expected a multiple of 4";
    } else if (!facts.valid) {
      facts.reason = "a group of four input channels has more than two weights";
    } else if (is_quantized_layer(&layer) && !becomes_integers(layer.output(0), true)) {
      facts.valid = false;
      facts.reason = "its output is not quantized, and sparse INT8 kernels give INT8";
    }
    return facts;
  }

  const pb::ModelProto& model_;
  GraphIndex index_;
  GpuLint lint_;
};

}  // namespace

GpuLint lint_gpu(const std::filesystem::path& path) {
  const auto model = read_model(path);
  return GpuRules(model).run();
}

}  // namespace sparsify::onnx
