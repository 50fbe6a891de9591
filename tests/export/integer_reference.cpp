// SPDX-License-Identifier: Apache-2.0
#include "integer_reference.hpp"

#include <torch/torch.h>

#include <functional>
#include <map>
#include <optional>

#include "ir/proto.hpp"
#include "sparsify/error.hpp"

namespace sparsify::onnx::testing {
namespace {

using at::Tensor;
using Ints = std::vector<std::int64_t>;

// A tensor, and where its values come from as far as rounding needs it.
struct Value {
  Tensor real;          ///< float64; integers themselves for what a QuantizeLinear gives
  Tensor integers;      ///< behind a DequantizeLinear: integer minus zero point, float64
  Tensor scale;         ///< of these integers, float32; one, or one a channel
  Tensor sums;          ///< behind a layer with integer inputs: exact sums, float64
  Tensor factor;        ///< of these sums, float32, shaped to multiply them
  Tensor zero_point{};  ///< behind a DequantizeLinear
  /// Behind a sum of two such: what ONNX Runtime's kernel gives on that scale and zero point, not clipped
  /// yet.
  std::function<Tensor(const Tensor& scale, const Tensor& zero_point)> rounded_sum{};
};

Ints ints(const pb::NodeProto& node, const std::string& name, Ints fallback) {
  for (const auto& attribute : node.attribute())
    if (attribute.name() == name) return {attribute.ints().begin(), attribute.ints().end()};
  return fallback;
}

double number(const pb::NodeProto& node, const std::string& name, double fallback) {
  for (const auto& attribute : node.attribute())
    if (attribute.name() == name) return attribute.f();
  return fallback;
}

std::string text(const pb::NodeProto& node, const std::string& name) {
  for (const auto& attribute : node.attribute())
    if (attribute.name() == name) return attribute.s();
  return "";
}

Tensor wide(const Tensor& tensor) { return tensor.to(torch::kDouble); }

// Pads of ONNX (all beginnings, all ends) for the last two dimensions, in LibTorch's order.
Tensor padded(const Tensor& x, const Ints& pads, double value = 0) {
  return torch::constant_pad_nd(x, {pads[1], pads[3], pads[0], pads[2]}, value);
}

}  // namespace

struct IntegerReference::State {
  pb::ModelProto model;
  std::map<std::string, Value> constants, values;
  const pb::NodeProto* node = nullptr;

  [[noreturn]] void unknown(const std::string& what) const {
    throw Error("reference: " + node->op_type() + " '" + node->name() + "': " + what);
  }

  bool has(int i) const { return i < node->input_size() && !node->input(i).empty(); }
  const Value& input(int i) const {
    const auto found = values.find(node->input(i));
    if (found == values.end()) unknown("input " + node->input(i) + " is not there");
    return found->second;
  }
  Ints numbers(int i) const {
    const auto list = input(i).real.to(torch::kLong).flatten().contiguous();
    return {list.data_ptr<std::int64_t>(), list.data_ptr<std::int64_t>() + list.numel()};
  }

  Tensor along(const Tensor& per_channel, std::int64_t axis, std::int64_t rank) const {
    if (per_channel.dim() == 0) return per_channel;
    Ints sizes(static_cast<std::size_t>(rank), 1);
    sizes[static_cast<std::size_t>(axis)] = -1;
    return per_channel.reshape(sizes);
  }

  void run(const Tensor& images) {
    values = constants;
    values[model.graph().input(0).name()].real = wide(images);
    for (const auto& one : model.graph().node()) {
      node = &one;
      evaluate();
    }
  }

  void set(Value value) { values[node->output(0)] = std::move(value); }
  void set(const Tensor& real) { set(Value{real, {}, {}, {}, {}}); }

  // --- rounding ---

  void quantize() {
    const auto& x = input(0);
    const auto& scale = input(1).scale;
    const auto& zero_point = input(2).real;
    const bool is_signed = input(2).integers.defined();
    const auto axis = attribute(*node, "axis", 1);
    const auto rank = x.real.dim();
    // A layer's kernel multiplies its sums by one number that holds all three scales.
    const auto scaled = x.sums.defined() ? wide(x.sums.to(torch::kFloat) * (x.factor / scale))
                                         : wide(x.real.to(torch::kFloat) / along(scale, axis, rank));
    const auto lowest = is_signed ? -128 : 0, highest = is_signed ? 127 : 255;
    if (x.rounded_sum && !is_signed)
      return set(torch::clamp(x.rounded_sum(scale, zero_point), lowest, highest));
    set(torch::clamp(torch::round(scaled) + along(zero_point, axis, rank), lowest, highest));
  }

  void dequantize() {
    const auto axis = attribute(*node, "axis", 1);
    const auto& x = input(0).real;
    Value value;
    value.integers = x - along(input(2).real, axis, x.dim());
    value.scale = input(1).scale;
    value.zero_point = input(2).real;
    value.real = value.integers * wide(along(value.scale, axis, x.dim()));
    set(std::move(value));
  }

  // --- layers ---

  // Bias: integers in units of the sums, or floating-point values, or nothing.
  void layer(const Tensor& sums_without_bias, std::int64_t rank) {
    const auto &x = input(0), &w = input(1);
    const auto per_channel = [&](const Tensor& tensor) {
      return along(tensor, rank == 4 ? 1 : rank - 1, rank);
    };
    Value value;
    value.sums = sums_without_bias;
    value.factor = per_channel(x.scale * w.scale);
    if (has(2) && input(2).integers.defined()) value.sums = value.sums + per_channel(input(2).integers);
    value.real = value.sums * wide(value.factor);
    if (has(2) && !input(2).integers.defined()) {
      value.real = value.real + per_channel(input(2).real);
      value.sums = Tensor();  // a floating-point bias: no integer kernel
    }
    set(std::move(value));
  }

  void convolve() {
    const auto &x = input(0), &w = input(1);
    const auto pads = ints(*node, "pads", {0, 0, 0, 0});
    const bool integer = x.integers.defined() && w.integers.defined();
    const auto sums =
        torch::conv2d(padded(integer ? x.integers : x.real, pads), integer ? w.integers : w.real, {},
                      ints(*node, "strides", {1, 1}), Ints{0, 0}, ints(*node, "dilations", {1, 1}),
                      attribute(*node, "group", 1));
    if (integer) return layer(sums, 4);
    set(has(2) ? sums + input(2).real.reshape({1, -1, 1, 1}) : sums);
  }

  void multiply_matrices() {
    const auto &x = input(0), &w = input(1);
    if (attribute(*node, "transB", 0) != 1) unknown("expected transB");
    if (x.integers.defined() && w.integers.defined()) return layer(torch::mm(x.integers, w.integers.t()), 2);
    const auto product = torch::mm(x.real, w.real.t());
    set(has(2) ? product + input(2).real : product);
  }

  // --- operators that give integers on, or compute on reals ---

  void carry(const std::function<Tensor(const Tensor&)>& apply) {
    const auto& x = input(0);
    Value value;
    value.real = apply(x.real);
    if (x.integers.defined()) value.integers = apply(x.integers), value.scale = x.scale;
    set(std::move(value));
  }

  void max_pool() {
    const auto pads = ints(*node, "pads", {0, 0, 0, 0});
    carry([&](const Tensor& x) {
      return torch::max_pool2d(padded(x, pads, -1e30), ints(*node, "kernel_shape", {}),
                               ints(*node, "strides", {1, 1}));
    });
  }

  void resize() {
    if (text(*node, "mode") != "nearest") unknown("expected nearest");
    const auto scales = input(2).real;
    carry([&](const Tensor& x) {
      const auto size = [&](int i) {
        return static_cast<std::int64_t>(static_cast<double>(x.size(i)) * scales[i].item<double>());
      };
      return torch::upsample_nearest2d(x, at::IntArrayRef{size(2), size(3)});
    });
  }

  void split() {
    const auto parts = torch::split_with_sizes(input(0).real, numbers(1), attribute(*node, "axis", 0));
    for (int i = 0; i < node->output_size(); ++i)
      values[node->output(i)].real = parts[static_cast<std::size_t>(i)];
  }

  void slice() {
    carry([&](Tensor x) {
      const auto starts = numbers(1), ends = numbers(2), axes = numbers(3);
      const auto steps = has(4) ? numbers(4) : Ints(axes.size(), 1);
      for (std::size_t i = 0; i < axes.size(); ++i) x = x.slice(axes[i], starts[i], ends[i], steps[i]);
      return x;
    });
  }

  void pad() {
    const auto pads = numbers(1);
    carry([&](const Tensor& x) {
      std::vector<std::int64_t> amounts;
      for (std::int64_t i = x.dim(); i-- > 0;)
        amounts.push_back(pads[static_cast<std::size_t>(i)]),
            amounts.push_back(pads[static_cast<std::size_t>(i + x.dim())]);
      return torch::constant_pad_nd(x, amounts, 0);
    });
  }

  void concatenate() {
    std::vector<Tensor> parts;
    for (int i = 0; i < node->input_size(); ++i) parts.push_back(input(i).real);
    set(torch::cat(parts, attribute(*node, "axis", 0)));
  }

  // Fused multiply-adds in float32 on ratios of scales; double holds what they round.
  void add() {
    const auto a = input(0), b = input(1);
    Value sum;
    sum.real = a.real + b.real;
    if (a.zero_point.defined() && b.zero_point.defined() && a.real.sizes() == b.real.sizes())
      sum.rounded_sum = [a, b](const Tensor& scale, const Tensor& zero_point) {
        const auto narrowed = [](const Tensor& x) { return wide(x.to(torch::kFloat)); };
        const auto of_a = wide(a.scale / scale), of_b = wide(b.scale / scale);
        const auto offsets = narrowed(of_a * a.zero_point + narrowed(of_b * b.zero_point));
        const auto with_b = narrowed((b.integers + b.zero_point) * of_b + narrowed(zero_point - offsets));
        return torch::round(narrowed((a.integers + a.zero_point) * of_a + with_b));
      };
    set(std::move(sum));
  }

  // Rounding clips at the same places, so the exact sums stay the ones to round.
  void rectify() {
    auto value = input(0);
    value.real = torch::relu(value.real);
    value.integers = Tensor();
    if (value.sums.defined()) value.sums = torch::relu(value.sums);
    set(std::move(value));
  }

  void evaluate() {
    const auto& op = node->op_type();
    if (op == "QuantizeLinear") return quantize();
    if (op == "DequantizeLinear") return dequantize();
    if (op == "Conv") return convolve();
    if (op == "Gemm") return multiply_matrices();
    if (op == "Relu") return rectify();
    if (op == "MaxPool") return max_pool();
    if (op == "Resize") return resize();
    if (op == "Split") return split();
    if (op == "Slice") return slice();
    if (op == "Pad") return pad();
    if (op == "Concat") return concatenate();
    if (op == "Identity") return set(Value(input(0)));
    if (op == "Add") return add();
    if (op == "Mul") return set(input(0).real * input(1).real);
    if (op == "Sigmoid") return set(torch::sigmoid(input(0).real));
    if (op == "LeakyRelu") return set(torch::leaky_relu(input(0).real, number(*node, "alpha", 0.01)));
    if (op == "Clip")
      return set(torch::clamp(input(0).real, input(1).real.item<double>(), input(2).real.item<double>()));
    if (op == "GlobalAveragePool") return set(input(0).real.mean({2, 3}, true));
    if (op == "Flatten")
      return carry([&](const Tensor& x) { return x.flatten(attribute(*node, "axis", 1)); });
    if (op == "Reshape") return carry([&](const Tensor& x) { return x.reshape(numbers(1)); });
    unknown("no rule for it");
  }
};

IntegerReference::IntegerReference(const std::filesystem::path& path) : state_(std::make_unique<State>()) {
  state_->model = read_model(path);
  for (const auto& initializer : state_->model.graph().initializer()) {
    const auto tensor = to_tensor(initializer);
    Value value{wide(tensor), {}, tensor, {}, {}};
    if (tensor.scalar_type() == torch::kChar) value.integers = value.real;  // marks the type of a zero point
    state_->constants[initializer.name()] = value;
  }
}

IntegerReference::~IntegerReference() = default;

Tensor IntegerReference::run(const Tensor& input) {
  const torch::NoGradGuard no_grad;
  state_->run(input);
  return state_->values.at(state_->model.graph().output(0).name()).real;
}

Steps IntegerReference::steps(const Tensor& input, const std::vector<RoundedTensor>& rounded) {
  run(input);
  const GraphIndex index(state_->model.graph());
  Steps steps;
  for (const auto& one : rounded) {
    const auto& zero_point = state_->values.at(index.producer(one.tensor)->input(2)).real;
    steps[one.site] = (state_->values.at(one.tensor).real - zero_point).to(torch::kShort);
  }
  return steps;
}

}  // namespace sparsify::onnx::testing
