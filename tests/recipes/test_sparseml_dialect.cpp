// SPDX-License-Identifier: Apache-2.0
// What a recipe in SparseML's dialect means beyond its modifiers: conflicts, defaults, variables, metadata,
// names.
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "sparsify/session.hpp"
#include "yaml_text.hpp"

using namespace sparsify;
using namespace sparsify::test;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::StartsWith;

namespace {

std::string binding_error(const std::string& text) {
  torch::nn::Sequential net(torch::nn::Linear(16, 16), torch::nn::Linear(16, 16));
  torch::optim::SGD optimizer(net->parameters(), 0.1);
  try {
    const Session session(parse_recipe(text, "r.yaml").recipe, *net, optimizer, 10);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("a modifier that relies on what another changes is refused in SparseML's dialect too") {
  const std::string movement =
      "modifiers:\n  - !MovementPruningModifier\n    start_epoch: 0\n    end_epoch: 4\n    final_sparsity: "
      "0.5\n"
      "    params: ['0.weight']\n";
  const auto permuted = binding_error(movement +
                                      "  - !NMPruningModifier {start_epoch: 1, permute: true, params: "
                                      "['1.weight']}\n");
  CHECK_THAT(permuted,
             StartsWith("r.yaml:7:5: NMPruningModifier: changes the order of channels, which r.yaml:2:5: "
                        "MovementPruningModifier relies on; their epochs overlap"));
  // Beside masks that both set, for which the later has the last word, it is still an error.
  const auto powered = binding_error(movement +
                                     "  - !ConstantPruningModifier {start_epoch: 1, params: ['0.weight']}\n"
                                     "  - !PowerpropagationModifier {start_epoch: 1, alpha: 2.0, params: "
                                     "['0.weight']}\n");
  CHECK_THAT(powered, ContainsSubstring("changes what the optimizer sees of 0.weight") &&
                          !ContainsSubstring("sets the mask"));
  CHECK(binding_error(movement + "  - !ConstantPruningModifier {start_epoch: 1, params: ['0.weight']}\n") ==
        "no error");
}

TEST_CASE("what is left out is what SparseML takes for it, in its dialect") {
  const std::string obs = "OBSPruningModifier: {end_epoch: 4, final_sparsity: 0.5}\n";
  const std::string power = "PowerpropagationModifier: {start_epoch: 0, end_epoch: 4}\n";
  const auto ours = parse_recipe("version: 1\nmodifiers:\n  - " + obs + "  - " + power, "r.yaml").recipe;
  const auto theirs = parse_recipe("modifiers:\n  " + obs + "  " + power, "r.yaml").recipe;
  REQUIRE(ours.entries().at(0).type == "OBSPruningModifier");
  REQUIRE(theirs.entries().at(0).type == "OBSPruningModifier");
  CHECK(number_of(ours.entries()[0], "num_grads") == 64);
  CHECK(number_of(ours.entries()[0], "fisher_block_size") == 50);
  CHECK(number_of(ours.entries()[1], "alpha") == 2);
  CHECK(number_of(theirs.entries()[0], "num_grads") == 1024);
  CHECK(number_of(theirs.entries()[0], "fisher_block_size") == 1);
  CHECK(number_of(theirs.entries()[1], "alpha") == 1);
  const auto said =
      parse_recipe("modifiers:\n  - !PowerpropagationModifier\n    alpha: 3.0\n", "r.yaml").recipe;
  CHECK(number_of(said.entries()[0], "alpha") == 3);
  // Every one of them is a field, and differs from ours.
  for (const auto& [modifier, field, value] : sparseml_defaults()) {
    INFO(modifier << " " << field);
    const auto& entry = modifier == "OBSPruningModifier" ? ours.entries()[0] : ours.entries()[1];
    CHECK(number_of(entry, field) != std::stod(value));
  }
}

TEST_CASE("an argument may define a variable that only expressions name, in SparseML's dialect") {
  const std::string text = "modifiers:\n  - !EpochRangeModifier\n    end_epoch: eval(num_epochs / 2)\n";
  CHECK_THAT(message_of(text),
             StartsWith("r.yaml:3:21: end_epoch: 'eval(num_epochs / 2)': there is no variable 'num_epochs'"));
  CHECK(number_of(parse_recipe(text, "r.yaml", {{"num_epochs", "8"}}).recipe.entries().at(0), "end_epoch") ==
        4);
  CHECK_THAT(
      message_of("n: 3\n" + text, {{"num_epochs", "8"}, {"num_epoch", "8"}}),
      StartsWith("r.yaml: --recipe-arg num_epoch=8: the recipe has no variable 'num_epoch'; it has n"));
  CHECK_THAT(message_of(text + "version: 1\n", {{"num_epochs", "8"}}),
             StartsWith("r.yaml: --recipe-arg num_epochs=8: the recipe has no variable"));
  // In a stage, and as a list.
  const auto staged =
      parse_recipe("a_stage:\n  modifiers:\n    - !ConstantPruningModifier\n      params: eval(layers)\n",
                   "r.yaml", {{"layers", "[a, b]"}});
  CHECK(fields_of(staged.recipe.entries().at(0)).at("params") == "a,b");
}

TEST_CASE("nested metadata is kept, in both dialects, when a recipe is written and loaded again") {
  const std::string metadata =
      "metadata:\n  author: me\n  versions: {torch: 2.1, python: '3.10'}\n  tags: [a, 1, true, {deep: "
      "[x]}]\n";
  for (const std::string modifiers :
       {"modifiers:\n  - !ProbeModifier\n", "version: 1\nmodifiers:\n  - ProbeModifier: {}\n"}) {
    INFO(modifiers);
    const auto file = parse_recipe(metadata + modifiers, "r.yaml");
    CHECK(file.metadata.at("author") == Value("me"));
    CHECK(file.metadata.at("versions") == Value::mapping({{"torch", Value(2.1)}, {"python", Value("3.10")}}));
    CHECK(file.metadata.at("tags") == Value::list({Value("a"), Value(1.0), Value::boolean(true),
                                                   Value::mapping({{"deep", Value::list({Value("x")})}})}));
    const auto written = write_recipe(file);
    const auto again = parse_recipe(written, "again.yaml");
    CHECK((again.metadata == file.metadata));
    CHECK(write_recipe(again) == written);
  }
  const auto staged = parse_recipe(
      "a_stage:\n  __metadata__: {framework: {torch: 2.1}}\n"
      "  modifiers: [ProbeModifier: {}]\nversion: 1\n",
      "r.yaml");
  CHECK(staged.metadata.at("a_stage.framework") == Value::mapping({{"torch", Value(2.1)}}));
}

TEST_CASE("groups whose names hold 'modifiers' anywhere are groups, in SparseML's dialect") {
  for (const std::string text : {"pruning_modifiers_list:\n  - !ProbeModifier\n",
                                 "a_stage:\n  modifiers_of_mine:\n    - !ProbeModifier\n"}) {
    INFO(text);
    const auto file = parse_recipe(text, "r.yaml");
    CHECK(file.sparseml);
    CHECK(file.recipe.entries().size() == 1);
  }
  const auto counted = parse_recipe(
      "modifiers_number: 3\nmodifiers_2:\n  - !ProbeModifier\n    count: eval(modifiers_number)\n", "r.yaml");
  CHECK(number_of(counted.recipe.entries().at(0), "count") == 3);
  const auto documented =
      parse_recipe("---\ntitle: t\n---\n---\nmodifiers_list:\n  - !ProbeModifier\n---\n", "r.md");
  CHECK(documented.recipe.entries().size() == 1);
}

TEST_CASE("keys of SparseML's recipes that are not here are refused with what to write") {
  const std::string modifiers = "modifiers:\n  - !ProbeModifier\n";
  CHECK_THAT(
      message_of("args: {num_epochs: 3}\n" + modifiers),
      StartsWith("r.yaml:1:1: 'args' of SparseML's recipes is not supported: each variable is a key of its "
                 "own, as in 'num_epochs: 12'"));
  CHECK_THAT(
      message_of("stages: {a_stage: {}}\n" + modifiers),
      StartsWith("r.yaml:1:1: 'stages' of SparseML's recipes is not supported: each stage is a key of its "
                 "own that ends in 'stage'"));
}
