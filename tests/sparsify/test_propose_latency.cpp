// SPDX-License-Identifier: Apache-2.0
// Which layers are quantized for a latency: a network with numbers made up, and worked by hand.
#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <cmath>

#include "workflow/propose_latency.hpp"

using namespace sparsify;
using Catch::Approx;
using Catch::Matchers::ContainsSubstring;

namespace {

// Loss for each millisecond: a 0.1, b 0.01, c 0.2, e nothing; d is slower in INT8. In floating point, all
// sums say, it takes 4 + 6.5 ms.
NetworkLatency network() {
  return {.float_ms = 10,
          .int8_ms = 4,
          .layers = {{"a", 0.3, 3}, {"b", 0.02, 2}, {"c", 0.2, 1}, {"d", 0, -0.1}, {"e", -0.01, 0.5}}};
}

std::string names(const std::vector<LayerLatency>& layers) {
  std::string text;
  for (const auto& layer : layers) text += layer.name;
  return text;
}

}  // namespace

TEST_CASE("layers are quantized by loss for each millisecond saved, until the target is met") {
  const auto nine = propose_latency(network(), 9);
  CHECK(names(nine.quantized) == "be");
  CHECK(names(nine.in_float) == "acd");
  CHECK(nine.predicted_ms == Approx(8));
  CHECK(nine.predicted_loss_increase == Approx(0.02));
  CHECK(names(propose_latency(network(), 8).quantized) == "be");
  const auto seven = propose_latency(network(), 7.9);
  CHECK(names(seven.quantized) == "abe");
  CHECK(seven.predicted_ms == Approx(5));
  CHECK(seven.predicted_loss_increase == Approx(0.32));
  const auto least = propose_latency(network(), 4);
  CHECK(names(least.quantized) == "abce");
  CHECK(names(least.in_float) == "d");
  CHECK(least.predicted_ms == Approx(4));
}

TEST_CASE("a target that floating point meets quantizes nothing, one below all INT8 is refused") {
  const auto easy = propose_latency(network(), 10);
  CHECK(easy.quantized.empty());
  CHECK(names(easy.in_float) == "abcde");
  CHECK(easy.predicted_ms == 10);
  CHECK(easy.predicted_loss_increase == 0);
  CHECK_THROWS_WITH(propose_latency(network(), 3.9),
                    ContainsSubstring("a latency of 3.900 ms is not reached: 4.000 ms are the least here") &&
                        ContainsSubstring("10.000 ms in floating point"));
  auto slow = network();
  slow.int8_ms = 12;
  for (auto& layer : slow.layers) layer.saved_ms = -1;
  CHECK_THROWS_WITH(propose_latency(slow, 9), ContainsSubstring("10.000 ms are the least here"));
}

TEST_CASE("a layer whose loss is no number in INT8 is the last to be quantized") {
  auto broken = network();
  broken.layers[1].loss_increase = NAN;
  CHECK(names(propose_latency(broken, 6).quantized) == "ace");
  CHECK(names(propose_latency(broken, 5.9).quantized) == "abce");
}

TEST_CASE("a proposed recipe ignores what stays in floating point, with what was measured") {
  auto proposal = propose_latency(network(), 9);
  proposal.measured_ms = 8.25;
  const auto text = recipe_text(proposal, network(), {"f"}, "some_net", "an engine");
  CHECK_THAT(text, ContainsSubstring("INT8 where it costs least loss for the time it saves, 2 of 5 layers") &&
                       ContainsSubstring("# One image in an engine:\n"
                                         "#   8.250 ms as proposed (predicted 8.000 ms), 10.000 ms in "
                                         "floating point, 4.000 ms with all layers in INT8.\n") &&
                       ContainsSubstring("    ignore:\n"
                                         "      - a  # INT8 saves 3.0000 ms, loss +0.3000\n"
                                         "      - c  # INT8 saves 1.0000 ms, loss +0.2000\n"
                                         "      - d  # INT8 saves -0.1000 ms, loss +0.0000\n"
                                         "      - f  # not measured in INT8\n"
                                         "    # In INT8:\n"
                                         "    #   b: INT8 saves 2.0000 ms, loss +0.0200\n"));
}
