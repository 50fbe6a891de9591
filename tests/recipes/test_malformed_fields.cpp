// SPDX-License-Identifier: Apache-2.0
// Every built-in modifier refuses what it cannot do, at the place where that is written.
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "malformed.hpp"
#include "yaml_text.hpp"

using namespace sparsify;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::StartsWith;

namespace {

/// A modifier with good fields, then the wrong one: on the last line, whose value begins in the given column.
struct FieldCase {
  const char* modifier;
  const char* good;  // "name: value, name: value"
  const char* field;
  const char* value;
  const char* message;
};

const char* const kPruning = "end_epoch: 4, final_sparsity: 0.8";
const char* const kRate = "init_lr: 0.1, final_lr: 0, start_epoch: 0, end_epoch: 2";
const char* const kStep = "init_lr: 0.1, start_epoch: 0, lr_class: StepLR";
const char* const kMulti = "init_lr: 0.1, start_epoch: 1, end_epoch: 9, lr_class: MultiStepLR";

const FieldCase kCases[] = {
    // pruning
    {"MagnitudePruningModifier", "end_epoch: 4", "final_sparsity", "1.5",
     "expected a fraction from 0 to 1, got 1.5"},
    {"MagnitudePruningModifier", "end_epoch: 4", "final_sparsity", "-0.1", "expected a fraction from 0 to 1"},
    {"MagnitudePruningModifier", "end_epoch: 4", "final_sparsity", "90",
     "percent are written as a fraction: 0.9"},
    {"MagnitudePruningModifier", "end_epoch: 4", "final_sparsity", "most",
     "expected a fraction from 0 to 1, got 'most'"},
    {"MagnitudePruningModifier", "end_epoch: 4", "final_sparsity", "[0.8]",
     "expected a fraction from 0 to 1, got a list"},
    {"MagnitudePruningModifier", "end_epoch: 4", "final_sparsity", "{}", "the mapping is empty"},
    {"MagnitudePruningModifier", "end_epoch: 4", "final_sparsity", "{half: [a]}",
     "expected numbers as keys, got 'half'"},
    {"MagnitudePruningModifier", "end_epoch: 4", "final_sparsity", "{80: [a]}",
     "expected a fraction from 0 to 1, got 80"},
    {"MagnitudePruningModifier", "end_epoch: 4", "final_sparsity", "{0.8: 3}",
     "expected selectors below each number, got 3"},
    {"MagnitudePruningModifier", "end_epoch: 4", "final_sparsity", "{0.8: []}",
     "expected selectors below each number"},
    {"MagnitudePruningModifier", "end_epoch: 4", "final_sparsity", "{0.8: [[a]]}",
     "expected selectors below each number"},
    {"MagnitudePruningModifier", "end_epoch: 4", "final_sparsity", "true",
     "expected a fraction from 0 to 1, got true"},
    {"MagnitudePruningModifier", kPruning, "init_sparsity", "5", "percent are written as a fraction: 0.05"},
    {"MagnitudePruningModifier", kPruning, "init_sparsity", "__FROM_PARAMS__",
     "expected a fraction from 0 to 1"},
    {"MagnitudePruningModifier", kPruning, "update_frequency", "0", "expected epochs > 0, or -1, got 0"},
    {"MagnitudePruningModifier", kPruning, "update_frequency", "-2", "expected epochs > 0, or -1, got -2"},
    {"MagnitudePruningModifier", kPruning, "start_epoch", "-3",
     "expected an epoch from 0 to 1000000, or -1, got -3"},
    {"MagnitudePruningModifier", kPruning, "mask_type", "block5", "expected unstructured; block4 or [a, b]"},
    {"MagnitudePruningModifier", kPruning, "mask_type", "[1, 0]", "expected unstructured; block4 or [a, b]"},
    {"MagnitudePruningModifier", kPruning, "mask_type", "[4]", "got a list"},
    {"MagnitudePruningModifier", kPruning, "mask_type", "\"4:2\"", "expected N:M with 0 < N < M"},
    {"MagnitudePruningModifier", kPruning, "leave_enabled", "maybe", "expected true or false, got 'maybe'"},
    {"MagnitudePruningModifier", kPruning, "exclude", "{a: b}", "expected a list of texts, got a mapping"},
    {"MagnitudePruningModifier", "final_sparsity: 0.8", "end_epoch", "-1",
     "expected an epoch from 0 to 1000000, got -1"},
    {"MagnitudePruningModifier", "final_sparsity: 0.8", "end_epoch", "0", "must lie after start_epoch"},
    {"GlobalMagnitudePruningModifier", kPruning, "inter_func", "exponential",
     "expected linear, cubic or inverse_cubic"},
    {"GlobalMagnitudePruningModifier", kPruning, "params", "{}", "expected a list of texts, got a mapping"},
    {"NMPruningModifier", "start_epoch: 0", "mask_type", "half", "half"},
    {"NMPruningModifier", "start_epoch: 0", "mask_type", "\"4:2\"", "4:2"},
    {"NMPruningModifier", "start_epoch: 0", "mask_type", "\"0:4\"", "0:4"},
    {"NMPruningModifier", "start_epoch: 0", "min_channels", "0", "expected a number >= 1, got 0"},
    {"NMPruningModifier", "start_epoch: 0", "exclude_grouped", "1", "expected true or false, got '1'"},
    {"NMPruningModifier", "start_epoch: 0", "permute", "2", "expected true or false, got '2'"},
    {"StructuredPruningModifier", kPruning, "mask_type", "row", "expected filter or channel, got 'row'"},
    {"StructuredPruningModifier", kPruning, "init_sparsity", "1.5",
     "expected a fraction from 0 to 1, got 1.5"},
    // the other methods
    {"ACDCPruningModifier", "end_epoch: 4", "compression_sparsity", "90",
     "percent are written as a fraction: 0.9"},
    {"ACDCPruningModifier", "end_epoch: 4, compression_sparsity: 0.9", "update_frequency", "0",
     "expected a number > 0, got 0"},
    {"MovementPruningModifier", kPruning, "inter_func", "square", "expected linear, cubic or inverse_cubic"},
    {"RigLPruningModifier", kPruning, "sparsity_strategy", "even",
     "expected erdos_renyi_kernel, erdos_renyi"},
    {"RigLPruningModifier", kPruning, "init_update_fraction", "0", "expected a number > 0 and <= 1, got 0"},
    {"RigLPruningModifier", kPruning, "num_grads", "0", "expected a number >= 1, got 0"},
    {"TopKASTPruningModifier", "end_epoch: 4, forward_sparsity: 0.8", "backward_sparsity", "0.9",
     "must not be above forward_sparsity"},
    {"TopKASTPruningModifier", "end_epoch: 4, backward_sparsity: 0", "forward_sparsity", "1",
     "expected a fraction >= 0 and < 1, got 1"},
    {"OBSPruningModifier", kPruning, "fisher_block_size", "0", "expected a number from 1 to 4096, got 0"},
    {"OBSPruningModifier", kPruning, "damp", "0", "expected a number > 0, got 0"},
    {"MFACPruningModifier", kPruning, "num_grads", "-1", "expected a number >= 1, got -1"},
    {"LayerPruningModifier", "start_epoch: 0", "layers", "[]", "is required"},
    {"PowerpropagationModifier", "end_epoch: 4", "alpha", "0.5", "expected a number from 1 to 10, got 0.5"},
    {"ASRegModifier", "end_epoch: 4", "reg_func", "l3", "expected l1, l2, relu or hs"},
    {"ASRegModifier", "end_epoch: 4", "reg_tens", "both", "expected inp or out"},
    {"ASRegModifier", "end_epoch: 4", "alpha", "-1", "expected a number >= 0, got -1"},
    {"ConstantPruningModifier", "start_epoch: 2", "end_epoch", "1", "must lie after start_epoch"},
    // learning rate and weight decay
    {"SetLearningRateModifier", "start_epoch: 0", "learning_rate", "0", "expected a number > 0"},
    {"SetLearningRateModifier", "start_epoch: 0", "learning_rate", "-0.1", "expected a number > 0"},
    {"SetLearningRateModifier", "learning_rate: 0.1", "param_groups", "0",
     "expected a list of whole numbers, got '0'"},
    {"SetLearningRateModifier", "learning_rate: 0.1", "param_groups", "[0.5]",
     "expected a whole number, got '0.5'"},
    {"SetWeightDecayModifier", "start_epoch: 0", "weight_decay", "-1", "expected a number >= 0"},
    {"LearningRateFunctionModifier", kRate, "lr_func", "exponential",
     "expected linear, cosine or cyclic_linear"},
    {"LearningRateFunctionModifier", kRate, "cycle_epochs", "0", "expected a number > 0, got 0"},
    {"LearningRateFunctionModifier", "final_lr: 0, end_epoch: 2", "init_lr", "-1", "expected a number >= 0"},
    {"LearningRateFunctionModifier", "init_lr: 0, end_epoch: 2", "final_lr", "-1", "expected a number >= 0"},
    {"LearningRateModifier", "init_lr: 0.1, lr_kwargs: {gamma: 0.9}", "lr_class", "OneCycleLR",
     "expected StepLR, MultiStepLR, ExponentialLR or"},
    {"LearningRateModifier", "lr_class: ExponentialLR, lr_kwargs: {gamma: 0.9}", "init_lr", "0",
     "expected a number > 0"},
    {"LearningRateModifier", kStep, "lr_kwargs", "3", "expected a mapping with step_size, got 3"},
    {"LearningRateModifier", kStep, "lr_kwargs", "{gamma: 0.1}", "StepLR needs step_size, a number > 0"},
    {"LearningRateModifier", kStep, "lr_kwargs", "{step_size: 2}", "StepLR needs gamma, a number > 0"},
    {"LearningRateModifier", kStep, "lr_kwargs", "{step_size: soon, gamma: 0.1}",
     "step_size: expected a number, got 'soon'"},
    {"LearningRateModifier", kStep, "lr_kwargs", "{step: 2, gamma: 0.1}",
     "StepLR has no argument 'step'; expected step_size, gamma"},
    {"LearningRateModifier", kMulti, "lr_kwargs", "{gamma: 0.1}",
     "MultiStepLR needs milestones, a list of epochs"},
    {"LearningRateModifier", kMulti, "lr_kwargs", "{milestones: [], gamma: 0.1}",
     "MultiStepLR needs milestones"},
    {"LearningRateModifier", kMulti, "lr_kwargs", "{milestones: [12], gamma: 0.1}",
     "expected epochs from start_epoch to end_epoch"},
    {"LearningRateModifier", kMulti, "lr_kwargs", "{milestones: [0.5], gamma: 0.1}",
     "expected epochs from start_epoch to end_epoch"},
    {"LearningRateModifier", "init_lr: 0.1, lr_class: CosineAnnealingWarmRestarts", "lr_kwargs",
     "{lr_min: 0.1}", "CosineAnnealingWarmRestarts has no argument 'lr_min'; expected T_0, T_mult, eta_min"},
    {"LearningRateModifier", "init_lr: 0.1, lr_class: CosineAnnealingWarmRestarts", "lr_kwargs",
     "{T_0: 2, T_mult: 0.5}", "T_mult: expected a number >= 1"},
    // parameters
    {"GradualParamModifier", "params: a, end_epoch: 3", "inter_func", "step",
     "expected linear, cubic or inverse_cubic"},
    {"GradualParamModifier", "params: a, end_epoch: 3", "update_frequency", "0", "expected epochs > 0"},
    {"GradualParamModifier", "params: a, end_epoch: 3", "final_val", "high", "expected a number, got 'high'"},
    {"SetParamModifier", "params: a", "start_epoch", "-5",
     "expected an epoch from 0 to 1000000, or -1, got -5"},
    {"TrainableParamsModifier", "params: a", "trainable", "no", "expected true or false, got 'no'"},
    // quantization
    {"QuantizationModifier", "start_epoch: 1", "scheme", "tpu",
     "expected cpu, default, deepsparse, cpu-legacy, gpu or tensorrt, got 'tpu'"},
    {"QuantizationModifier", "start_epoch: 4", "disable_quantization_observer_epoch", "3",
     "must not lie before start_epoch"},
    {"QuantizationModifier", "start_epoch: 4", "freeze_bn_stats_epoch", "3",
     "must not lie before start_epoch"},
    {"QuantizationModifier", "start_epoch: 4", "freeze_bn_stats_epoch", "-2",
     "expected an epoch from 0 to 1000000, or -1, got -2"},
    {"QuantizationModifier", "start_epoch: 4", "averaging_constant", "0",
     "expected a number > 0 and <= 1, got 0"},
    {"QuantizationModifier", "start_epoch: 4", "observer", "histogram",
     "expected moving_average_minmax, minmax, percentile, mse, entropy or lsq, got 'histogram'"},
    {"QuantizationModifier", "start_epoch: 4", "weight_bits", "9", "expected a number from 2 to 8, got 9"},
    {"DistillationModifier", "start_epoch: 4", "hardness", "1.5", "expected a fraction from 0 to 1, got 1.5"},
    {"DistillationModifier", "start_epoch: 4", "temperature", "0", "expected a number > 0, got 0"},
    {"QuantizationModifier", "start_epoch: 4", "num_bits", "8", "unknown field 'num_bits'"},
};

}  // namespace

std::size_t test::malformed_field_cases() { return std::size(kCases); }

TEST_CASE("every modifier refuses fields it cannot use, where they are written") {
  for (const auto& one : kCases) {
    std::string text = "version: 1\nmodifiers:\n  - " + std::string(one.modifier) + ":\n";
    std::int64_t line = 4;
    std::string good = one.good;
    for (std::size_t begin = 0, depth = 0, i = 0; i <= good.size(); ++i) {
      if (i < good.size() && good[i] == '{') ++depth;
      if (i < good.size() && good[i] == '}') --depth;
      if (i < good.size() && (good[i] != ',' || depth > 0)) continue;
      text += "      " + good.substr(begin, i - begin) + "\n";
      begin = i + 2, ++line;
    }
    text += "      " + std::string(one.field) + ": " + one.value + "\n";
    INFO(text);
    try {
      parse_recipe(text, "r.yaml");
      FAIL_CHECK("no error");
    } catch (const RecipeError& error) {
      REQUIRE(error.problems().size() == 1);
      CHECK_THAT(error.what(),
                 StartsWith("r.yaml:" + std::to_string(line) + ":") && ContainsSubstring(one.message));
      CHECK_THAT(error.what(), ContainsSubstring(one.field));
    }
  }
}
