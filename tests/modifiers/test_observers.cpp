// SPDX-License-Identifier: Apache-2.0
// Ranges of activations: histograms, what each observer makes of them, odd inputs.
#include <torch/torch.h>

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <numeric>

#include "sparsify/modifiers/quantization.hpp"
#include "sparsify/session.hpp"

namespace nn = torch::nn;
using namespace sparsify;
using Catch::Approx;
using Catch::Matchers::ContainsSubstring;

namespace {

std::int64_t total(const Histogram& histogram) {
  return std::accumulate(histogram.counts().begin(), histogram.counts().end(), std::int64_t{0});
}

Histogram histogram_of(const at::Tensor& values) {
  Histogram histogram;
  histogram.add(values);
  return histogram;
}

// Mean squared error of values on the grid of an extent, computed by LibTorch.
double error_on_grid(const at::Tensor& values, const Extent& extent, const ActivationRange& range,
                     bool non_negative) {
  const auto grid = make_grid(extent, range, non_negative);
  return at::fake_quantize_per_tensor_affine(values, grid.scale, grid.zero_point, grid.lowest, grid.highest)
      .sub(values)
      .square()
      .mean()
      .item<double>();
}

const ActivationRange kUnsigned{0, 255, false}, kSigned{-128, 127, true};

nn::Sequential observed_net() {
  torch::manual_seed(1);
  return nn::Sequential(nn::Conv2d(nn::Conv2dOptions(3, 8, 3).padding(1)), nn::BatchNorm2d(8), nn::ReLU(),
                        nn::AdaptiveAvgPool2d(1), nn::Flatten(), nn::Linear(8, 4));
}

// A session that observes, without training anything.
struct Calibration {
  explicit Calibration(const std::string& observer, double learning_rate = 0)
      : optimizer(net->parameters(), learning_rate) {
    Quantization::Options options;
    options.observer = observer;
    Recipe recipe;
    recipe.add<Quantization>(options);
    session = std::make_unique<Session>(recipe, *net, optimizer, 10);
    net->eval();
  }
  void see(const at::Tensor& images) {
    const torch::NoGradGuard no_grad;
    const auto step = session->begin_step();
    step.forward([&] { return net->forward(images); });
  }
  TrainedQuantization trained() { return session->find<Quantization>()->trained(session->state()); }

  nn::Sequential net = observed_net();
  torch::optim::SGD optimizer;
  std::unique_ptr<Session> session;
};

}  // namespace

TEST_CASE("a histogram counts every value once, in the bin that holds it, and widens without loss") {
  torch::manual_seed(0);
  const auto first = torch::randn({3, 50, 40}) * 0.3, second = torch::randn({1000}) * 7;
  Histogram histogram;
  histogram.add(first);
  CHECK(total(histogram) == first.numel());
  const auto reach = histogram.reach();
  histogram.add(second);
  CHECK(total(histogram) == first.numel() + second.numel());
  CHECK(histogram.reach() > reach);
  CHECK(histogram.reach() > second.abs().max().item<double>());
  // Against LibTorch's own histogram with the same edges.
  const auto all = torch::cat({first.flatten(), second}).to(torch::kDouble);
  const auto expected = torch::histc(all, Histogram::kBins, -histogram.reach(), histogram.reach());
  double difference = 0;
  for (std::int64_t i = 0; i < Histogram::kBins; ++i)
    difference += std::abs(expected[i].item<double>() - static_cast<double>(histogram.counts()[i]));
  CHECK(difference <= 4);  // values on an edge
  histogram.add(torch::tensor({1.0f, std::numeric_limits<float>::infinity()}));
  CHECK(total(histogram) == first.numel() + second.numel());
  histogram.add(torch::tensor({std::nanf(""), 1.0f}));
  CHECK(total(histogram) == first.numel() + second.numel() + 1);
  histogram.add(torch::empty({0}));
  CHECK(histogram_of(torch::zeros({5})).reach() == 1);
}

TEST_CASE("the percentile leaves out the outermost values at both ends") {
  const auto values = torch::linspace(-1, 1, 100001);
  const auto all = percentile_range(histogram_of(values), 1);
  CHECK(all.low == Approx(-1).margin(2e-3));
  CHECK(all.high == Approx(1).margin(2e-3));
  const auto most = percentile_range(histogram_of(values), 0.99);
  CHECK(most.low == Approx(-0.98).margin(2e-3));
  CHECK(most.high == Approx(0.98).margin(2e-3));
  // One value in a million, far out, does not count.
  auto outlier = torch::rand({1000000});
  outlier[7] = 100;
  CHECK(percentile_range(histogram_of(outlier)).high < 1.1f);
}

TEST_CASE("mse takes the share of the range with the smallest error") {
  torch::manual_seed(0);
  const bool non_negative = GENERATE(false, true);
  const auto range = non_negative ? kUnsigned : GENERATE(kUnsigned, kSigned);
  auto values = torch::randn({1000000});
  values[5] = 60;  // its error alone is worth less than all others'
  if (non_negative) values = values.relu();
  const auto whole = extent_of(values);
  const auto chosen = mse_range(histogram_of(values), range, non_negative);
  const auto error = error_on_grid(values, chosen, range, non_negative);
  CHECK(error < 0.7 * error_on_grid(values, whole, range, non_negative));
  double least = 1e30;
  for (int percent = 20; percent <= 100; percent += 5) {
    const auto share = static_cast<float>(percent) / 100;
    least =
        std::min(least, error_on_grid(values, {whole.low * share, whole.high * share}, range, non_negative));
  }
  CHECK(error <= 1.02 * least);
}

TEST_CASE("entropy keeps a plain distribution whole and cuts a long tail") {
  torch::manual_seed(0);
  CHECK(entropy_range(histogram_of(torch::rand({100000})), true).high > 0.95f);
  auto tailed = torch::randn({100000}).abs();
  tailed[0] = 60;
  const auto cut = entropy_range(histogram_of(tailed), true);
  CHECK(cut.high < 20);
  CHECK(cut.high > 2);
}

TEST_CASE("minmax covers all batches, the moving average follows them, histograms calibrate like either") {
  const auto reach = [](const std::string& observer) {
    Calibration calibration(observer);
    calibration.see(torch::rand({4, 3, 8, 8}));  // recorded, not observed
    torch::manual_seed(3);
    for (const double size : {1.0, 4.0, 1.0}) calibration.see(torch::rand({4, 3, 8, 8}) * size);
    const auto input = calibration.trained().activations.front();
    return (255 - input.zero_point.item<int>()) * input.scale.item<double>();
  };
  CHECK(reach("minmax") == Approx(4).epsilon(0.02));
  CHECK(reach("moving_average_minmax") == Approx(1 + 0.05 * 3 * 0.95).epsilon(0.02));
  CHECK(reach("percentile") == Approx(4).epsilon(0.05));
  for (const std::string observer : {"mse", "entropy"}) {
    INFO(observer);
    CHECK(reach(observer) > 2);
    CHECK(reach(observer) < 4.1);
  }
  CHECK_THROWS_WITH(Calibration("max"), ContainsSubstring("observer: expected moving_average_minmax"));
}

TEST_CASE("histograms go on where the state was taken") {
  torch::manual_seed(3);
  const auto a = torch::rand({4, 3, 8, 8}), b = torch::randn({4, 3, 8, 8}) * 3;
  Calibration whole("mse"), first("mse"), second("mse");
  for (auto* calibration : {&whole, &first}) calibration->see(a), calibration->see(a);
  whole.see(b);
  second.session->load_state_dict(first.session->state_dict());
  second.see(b);
  const auto expected = whole.trained(), resumed = second.trained();
  for (std::size_t i = 0; i < expected.activations.size(); ++i)
    CHECK(torch::equal(expected.activations[i].scale, resumed.activations[i].scale));
  Calibration other("moving_average_minmax");
  other.see(a);
  CHECK_THROWS_WITH(second.session->load_state_dict(other.session->state_dict()),
                    ContainsSubstring("no histograms"));
}

TEST_CASE("infinite batches do not count, and are noted; alone they are an error") {
  const auto observer =
      GENERATE(std::string("moving_average_minmax"), std::string("minmax"), std::string("mse"));
  Calibration calibration(observer);
  auto odd = torch::rand({2, 3, 8, 8});
  odd[0][0][0][0] = std::numeric_limits<float>::infinity();
  calibration.see(torch::rand({2, 3, 8, 8}));
  calibration.see(odd);
  CHECK_THROWS_WITH(calibration.trained(), ContainsSubstring("has seen no"));
  calibration.see(torch::rand({2, 3, 8, 8}));
  calibration.see(odd);
  const auto input = calibration.trained().activations.front();
  CHECK(input.scale.item<double>() == Approx(1.0 / 255).epsilon(0.05));
  const auto& notes = calibration.session->state().notes;
  CHECK(std::count_if(notes.begin(), notes.end(), [](const std::string& note) {
          return note.find("input#0 had infinite values") != std::string::npos;
        }) == 1);
}

TEST_CASE("constant activations, a batch of one and a single calibration image are quantized") {
  const std::string observer =
      GENERATE("minmax", "moving_average_minmax", "percentile", "mse", "entropy", "lsq");
  for (const double constant : {0.0, 0.5, -3.0}) {
    CAPTURE(observer, constant);
    Calibration calibration(observer);
    const auto image = torch::full({1, 3, 8, 8}, constant);
    calibration.see(image), calibration.see(image);
    const auto input = calibration.trained().activations.front();
    const double scale = input.scale.item<double>();
    CHECK(scale > 0);
    const auto integer = std::nearbyint(constant / scale);
    const bool from_bins = observer == "percentile" || observer == "mse" || observer == "entropy";
    CHECK(integer * scale == Approx(constant).margin(from_bins ? 2e-3 : 1e-6));
    const torch::NoGradGuard no_grad;
    const auto floating = calibration.net->forward(image);
    const auto rounded = calibration.session->evaluate([&] { return calibration.net->forward(image); });
    // Entropy takes the few other values at the borders for outliers.
    CHECK(torch::allclose(rounded, floating, 0.05, observer == "entropy" ? 0.15 : 0.02));
  }
  CAPTURE(observer);
  torch::manual_seed(4);
  Calibration calibration(observer);
  const auto image = torch::rand({1, 3, 8, 8});
  calibration.see(image), calibration.see(image);
  const torch::NoGradGuard no_grad;
  const auto rounded = calibration.session->evaluate([&] { return calibration.net->forward(image); });
  CHECK(torch::allclose(rounded, calibration.net->forward(image), 0.05, 0.02));
}
