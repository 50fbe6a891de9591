// SPDX-License-Identifier: Apache-2.0
#include "sparsify/onnx/tensor_parity.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cmath>
#include <limits>

#include "ir/proto.hpp"
#include "ir/write_file.hpp"
#include "sparsify/onnx/temporary_folder.hpp"
#include "sparsify/error.hpp"

namespace sparsify::onnx {
namespace {

const at::Tensor& steps_at(const Steps& all, const std::string& site, const char* side) {
  const auto found = all.find(site);
  if (found == all.end()) throw Error(std::string(side) + " has no rounded tensor at " + site);
  return found->second;
}

void add(TensorParity& parity, const at::Tensor& engine, const at::Tensor& reference) {
  if (engine.sizes() != reference.sizes())
    throw Error(parity.site + ": the engine's tensor has " + std::to_string(engine.numel()) +
                " elements, the trained model's " + std::to_string(reference.numel()) +
                ", or in another shape");
  const auto expected = reference.to(at::kInt), difference = (engine.to(at::kInt) - expected).abs();
  parity.elements += difference.numel();
  if (difference.numel() == 0) return;
  parity.different += difference.count_nonzero().item<std::int64_t>();
  parity.largest = std::max(parity.largest, difference.max().item<std::int64_t>());
  parity.signal += expected.to(at::kDouble).square().sum().item<double>();
  parity.noise += difference.to(at::kDouble).square().sum().item<double>();
}

const pb::NodeProto& quantizer_of(const GraphIndex& index, const RoundedTensor& rounded,
                                  const std::filesystem::path& model) {
  const auto* node = index.producer(rounded.tensor);
  if (!node || node->op_type() != "QuantizeLinear" || node->input_size() < 3 ||
      !index.initializer(node->input(2)))
    throw Error(model.string() + ": '" + rounded.tensor + "' is not the output of a QuantizeLinear");
  return *node;
}

}  // namespace

double TensorParity::snr() const {
  return noise > 0 ? 10 * std::log10(signal / noise) : std::numeric_limits<double>::infinity();
}

std::vector<TensorParity> compare_tensors(const std::vector<RoundedTensor>& rounded, const StepsOf& engine,
                                          const StepsOf& reference, const NextBatch& next) {
  const at::NoGradGuard no_grad;
  std::vector<TensorParity> all;
  for (const auto& one : rounded) all.push_back({one.site});
  at::Tensor input, labels;
  bool any = false;
  for (; next(input, labels); any = true) {
    const auto actual = engine(input), expected = reference(input);
    for (auto& parity : all)
      add(parity, steps_at(actual, parity.site, "the engine"),
          steps_at(expected, parity.site, "the trained model"));
  }
  if (!any) throw Error("parity: there was nothing to compare on");
  return all;
}

void expose_tensors(const std::filesystem::path& model, const std::vector<RoundedTensor>& rounded,
                    const std::filesystem::path& copy) {
  auto proto = read_model(model);
  const GraphIndex index(proto.graph());
  std::vector<pb::ValueInfoProto> outputs;
  for (const auto& one : rounded) {
    const auto& zero_point = *index.initializer(quantizer_of(index, one, model).input(2));
    auto& output = outputs.emplace_back();
    output.set_name(one.tensor);
    output.mutable_type()->mutable_tensor_type()->set_elem_type(zero_point.data_type());
  }
  for (const auto& output : outputs) *proto.mutable_graph()->add_output() = output;
  write_file(copy, proto.SerializeAsString());
}

StepsOf steps_in_onnxruntime(const std::filesystem::path& model, const std::vector<RoundedTensor>& rounded,
                             const EngineOptions& options) {
  std::map<std::string, std::int64_t> zero_points;
  const auto proto = read_model(model);
  const GraphIndex index(proto.graph());
  for (const auto& one : rounded)
    zero_points[one.site] =
        to_tensor(*index.initializer(quantizer_of(index, one, model).input(2))).item<std::int64_t>();
  const TemporaryFolder folder;
  expose_tensors(model, rounded, folder / "exposed.onnx");
  const auto engine = std::make_shared<Engine>(folder / "exposed.onnx", options);
  return [engine, rounded, zero_points](const at::Tensor& input) {
    const auto outputs = engine->run(std::vector<at::Tensor>{input});
    const auto own = outputs.size() - rounded.size();
    Steps steps;
    for (std::size_t i = 0; i < rounded.size(); ++i)
      steps[rounded[i].site] = outputs[own + i].to(at::kShort) - zero_points.at(rounded[i].site);
    return steps;
  };
}

}  // namespace sparsify::onnx
