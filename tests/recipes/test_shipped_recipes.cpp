// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>

#include "yaml_text.hpp"

using namespace sparsify;
using namespace sparsify::test;

namespace {

const std::vector<std::string> kShipped{"dense", "pruned", "pruned_quant", "two_four_quant"};

Recipe::Entry entry_of(const Recipe& recipe, const std::string& type) {
  for (const auto& entry : recipe.entries())
    if (entry.type == type) return entry;
  FAIL("no " << type);
  throw;
}

/// The learning-rate windows must follow each other without gap or overlap, each beginning at the rate the
/// last ended with.
void check_learning_rate(const Recipe& recipe, double epochs) {
  double epoch = 0, rate = -1;
  for (const auto& entry : recipe.entries()) {
    if (entry.type != "LearningRateFunctionModifier") continue;
    CHECK(number_of(entry, "start_epoch") == epoch);
    if (rate >= 0) CHECK(number_of(entry, "init_lr") == rate);
    epoch = number_of(entry, "end_epoch");
    rate = number_of(entry, "final_lr");
  }
  CHECK(epoch == epochs);
  CHECK(rate == 0);
}

}  // namespace

TEST_CASE("every shipped recipe loads, names its model and data, and scales with num_epochs") {
  for (const auto& name : kShipped) {
    INFO(name);
    for (const double epochs : {1.0, 12.0, 20.0}) {
      const auto text = std::to_string(static_cast<int>(epochs));
      const auto file = load_recipe_file(name, {{"num_epochs", text}});
      CHECK(file.text.substr(0, 2) == "# ");
      CHECK_FALSE(file.description.empty());
      CHECK(file.run.count("model") == 1);
      CHECK(file.run.count("data") == 1);
      CHECK(file.run.at("epochs").value == text);
      CHECK(file.recipe.epochs() == static_cast<std::int64_t>(epochs));
      check_learning_rate(file.recipe, epochs);
    }
    CHECK(load_recipe(name).epochs() == 12);
    const auto written = write_recipe(load_recipe_file(name));
    CHECK(write_recipe(parse_recipe(written, "again.yaml")) == written);
  }
}

TEST_CASE("every recipe of the library is written and loaded again without change of meaning") {
  int recipes = 0;
  const auto folder = find_recipe("dense").parent_path();
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".yaml") continue;
    ++recipes;
    INFO(entry.path());
    const auto file = load_recipe_file(entry.path().string());
    const auto written = write_recipe(file);
    const auto again = parse_recipe(written, "again.yaml");
    CHECK(write_recipe(again) == written);
    CHECK(again.description == file.description);
    CHECK((again.metadata == file.metadata));
    REQUIRE(again.run.size() == file.run.size());
    for (const auto& [key, value] : file.run) CHECK(again.run.at(key).value == value.value);
    REQUIRE(again.recipe.entries().size() == file.recipe.entries().size());
    for (std::size_t i = 0; i < file.recipe.entries().size(); ++i) {
      const auto &one = file.recipe.entries()[i], &other = again.recipe.entries()[i];
      CHECK(other.type == one.type);
      CHECK(other.offset == one.offset);
      CHECK(fields_of(other) == fields_of(one));
    }
    // What a run keeps is the source: comments and variables too.
    CHECK(write_recipe(parse_recipe(file.text, "kept.yaml")) == written);
  }
  CHECK(recipes >= 16);
}

TEST_CASE("the pruning recipes prune late, recover, and quantize in the last part") {
  const auto pruned = load_recipe("pruned", {{"sparsity", "0.95"}});
  const auto pruning = entry_of(pruned, "GlobalMagnitudePruningModifier");
  CHECK(number_of(pruning, "final_sparsity") == 0.95);
  CHECK(number_of(pruning, "start_epoch") == 6);
  CHECK(number_of(pruning, "end_epoch") == 9);
  CHECK(number_of(entry_of(load_recipe("pruned"), "GlobalMagnitudePruningModifier"), "final_sparsity") ==
        0.88);

  const auto quantized = load_recipe("pruned_quant");
  const auto qat = entry_of(quantized, "QuantizationModifier");
  CHECK(fields_of(qat).at("scheme") == "cpu");
  CHECK(number_of(qat, "start_epoch") >
        number_of(entry_of(quantized, "GlobalMagnitudePruningModifier"), "end_epoch"));
  CHECK(number_of(qat, "disable_quantization_observer_epoch") > number_of(qat, "start_epoch"));
  CHECK(number_of(qat, "freeze_bn_stats_epoch") < 12);

  const auto structured = load_recipe("two_four_quant");
  CHECK(fields_of(entry_of(structured, "NMPruningModifier")).at("mask_type") == "2:4");
  CHECK(fields_of(entry_of(structured, "QuantizationModifier")).at("scheme") == "gpu");
  CHECK(load_recipe_file("two_four_quant").run.at("target").value == "gpu");
}

TEST_CASE("shipped recipes: a distilled detector is pruned and quantized as without a teacher") {
  const auto plain = load_recipe("detector_pruned_quant").entries();
  const auto distilled = load_recipe("detector_distilled_quant").entries();
  REQUIRE(distilled.size() == plain.size() + 1);
  for (std::size_t i = 0; i < plain.size(); ++i) {
    CHECK(distilled[i].type == plain[i].type);
    CHECK(fields_of(distilled[i]) == fields_of(plain[i]));
  }
  CHECK(distilled.back().type == "DistillationModifier");
  CHECK(number_of(distilled.back(), "hardness") == 0.5);
  CHECK(number_of(distilled.back(), "temperature") == 1);
  const auto unlabelled = load_recipe("detector_distilled_quant", {{"hardness", "1"}});
  CHECK(number_of(entry_of(unlabelled, "DistillationModifier"), "hardness") == 1);
}

TEST_CASE("mutated recipes are loaded or refused, never worse", "[long]") {
  std::vector<std::string> seeds;
  for (const auto& name : kShipped) {
    std::ifstream file(find_recipe(name));
    seeds.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  const std::vector<std::string> pieces{
      "\n",         "  ",   "- ",         ": ", "!",     "&a ", "*a",   "[",  "]",     "{",
      "}",          "\"",   "'",          "#",  "eval(", ")",   "**",   "//", "\t",    "\xFF",
      "\xC3",       "%",    "---\n",      "? ", "|\n",   ">",   "<<: ", "~",  "1e999", "-1",
      "modifiers:", "run:", "num_epochs", "\r", "@",     "`",   ","};
  std::mt19937 random(7);
  const auto below = [&](std::size_t n) {
    return std::uniform_int_distribution<std::size_t>(0, n - 1)(random);
  };
  std::size_t loaded = 0, refused = 0;
  for (int round = 0; round < 100'000; ++round) {
    auto text = seeds[below(seeds.size())];
    for (std::size_t changes = 1 + below(6); changes > 0 && !text.empty(); --changes) {
      const auto at = below(text.size());
      switch (below(6)) {
        case 0:
          text.insert(at, pieces[below(pieces.size())]);
          break;
        case 1:
          text.erase(at, 1 + below(20));
          break;
        case 2:
          text[at] = static_cast<char>(below(256));
          break;
        case 3:
          text.insert(at, text.substr(below(text.size()), below(200)));
          break;
        case 4:
          text.resize(at);
          break;
        default:
          text.replace(at, below(5), pieces[below(pieces.size())]);
          break;
      }
    }
    try {
      parse_recipe(text, "mutated.yaml",
                   round % 3 == 0 ? RecipeArguments{{"num_epochs", "3"}} : RecipeArguments{});
      ++loaded;
    } catch (const Error& error) {
      ++refused;
      if (std::string(error.what()).empty()) FAIL("an error without message for:\n" << text);
    } catch (const std::exception& error) {
      FAIL("'" << error.what() << "' for:\n" << text);
    }
  }
  CHECK(loaded > 1000);
  CHECK(refused > 1000);
}
