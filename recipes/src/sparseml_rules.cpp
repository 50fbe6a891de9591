// SPDX-License-Identifier: Apache-2.0
#include "sparseml.hpp"

#include <cstring>
#include <utility>

#include "sparsify/load_recipe.hpp"

namespace sparsify {
namespace {

using Fate = SparseMLRule::Fate;

const char* const kLanguageModels = "for language models; sparsify trains vision networks";
const char* const kOneNumber =
    "a number for each sparsity is not supported: every update uses as many; expected a whole number";

/// Every modifier and parameter that is not here under its own name. Matched in this order.
std::vector<SparseMLRule> make_rules() {
  const char* any = "*";
  std::vector<SparseMLRule> rules = {
      // the recipe's own keys
      {"", "stages", Fate::kUnsupported,
       "each stage is a key of its own that ends in 'stage', as in 'pruning_stage:'"},
      {"", "args", Fate::kUnsupported, "each variable is a key of its own, as in 'num_epochs: 12'"},
      {"", "run_type", Fate::kNotNeeded,
       "a whole recipe is applied without training by `sparsify train --one-shot`, without run_type",
       "train"},
      // modifiers
      {"LayerThinningModifier", "", Fate::kUnsupported,
       "layers keep their size: whole channels that StructuredPruningModifier removes are zeros"},
      {"PerLayerDistillationModifier", "", Fate::kUnsupported,
       "layers' outputs are not learnt from; DistillationModifier learns from the model's"},
      {"OutputDistillationModifier", "", Fate::kUnsupported,
       "layers' outputs are not learnt from; DistillationModifier learns from the model's"},
      {"SparseGPTModifier", "", Fate::kUnsupported, kLanguageModels},
      {"WandaPruningModifier", "", Fate::kUnsupported, kLanguageModels},
      {"GPTQModifier", "", Fate::kUnsupported, kLanguageModels},
      {"SmoothQuantModifier", "", Fate::kUnsupported, kLanguageModels},
      {"LogarithmicEqualizationModifier", "", Fate::kUnsupported, kLanguageModels},
      {"SparsificationLoggingModifier", "", Fate::kNotNeeded, "metrics.csv and the report hold the same"},
      {"LegacyQuantizationModifier", "", Fate::kRenamed, "QuantizationModifier"},
      // the session engine's names
      {any, "start", Fate::kRenamed, "start_epoch"},
      {any, "end", Fate::kRenamed, "end_epoch"},
      {any, "update", Fate::kRenamed, "update_frequency"},
      {any, "targets", Fate::kRenamed, "params"},
      {any, "mask_structure", Fate::kTranslated,
       "mask_type; what is called channel there is filter here, and the other way round"},
      {any, "update_scheduler", Fate::kRenamed, "inter_func"},
      {any, "inter_func", Fate::kTranslated,
       "polynomial_decay is not supported: its formula does not reach final_sparsity; expected linear or "
       "cubic"},
      {"MagnitudePruningModifier", "apply_globally", Fate::kNotNeeded, "use GlobalMagnitudePruningModifier",
       "False"},
      {"MagnitudePruningModifier", "scheduler_args", Fate::kNotNeeded, "linear and cubic take none"},
      // what every modifier may carry
      {any, "log_types", Fate::kNotNeeded, "metrics.csv always holds the schedules"},
      {any, "constant_logging", Fate::kNotNeeded, "metrics.csv always holds the schedules"},
      {any, "params_strict", Fate::kNotNeeded, "patterns that match nothing are always errors", "True"},
      {any, "strict", Fate::kNotNeeded, "patterns that match nothing are always errors", "True"},
      // pruning
      {"GMPruningModifier", "global_sparsity", Fate::kNotNeeded, "use GlobalMagnitudePruningModifier",
       "False"},
      {"MagnitudePruningModifier", "global_sparsity", Fate::kNotNeeded, "use GlobalMagnitudePruningModifier",
       "False"},
      {"GlobalMagnitudePruningModifier", "global_sparsity", Fate::kNotNeeded,
       "use MagnitudePruningModifier for one sparsity in every layer", "True"},
      {"GMPruningModifier", "phased", Fate::kNotNeeded, "ACDCPruningModifier was its successor", "False"},
      {"GMPruningModifier", "score_type", Fate::kNotNeeded, "other scores have modifiers of their own",
       "magnitude"},
      {"ConstantPruningModifier", "update_frequency", Fate::kNotNeeded, "the mask is made once"},
      {"LayerPruningModifier", "update_frequency", Fate::kNotNeeded, "layers go at once"},
      // learning rate
      {"LearningRateModifier", "lr_kwargs", Fate::kTranslated,
       "of CosineAnnealingWarmRestarts: lr_min is eta_min, cycle_epochs is T_0, in epochs"},
      {"LearningRateModifier", "update_frequency", Fate::kNotNeeded, "the rate is set in every step"},
      {"LearningRateFunctionModifier", "update_frequency", Fate::kNotNeeded, "the rate is set in every step"},
      {"SetLearningRateModifier", "end_epoch", Fate::kNotNeeded, "the rate is set once"},
      {"SetWeightDecayModifier", "end_epoch", Fate::kNotNeeded, "the weight decay is set once"},
      {"SetParamModifier", "end_epoch", Fate::kNotNeeded, "the value is set once"},
      {"RigLPruningModifier", "global_sparsity", Fate::kNotNeeded,
       "sparsity_strategy spreads the sparsity over layers"},
      {"RigLPruningModifier", "mask_type", Fate::kNotNeeded, "masks are unstructured", "unstructured"},
      {"TopKASTPruningModifier", "mask_type", Fate::kNotNeeded, "masks are unstructured", "unstructured"},
      {"TopKASTPruningModifier", "leave_enabled", Fate::kNotNeeded, "masks stay after end_epoch", "True"},
      {any, "mask_type", Fate::kTranslated, "0:0 is unstructured"},
      {any, "grad_sampler_kwargs", Fate::kNotNeeded, "gradients are those of the training steps"},
      {"OBSPruningModifier", "num_grads", Fate::kTranslated, kOneNumber},
      {"MFACPruningModifier", "num_grads", Fate::kTranslated, kOneNumber},
      {"OBSPruningModifier", "num_recomputations", Fate::kNotNeeded,
       "one estimate for each update; more updates do the same", "1"},
      {"MFACPruningModifier", "use_gradient_buffering", Fate::kNotNeeded,
       "the gradients of the last num_grads steps are always used"},
      {"MFACPruningModifier", "fisher_block_size", Fate::kNotNeeded,
       "the Fisher matrix of a whole layer is used"},
      {"MFACPruningModifier", "num_pages", Fate::kNotNeeded, "the Fisher matrix of a whole layer is used"},
      {"MFACPruningModifier", "grads_device", Fate::kNotNeeded, "gradients stay where the weights are"},
      {"MFACPruningModifier", "available_gpus", Fate::kNotNeeded, "gradients stay where the weights are"},
      {"MFACPruningModifier", "available_devices", Fate::kNotNeeded, "gradients stay where the weights are"},
      {"StructuredPruningModifier", "param_groups", Fate::kNotNeeded,
       "what belongs together follows from the data flow"},
      // distillation
      {"DistillationModifier", "distill_output_keys", Fate::kUnsupported, "every output is learnt from"},
      {"DistillationModifier", "teacher_input_keys", Fate::kUnsupported,
       "the teacher sees what the model sees"},
      {"DistillationModifier", "update_frequency", Fate::kNotNeeded, "every step is learnt from"},
      // quantization
      {"QuantizationModifier", "scheme", Fate::kTranslated,
       "a description is cpu, with symmetric activations gpu; bits and strategy of weights are weight_bits "
       "and "
       "weight_strategy; others are not in this version"},
      {"QuantizationModifier", "scheme_overrides", Fate::kTranslated,
       "null is ignore; bits and strategy of weights are weight_bits and weight_strategy; activations must "
       "agree "
       "with the scheme"},
      {"QuantizationModifier", "tensorrt", Fate::kTranslated, "True is scheme: gpu"},
      {"QuantizationModifier", "ignore", Fate::kTranslated, "types without weights (ReLU) are left out"},
      {"QuantizationModifier", "end_epoch", Fate::kNotNeeded, "quantization does not end", "-1"},
      {"QuantizationModifier", "model_fuse_fn_name", Fate::kNotNeeded,
       "nothing is fused in training: batch norm is folded when the model is exported"},
      {"QuantizationModifier", "model_fuse_fn_kwargs", Fate::kNotNeeded,
       "nothing is fused in training: batch norm is folded when the model is exported"},
      {"QuantizationModifier", "num_calibration_steps", Fate::kRenamed, "calibration_steps"},
      {"QuantizationModifier", "post_oneshot_calibration", Fate::kNotNeeded,
       "ranges follow the training batches"},
      {"QuantizationModifier", "reduce_range", Fate::kTranslated,
       "True is scheme: cpu-legacy; not supported for gpu"},
      {"QuantizationModifier", "activation_bits", Fate::kNotNeeded, "activations have 8 bits", "8"},
      {"QuantizationModifier", "quantize_embeddings", Fate::kNotNeeded, "embeddings stay in floating point"},
      {"QuantizationModifier", "quantize_embedding_activations", Fate::kNotNeeded,
       "embeddings stay in floating point"},
      {"QuantizationModifier", "quantize_conv_activations", Fate::kNotNeeded,
       "the data flow decides: a tensor that an integer layer reads is quantized, others are not"},
      {"QuantizationModifier", "quantize_linear_activations", Fate::kNotNeeded,
       "the data flow decides: a tensor that an integer layer reads is quantized, others are not"},
      {"QuantizationModifier", "exclude_batchnorm", Fate::kNotNeeded,
       "batch norm is folded, never quantized"},
      {"QuantizationModifier", "exclude_module_types", Fate::kRenamed, "ignore"},
      {"QuantizationModifier", "custom_quantizable_module_types", Fate::kNotNeeded,
       "operators are recognised in the recorded graph, not by module types"},
      {"QuantizationModifier", "activation_qconfig_kwargs", Fate::kUnsupported,
       "choose a scheme: cpu or gpu"},
      {"QuantizationModifier", "weight_qconfig_kwargs", Fate::kUnsupported, "choose a scheme: cpu or gpu"},
      {"QuantizationModifier", "config_groups", Fate::kTranslated,
       "targets are submodules, weights weight_bits and weight_strategy; all groups' activations are one "
       "scheme"},
  };
  return rules;
}

}  // namespace

const std::vector<SparseMLRule>& sparseml_rules() {
  static const auto rules = make_rules();
  return rules;
}

const std::vector<SparseMLDefault>& sparseml_defaults() {
  static const std::vector<SparseMLDefault> defaults = {
      {"OBSPruningModifier", "num_grads", "1024"},
      {"OBSPruningModifier", "fisher_block_size", "1"},
      {"PowerpropagationModifier", "alpha", "1.0"},
  };
  return defaults;
}

const SparseMLRule* sparseml::rule_for(const std::string& modifier, const std::string& field) {
  for (const auto& rule : sparseml_rules()) {
    const bool any = rule.modifier == "*" && !modifier.empty();
    if ((any || rule.modifier == modifier) && rule.field == field) return &rule;
  }
  return nullptr;
}

std::string sparseml::resnet_name(const std::string& name) {
  using Words = std::pair<const char*, const char*>;
  static const Words first[] = {{"conv1.", "input.conv."},  {"bn1.", "input.bn."},
                                {"layer1.", "sections.0."}, {"layer2.", "sections.1."},
                                {"layer3.", "sections.2."}, {"layer4.", "sections.3."},
                                {"fc.", "classifier.fc."}};
  static const Words inside[] = {{".downsample.0.", ".identity.conv."}, {".downsample.1.", ".identity.bn."}};
  auto result = name;
  for (const auto& [here, there] : first)
    if (name.rfind(here, 0) == 0) result.replace(0, std::strlen(here), there);
  for (const auto& [here, there] : inside)
    if (const auto at = result.find(here); at != std::string::npos)
      result.replace(at, std::strlen(here), there);
  return result == name ? "" : result;
}

}  // namespace sparsify
