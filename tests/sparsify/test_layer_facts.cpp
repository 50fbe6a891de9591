// SPDX-License-Identifier: Apache-2.0
#include <torch/torch.h>

#include <catch2/catch_test_macros.hpp>

#include "workflow/layer_facts.hpp"

using namespace sparsify;

TEST_CASE("a layer is integer by the plan, or has the rule that leaves it in floating point") {
  const Parameters parameters = {{"a.weight", torch::ones({2, 3})},
                                 {"b.weight", torch::ones({2, 3, 1, 1})},
                                 {"unused.weight", torch::zeros({2, 3})}};
  QuantizationPlan plan;
  plan.weights.push_back({"a.weight", 0});
  plan.unquantized.push_back({"b.weight", "ignored", "ignored by the recipe"});
  const auto facts = measure(parameters, &plan);
  REQUIRE(facts.layers.size() == 3);
  CHECK(facts.layers[0].quantized);
  CHECK(facts.layers[1].left.rule == "ignored");
  CHECK(facts.layers[2].left.rule == "not-reached");  // the recorded pass has not met it
  CHECK(facts.layers[2].zeros == 6);
  CHECK(measure(parameters, nullptr).layers[0].left.rule == "not-quantized");
}
