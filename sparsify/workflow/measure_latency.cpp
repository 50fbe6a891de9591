// SPDX-License-Identifier: Apache-2.0
#include "workflow/measure_latency.hpp"

#include <algorithm>
#include <chrono>
#include <optional>

#include "sparsify/modifiers/quantization.hpp"
#include "sparsify/onnx/export.hpp"
#include "sparsify/onnx/runtime.hpp"
#include "sparsify/onnx/temporary_folder.hpp"
#include "sparsify/session.hpp"

namespace sparsify {
namespace {

using Names = std::vector<std::string>;

Names names_of(const std::vector<LayerLatency>& layers) {
  Names names;
  for (const auto& layer : layers) names.push_back(layer.name);
  return names;
}

Names without(Names names, const std::string& name) {
  names.erase(std::remove(names.begin(), names.end(), name), names.end());
  return names;
}

// Times do not depend on what the ranges are: one image is enough for them.
std::optional<TrainedQuantization> calibrated(Model& model, const at::Tensor& image, const Names& quantized) {
  if (quantized.empty()) return {};
  Quantization::Options options;
  options.submodules = quantized;
  Recipe recipe;
  recipe.add<Quantization>(options);
  torch::optim::SGD optimizer(model.parameters(), 0);
  Session session(recipe, model, optimizer, 1);
  // The first pass is recorded, the second observed.
  for (int pass = 0; pass < 2; ++pass) session.calibrate([&] { model.forward(image); });
  return session.find<Quantization>()->trained(session.state());
}

onnx::Engine engine_of(Model& model, const at::Tensor& image, const Names& quantized) {
  const onnx::TemporaryFolder folder;
  const auto trained = calibrated(model, image, quantized);
  onnx::export_model(model, image, {}, folder / "model.onnx", trained ? &*trained : nullptr);
  return onnx::Engine(folder / "model.onnx");
}

double milliseconds(onnx::Engine& engine, const at::Tensor& image) {
  const auto start = std::chrono::steady_clock::now();
  engine.run(image);
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// Medians of alternate runs: of one engine's times, and of how much longer it takes than the other.
struct Paired {
  double ms = 0, longer_ms = 0;
};

Paired time_in_turn(onnx::Engine& engine, onnx::Engine& other, const at::Tensor& image) {
  constexpr int kFewest = 21, kMost = 201;
  constexpr double kEnoughMs = 500;
  for (int i = 0; i < 3; ++i) engine.run(image), other.run(image);
  std::vector<double> times, differences;
  double spent = 0;
  for (int i = 0; i < kMost && (i < kFewest || spent < kEnoughMs); ++i) {
    const double others = milliseconds(other, image);
    times.push_back(milliseconds(engine, image));
    differences.push_back(times.back() - others);
    spent += times.back() + others;
  }
  return {median(times), median(differences)};
}

}  // namespace

NetworkLatency measure_latency(Model& model, const at::Tensor& image, const Sensitivity& sensitivity,
                               const std::function<bool(std::int64_t, std::int64_t)>& progress) {
  const torch::NoGradGuard no_grad;
  model.eval();
  NetworkLatency network;
  for (const auto& layer : sensitivity.layers)
    if (layer.not_quantized.empty())
      network.layers.push_back({layer.name, layer.quantized.loss - sensitivity.dense.loss});
  const auto all = names_of(network.layers);
  const auto count = static_cast<std::int64_t>(all.size()) + 1;
  auto int8 = engine_of(model, image, all), in_float = engine_of(model, image, {});
  std::int64_t done = 0;
  if (!progress(done++, count)) return network;
  const auto in_turn = time_in_turn(in_float, int8, image);
  network.float_ms = in_turn.ms;
  network.int8_ms = in_turn.ms - in_turn.longer_ms;
  for (auto& layer : network.layers) {
    if (!progress(done++, count)) return network;
    auto one_in_float = engine_of(model, image, without(all, layer.name));
    layer.saved_ms = time_in_turn(one_in_float, int8, image).longer_ms;
  }
  progress(done, done);
  return network;
}

LatencyProposal propose_measured_latency(Model& model, const at::Tensor& image, const NetworkLatency& network,
                                         double target_ms) {
  const torch::NoGradGuard no_grad;
  model.eval();
  auto proposal = propose_latency(network, target_ms);
  for (double aim = target_ms;;) {
    auto engine = engine_of(model, image, names_of(proposal.quantized));
    proposal.measured_ms = time_in_turn(engine, engine, image).ms;
    if (proposal.measured_ms <= target_ms || proposal.quantized.empty()) return proposal;
    if (aim <= network.int8_ms) throw not_reached(target_ms, network, proposal.measured_ms);
    aim = std::max(network.int8_ms, aim - std::max(proposal.measured_ms - target_ms, 0.02 * target_ms));
    proposal = propose_latency(network, aim);
  }
}

std::string where_latency_is_measured() {
  const auto threads = at::get_num_threads();
  return "ONNX Runtime " + onnx::Engine::version() + ", " + std::to_string(threads) +
         (threads == 1 ? " thread" : " threads") + " of this machine's CPU";
}

}  // namespace sparsify
