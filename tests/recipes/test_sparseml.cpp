// SPDX-License-Identifier: Apache-2.0
// Recipes as SparseML's users wrote them; these are ours, in the same shapes.
#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "sparsify/modifiers/epoch_range.hpp"
#include "sparsify/modifiers/learning_rate.hpp"
#include "sparsify/session.hpp"
#include "yaml_text.hpp"

using namespace sparsify;
using namespace sparsify::test;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::StartsWith;

namespace {

std::string warnings_of(const RecipeFile& file) {
  std::string all;
  for (const auto& warning : file.warnings) all += warning + "\n";
  return all;
}

std::string quantization(const std::string& fields) {
  return "modifiers:\n  - !QuantizationModifier\n    start_epoch: 1\n" + fields;
}

}  // namespace

TEST_CASE("a classic recipe loads: anchors, list variables, unused variables, log types") {
  const auto file = parse_recipe(
      "num_epochs: &num_epochs 10.0\n"
      "milestones: &milestones [5, 8]\n"
      "mask_type: unstructured\n"
      "never_used: 3\n"
      "training_modifiers:\n"
      "  - !EpochRangeModifier\n"
      "    start_epoch: 0.0\n"
      "    end_epoch: *num_epochs\n"
      "  - !LearningRateModifier\n"
      "    start_epoch: 0.0\n"
      "    lr_class: MultiStepLR\n"
      "    lr_kwargs:\n"
      "      milestones: *milestones\n"
      "      gamma: 0.1\n"
      "    init_lr: 0.008\n"
      "    constant_logging: True\n"
      "pruning_modifiers:\n"
      "  - !GMPruningModifier\n"
      "    params: __ALL_PRUNABLE__\n"
      "    init_sparsity: 0.05\n"
      "    final_sparsity: 0.8\n"
      "    start_epoch: 1.0\n"
      "    end_epoch: 8.0\n"
      "    update_frequency: 0.5\n"
      "    mask_type: eval(mask_type)\n"
      "    global_sparsity: False\n"
      "    log_types: __ALL__\n",
      "r.yaml");
  CHECK(file.sparseml);
  CHECK(file.recipe.overlaps_allowed);
  REQUIRE(file.recipe.entries().size() == 3);
  // SparseML's order: what ends first comes first, so that what ends later has the last word.
  CHECK(file.recipe.entries()[0].type == "MagnitudePruningModifier");
  CHECK(file.recipe.entries()[1].type == "EpochRangeModifier");
  CHECK(file.recipe.entries()[2].type == "LearningRateModifier");
  CHECK(fields_of(file.recipe.entries()[2]).at("lr_kwargs") ==
        "{milestones:[5,8],gamma:0.10000000000000001}");
  CHECK_THAT(warnings_of(file),
             ContainsSubstring("r.yaml:4:1: variable 'never_used' is not used") &&
                 ContainsSubstring("log_types of SparseML's GMPruningModifier is not needed") &&
                 ContainsSubstring("constant_logging"));
  // An override reaches modifiers through the anchor; SparseML's did not.
  const auto shorter = parse_recipe(file.text, "r.yaml", {{"num_epochs", "9"}});
  CHECK(number_of(shorter.recipe.entries()[1], "end_epoch") == 9);
}

TEST_CASE("the session engine's recipes load: stages, groups that are mappings, other names") {
  const auto file = parse_recipe(
      "test_stage:\n"
      "  run_type: train\n"
      "  pruning_modifiers:\n"
      "    MagnitudePruningModifier:\n"
      "      init_sparsity: 0.0\n"
      "      final_sparsity: 0.5\n"
      "      start: 1\n"
      "      end: 3\n"
      "      update_frequency: 0.5\n"
      "      targets: ['re:features.*weight']\n"
      "      mask_structure: '0:0'\n"
      "    ConstantPruningModifier: {targets: __ALL__, start: 3}\n",
      "r.yaml");
  CHECK(file.sparseml);
  REQUIRE(file.recipe.entries().size() == 2);
  const auto fields = fields_of(file.recipe.entries()[0]);
  CHECK(fields.at("start_epoch") == "1");
  CHECK(fields.at("end_epoch") == "3");
  CHECK(fields.at("params") == "re:features.*weight");
  CHECK(fields.at("mask_type") == "unstructured");
  CHECK_THAT(
      message_of("a_stage:\n  run_type: oneshot\n  pruning_modifiers:\n    ConstantPruningModifier: {}\n"),
      ContainsSubstring(
          "r.yaml:2:13: run_type: expected train, got 'oneshot'; a whole recipe is applied without "
          "training by `sparsify train --one-shot`"));
}

TEST_CASE("SparseML's mask types and pruning methods load") {
  const auto mask_type_of = [](const std::string& text) {
    const auto file = parse_recipe(
        "modifiers:\n  - !GMPruningModifier\n    end_epoch: 2\n    final_sparsity: 0.5\n"
        "    mask_type: " +
            text + "\n",
        "r.yaml");
    return fields_of(file.recipe.entries()[0]).at("mask_type");
  };
  CHECK(mask_type_of("[1, 4]") == "[1,4]");
  CHECK(mask_type_of("block4") == "block4");
  CHECK(mask_type_of("tensorrt") == "tensorrt");
  CHECK(mask_type_of("2:4") == "2:4");
  CHECK(mask_type_of("0:0") == "unstructured");

  const auto file = parse_recipe(
      "modifiers:\n"
      "  - !OBSPruningModifier\n    start_epoch: 0\n    end_epoch: 2\n    final_sparsity: 0.5\n    "
      "num_grads: 1024\n"
      "    fisher_block_size: 4\n    mask_type: block4\n    params: [a.weight]\n"
      "  - !MFACPruningModifier\n    end_epoch: 2\n    final_sparsity: 0.5\n    num_grads: 64\n    "
      "num_pages: 2\n"
      "    params: [b.weight]\n"
      "  - !ACDCPruningModifier\n    start_epoch: 0\n    end_epoch: 10\n    update_frequency: 2\n"
      "    compression_sparsity: 0.9\n    params: [c.weight]\n    global_sparsity: False\n"
      "  - !RigLPruningModifier\n    end_epoch: 2\n    final_sparsity: 0.9\n    sparsity_strategy: "
      "erdos_renyi\n"
      "    grad_sampler_kwargs: {}\n    params: [d.weight]\n"
      "  - !TopKASTPruningModifier\n    end_epoch: 2\n    forward_sparsity: 0.8\n    backward_sparsity: 0.5\n"
      "    params: [e.weight]\n"
      "  - !MovementPruningModifier\n    end_epoch: 2\n    final_sparsity: 0.8\n    params: [f.weight]\n"
      "  - !PowerpropagationModifier\n    start_epoch: 0\n    end_epoch: 2\n    alpha: 2.0\n    strict: "
      "True\n"
      "  - !LayerPruningModifier\n    layers: [g]\n",
      "r.yaml");
  CHECK(file.sparseml);
  CHECK(file.recipe.entries().size() == 8);
}

TEST_CASE("what cannot be had is named, with the reason") {
  CHECK_THAT(message_of("modifiers:\n  - !LayerThinningModifier\n    strict: True\n"),
             ContainsSubstring(
                 "r.yaml:2:5: SparseML's LayerThinningModifier is not supported: layers keep their size"));
  CHECK_THAT(message_of("modifiers:\n  - !GMPruningModifier\n    end_epoch: 2\n    final_sparsity: 0.5\n"
                        "    global_sparsity: True\n"),
             ContainsSubstring("unless it is False: use GlobalMagnitudePruningModifier"));
  CHECK_THAT(
      message_of(quantization("    scheme: {input_activations: {num_bits: 4}, weights: {num_bits: 8}}\n")),
      ContainsSubstring("activations with other than 8 bits"));
}

TEST_CASE("the session engine's channel is our filter, and the other way round") {
  const auto mask_type_of = [](const std::string& structure) {
    const auto file = parse_recipe(
        "structure: channel\npruning_modifiers:\n  MagnitudePruningModifier: {end: 2, "
        "final_sparsity: 0.5, mask_structure: " +
            structure + "}\n",
        "r.yaml");
    return fields_of(file.recipe.entries().at(0)).at("mask_type");
  };
  CHECK(mask_type_of("channel") == "filter");
  CHECK(mask_type_of("filter") == "channel");
  CHECK(mask_type_of("eval(structure)") == "filter");
  CHECK(mask_type_of("unstructured") == "unstructured");
  CHECK_THAT(
      message_of(
          "modifiers:\n  RigLPruningModifier: {end: 2, final_sparsity: 0.5, mask_structure: channel}\n"),
      ContainsSubstring("mask_type of SparseML's RigLPruningModifier is not supported unless it is "
                        "unstructured: masks are unstructured"));
}

TEST_CASE("a renamed field follows the rules of its new name") {
  const auto quantized = parse_recipe("modifiers:\n  QuantizationModifier: {start: 1, end: -1}\n", "r.yaml");
  CHECK(number_of(quantized.recipe.entries().at(0), "start_epoch") == 1);
  CHECK(quantized.warnings ==
        std::vector<std::string>{"r.yaml:2:36: end of SparseML's QuantizationModifier is "
                                 "not needed: quantization does not end"});
  CHECK_THAT(
      message_of("modifiers:\n  QuantizationModifier: {start: 1, end: 5}\n"),
      StartsWith("r.yaml:2:36: end of SparseML's QuantizationModifier is not supported unless it is -1: "
                 "quantization does not end\n"));
  const auto constant = parse_recipe("modifiers:\n  ConstantPruningModifier: {update: 1}\n", "r.yaml");
  CHECK(constant.warnings ==
        std::vector<std::string>{"r.yaml:2:29: update of SparseML's ConstantPruningModifier "
                                 "is not needed: the mask is made once"});
}

TEST_CASE("two names for one field are an error at the second") {
  CHECK_THAT(
      message_of("modifiers:\n  EpochRangeModifier:\n    start_epoch: 0\n    end: 3\n    end_epoch: 4\n"),
      StartsWith("r.yaml:5:5: 'end_epoch' says again what 'end' on line 4 says; expected one of them\n"));
  CHECK_THAT(message_of("modifiers:\n  MagnitudePruningModifier:\n    mask_structure: channel\n    end: 3\n"
                        "    final_sparsity: 0.5\n    mask_type: filter\n"),
             StartsWith("r.yaml:6:5: 'mask_type' says again what 'mask_structure' on line 3 says"));
  CHECK_THAT(message_of(quantization("    tensorrt: True\n    scheme: deepsparse\n")),
             ContainsSubstring("'tensorrt' says again what 'scheme' on line 5 says"));
}

namespace {

/// A residual block, and a network of two, with torchvision's names.
struct Block : torch::nn::Module {
  Block(int in, int out) {
    register_module("conv1", torch::nn::Conv2d(torch::nn::Conv2dOptions(in, out, 3).padding(1)));
    register_module("conv2", torch::nn::Conv2d(torch::nn::Conv2dOptions(out, out, 3).padding(1)));
    if (in != out)
      register_module("downsample",
                      torch::nn::Sequential(torch::nn::Conv2d(torch::nn::Conv2dOptions(in, out, 1))));
  }
  torch::Tensor forward(torch::Tensor image) { return image; }  // only names are looked at
};
struct SmallResNet : torch::nn::Module {
  SmallResNet() {
    register_module("conv1", torch::nn::Conv2d(torch::nn::Conv2dOptions(3, 8, 3).padding(1)));
    register_module("layer1", torch::nn::Sequential(std::make_shared<Block>(8, 8)));
    register_module("layer2", torch::nn::Sequential(std::make_shared<Block>(8, 16)));
    register_module("fc", torch::nn::Linear(16, 10));
  }
};

std::vector<std::string> pruned_by(const std::string& text, torch::nn::Module& net) {
  torch::optim::SGD optimizer(net.parameters(), 0.1);
  const Session session(parse_recipe(text, "r.yaml").recipe, net, optimizer, 10);
  return session.schedules().at(0).at(0).parameters;
}

std::string pruning(const std::string& params) {
  return "modifiers:\n  - !GMPruningModifier\n    end_epoch: 3\n    final_sparsity: 0.5\n    params: [" +
         params + "]\n";
}

}  // namespace

TEST_CASE("names of SparseML's ResNet stand for ours where the model has no such name") {
  SmallResNet net;
  const std::vector<std::string> chosen = {"conv1.weight", "layer1.0.conv2.weight", "layer2.0.conv1.weight",
                                           "layer2.0.downsample.0.weight", "fc.weight"};
  const std::string names =
      "input.conv.weight, sections.0.0.conv2.weight, sections.1.0.conv1.weight, "
      "sections.1.0.identity.conv.weight, classifier.fc.weight";
  CHECK(pruned_by(pruning(names), net) == chosen);
  CHECK(pruned_by(pruning("sections.1"), net) == std::vector<std::string>{"layer2.0.conv1.weight",
                                                                          "layer2.0.conv2.weight",
                                                                          "layer2.0.downsample.0.weight"});
  CHECK(pruned_by(pruning("'re:sections.*identity.*weight'"), net) ==
        std::vector<std::string>{"layer2.0.downsample.0.weight"});
  // A name that the model has means what it says: this one does not reach the first convolution.
  CHECK(pruned_by(pruning("'re:.*[.]conv.*weight'"), net).front() == "layer1.0.conv1.weight");
  CHECK_THROWS_WITH(pruned_by(pruning("sections.5.0.conv1.weight"), net),
                    ContainsSubstring("'sections.5.0.conv1.weight' matches no parameter"));
  CHECK_THROWS_WITH(pruned_by("version: 1\n" + pruning(names), net),
                    ContainsSubstring("'input.conv.weight' matches no parameter"));

  CHECK_THROWS_WITH(pruned_by(pruning("layr1.0"), net), ContainsSubstring("did you mean 'layer1.0'?"));

  torch::optim::SGD optimizer(net.parameters(), 0.1);
  const Session session(parse_recipe(pruning(names), "r.yaml").recipe, net, optimizer, 10);
  CHECK(session.state().notes ==
        std::vector<std::string>{
            "r.yaml:2:5: MagnitudePruningModifier: names of another implementation stand for the "
            "model's, such as input.conv.weight for conv1.weight"});
  const Session again(parse_recipe(write_recipe(parse_recipe(pruning(names), "r.yaml")), "w.yaml").recipe,
                      net, optimizer, 10);
  CHECK(again.schedules().at(0).at(0).parameters == chosen);
}

TEST_CASE("parameters that other versions of SparseML's modifiers have") {
  const auto file = parse_recipe(
      "modifiers:\n"
      "  - !RigLPruningModifier {end_epoch: 2, final_sparsity: 0.9, global_sparsity: True, params: [a]}\n"
      "  - !LayerPruningModifier {layers: [b], update_frequency: 0.5}\n"
      "  - !MagnitudePruningModifier\n    {end: 2, final_sparsity: 0.5, apply_globally: False, "
      "update_scheduler: "
      "cubic, scheduler_args: {}, targets: [c]}\n",
      "r.yaml");
  REQUIRE(file.recipe.entries().size() == 3);
  CHECK_THAT(
      warnings_of(file),
      ContainsSubstring("global_sparsity of SparseML's RigLPruningModifier is not needed: "
                        "sparsity_strategy spreads the sparsity over layers") &&
          ContainsSubstring("update_frequency of SparseML's LayerPruningModifier is not needed: layers go "
                            "at once") &&
          ContainsSubstring("apply_globally of SparseML's MagnitudePruningModifier is not needed") &&
          ContainsSubstring("scheduler_args of SparseML's MagnitudePruningModifier is not needed: linear "
                            "and cubic take none"));
  const auto magnitude = [](const std::string& field) {
    return message_of("modifiers:\n  MagnitudePruningModifier:\n    end: 2\n    final_sparsity: 0.5\n    " +
                      field + "\n");
  };
  CHECK_THAT(magnitude("apply_globally: True"),
             StartsWith("r.yaml:5:5: apply_globally of SparseML's MagnitudePruningModifier is not supported "
                        "unless it is False: use GlobalMagnitudePruningModifier\n"));
  CHECK_THAT(
      magnitude("update_scheduler: polynomial_decay"),
      StartsWith("r.yaml:5:23: inter_func of SparseML's MagnitudePruningModifier: polynomial_decay is not "
                 "supported: its formula does not reach final_sparsity; expected linear or cubic\n"));
  for (const std::string name : {"OBSPruningModifier", "MFACPruningModifier"})
    CHECK_THAT(
        message_of("modifiers:\n  - !" + name +
                   "\n    end_epoch: 2\n    final_sparsity: 0.5\n    num_grads: {0.0: 64, 0.5: 128}\n"),
        StartsWith("r.yaml:5:16: num_grads of SparseML's " + name +
                   ": a number for each sparsity is not supported: every update uses as many; expected a "
                   "whole number\n"));
}

TEST_CASE("what needs no field is left out with a warning, except for one's own modifiers") {
  const auto logging =
      parse_recipe("modifiers:\n  - !SparsificationLoggingModifier\n  - !ProbeModifier\n", "r.yaml");
  CHECK(logging.recipe.entries().size() == 1);
  CHECK_THAT(warnings_of(logging), ContainsSubstring("SparsificationLoggingModifier is not needed"));
  const auto empty = parse_recipe("modifiers:\n  - !ProbeModifier\n    rate:\n", "r.yaml");
  CHECK(number_of(empty.recipe.entries()[0], "rate") == 0.5);
  CHECK_THAT(warnings_of(empty), ContainsSubstring("r.yaml:3:5: rate has no value: its default is used"));
}

TEST_CASE("quantization schemes are mapped") {
  const auto fields = [](const std::string& text) {
    return fields_of(parse_recipe(quantization(text), "r.yaml").recipe.entries().at(0));
  };
  CHECK(fields("").at("scheme") == "cpu");
  CHECK(fields("    tensorrt: True\n").at("scheme") == "gpu");
  CHECK(fields("    scheme: tensorrt\n").at("scheme") == "tensorrt");
  CHECK(fields("    scheme: {input_activations: {num_bits: 8, symmetric: True}, weights: {num_bits: 8}}\n")
            .at("scheme") == "gpu");
  CHECK(fields("    reduce_range: False\n").at("scheme") == "cpu");
  CHECK(fields("    reduce_range: True\n    weight_bits: 8\n").at("scheme") == "cpu-legacy");
  CHECK(fields("    reduce_range: True\n    weight_bits: 8\n").at("weight_bits") == "nothing");
  CHECK(fields("    reduce_range: True\n    scheme: deepsparse\n").at("scheme") == "cpu-legacy");
  CHECK(fields("    weight_bits: 4\n").at("weight_bits") == "4");
  CHECK_THAT(
      message_of(quantization("    reduce_range: True\n    tensorrt: True\n")),
      StartsWith("r.yaml:4:19: reduce_range of SparseML's QuantizationModifier is not supported with scheme "
                 "gpu: its sums do not saturate\n"));
  CHECK_THAT(message_of(quantization("    reduce_range: maybe\n")),
             StartsWith("r.yaml:4:19: reduce_range: expected true or false, got 'maybe'\n"));
  CHECK(fields("    ignore: [ReLU, 'classifier', BatchNorm2d]\n").at("ignore") == "classifier");
  CHECK(fields("    ignore: [ReLU]\n").count("ignore") == 0);
  CHECK(fields("    exclude_module_types: [Linear]\n    submodules: [model.0, model.1]\n").at("ignore") ==
        "Linear");
  CHECK(fields("    submodules: [model.0, model.1]\n").at("submodules") == "model.0,model.1");
  CHECK(fields("    scheme_overrides: {classifier: null}\n").at("ignore") == "classifier");
  CHECK(fields("    model_fuse_fn_name: fuse_module\n    num_calibration_steps: 10\n")
            .at("calibration_steps") == "10");
}

TEST_CASE("bits and strategies of weights are mapped, for all layers and for single ones") {
  const auto options_of = [](const std::string& text) {
    struct Copy : FieldVisitor {
      std::map<std::string, Value> values;
      void operator()(const char* name, Value& value, const char*) override { values[name] = value; }
      void operator()(const char* name, std::string& value, const char*) override { values[name] = value; }
      void operator()(const char* name, std::vector<std::string>& value, const char*) override {
        values[name] = Value::list({value.begin(), value.end()});
      }
    } copy;
    parse_recipe(quantization(text), "r.yaml").recipe.entries().at(0).visit_fields(copy);
    return copy.values;
  };
  const std::string inputs = "input_activations: {num_bits: 8}, ";
  auto options = options_of("    scheme: {" + inputs + "weights: {num_bits: 4, strategy: tensor}}\n");
  CHECK(options.at("scheme") == Value("cpu"));
  CHECK(options.at("weight_bits") == Value(4.0));
  CHECK(options.at("weight_strategy") == Value("tensor"));
  options = options_of("    scheme: {" + inputs + "weights: {num_bits: 8, strategy: channel}}\n");
  CHECK(options.at("weight_bits") == Value());
  CHECK(options.at("weight_strategy") == Value("channel"));

  options = options_of("    weight_bits: 6\n    scheme_overrides: {Linear: {" + inputs +
                       "weights: {num_bits: 4, strategy: tensor}}, layer1: {" + inputs +
                       "weights: {num_bits: 4}}}\n");
  CHECK(options.at("weight_bits") == Value::mapping({{"4", Value::list({Value("Linear"), Value("layer1")})},
                                                     {"6", Value::list({Value("__ALL__")})}}));
  CHECK(options.at("weight_strategy") == Value::mapping({{"tensor", Value::list({Value("Linear")})}}));

  options =
      options_of("    config_groups: {a: {targets: [Conv2d], " + inputs +
                 "weights: {num_bits: 8}}, b: {targets: [Linear], " + inputs + "weights: {num_bits: 5}}}\n");
  CHECK(options.at("submodules") == Value::list({Value("Conv2d"), Value("Linear")}));
  CHECK(options.at("weight_bits") ==
        Value::mapping({{"8", Value::list({Value("Conv2d")})}, {"5", Value::list({Value("Linear")})}}));

  const auto refused = [&](const std::string& text) { return message_of(quantization(text)); };
  CHECK_THAT(refused("    scheme: {" + inputs + "weights: {num_bits: 8, strategy: group}}\n"),
             ContainsSubstring("strategy 'group'; there are tensor and channel"));
  CHECK_THAT(refused("    scheme: {" + inputs + "weights: {num_bits: 16}}\n"),
             ContainsSubstring("weights with other than 2 to 8 bits"));
  CHECK_THAT(
      refused(
          "    scheme_overrides: {Linear: {input_activations: {symmetric: True}, weights: {num_bits: 8}}}\n"),
      ContainsSubstring("for Linear: activations of another scheme than the recipe's, cpu"));
  CHECK_THAT(refused("    config_groups: {a: {targets: [Conv2d], weights: {num_bits: 8}}}\n"),
             ContainsSubstring("for a: activations in floating point"));
  CHECK_THAT(refused("    config_groups: {a: {" + inputs + "weights: {num_bits: 8}}}\n"),
             ContainsSubstring("for a: it has no targets"));
}

TEST_CASE("overlapping modifiers are noted and the later has the last word; ours refuse them") {
  const std::string text =
      "modifiers:\n"
      "  - !LearningRateFunctionModifier\n"
      "    {start_epoch: 0, end_epoch: 4, init_lr: 0.4, final_lr: 0.4, lr_func: linear}\n"
      "  - !LearningRateFunctionModifier\n"
      "    {start_epoch: 0, end_epoch: 2, init_lr: 0.2, final_lr: 0.2, lr_func: linear}\n";
  torch::nn::Linear net(4, 2);
  torch::optim::SGD optimizer(net->parameters(), 0.1);
  Session session(parse_recipe(text, "r.yaml").recipe, *net, optimizer, 1);
  REQUIRE(session.state().notes.size() == 1);
  CHECK_THAT(session.state().notes[0],
             ContainsSubstring("sets the learning rate while") && ContainsSubstring("last word"));
  session.begin_step();
  CHECK(optimizer.param_groups()[0].options().get_lr() == 0.4);
  for (const std::string version : {"1", "1.0"})
    CHECK_THROWS_WITH(
        Session(parse_recipe(text + "version: " + version + "\n", "r.yaml").recipe, *net, optimizer, 1),
        ContainsSubstring("their epochs overlap"));
}

TEST_CASE("a recipe with overlaps is written so that it means the same") {
  const auto file = parse_recipe(
      "version: 1.1.0\n"
      "metadata: {author: me}\n"
      "run: {model: linear}\n"
      "first_stage:\n"
      "  modifiers:\n"
      "    - !LearningRateFunctionModifier\n"
      "      {start_epoch: 0, end_epoch: 4, init_lr: 0.4, final_lr: 0.4, lr_func: linear}\n"
      "second_stage:\n"
      "  start_epoch: 1\n"
      "  modifiers:\n"
      "    - !LearningRateFunctionModifier\n"
      "      {start_epoch: 0, end_epoch: 2, init_lr: 0.2, final_lr: 0.2, lr_func: linear}\n",
      "r.yaml");
  CHECK(file.version == "1.1.0");
  const auto written = write_recipe(file);
  const auto again = parse_recipe(written, "again.yaml");
  CHECK(again.sparseml);
  CHECK(again.version == "1.1.0");
  CHECK((again.metadata == file.metadata));
  CHECK(again.run.at("model").value == "linear");
  CHECK(write_recipe(again) == written);
  CHECK(write_recipe(parse_recipe(write_recipe(file.recipe), "again.yaml").recipe) ==
        write_recipe(file.recipe));
  REQUIRE(again.recipe.entries().size() == 2);
  for (std::size_t i = 0; i < 2; ++i) {
    CHECK(fields_of(again.recipe.entries()[i]) == fields_of(file.recipe.entries()[i]));
    CHECK(again.recipe.entries()[i].window.end_epoch == file.recipe.entries()[i].window.end_epoch);
  }
  torch::nn::Linear net(4, 2);
  torch::optim::SGD optimizer(net->parameters(), 0.1);
  Session session(again.recipe, *net, optimizer, 1);
  CHECK(session.state().notes.size() == 1);
  session.begin_step();
  CHECK(optimizer.param_groups()[0].options().get_lr() == 0.4);

  Recipe own_order;  // there what ends later comes later
  own_order.add<EpochRange>({{0, 12}}).add<EpochRange>({{0, 3}});
  own_order.overlaps_allowed = true;
  CHECK_THROWS_WITH(write_recipe(own_order),
                    "a recipe with overlaps cannot be written unless what ends later comes later");
}

TEST_CASE("learning rates move as PyTorch's schedulers do, lengths in epochs") {
  torch::nn::Linear net(4, 2);
  torch::optim::SGD optimizer(net->parameters(), 0.1);
  const auto at = [&](const std::string& fields, std::int64_t step) {
    const auto file =
        parse_recipe("modifiers:\n  - !LearningRateModifier\n    init_lr: 0.8\n" + fields, "r.yaml");
    const Session session(file.recipe, *net, optimizer, 10);
    return session.find<LearningRate>()->at_step(step);
  };
  const std::string steps =
      "    lr_class: StepLR\n    lr_kwargs: {step_size: 1.5, gamma: 0.5}\n    start_epoch: 1\n";
  CHECK(at(steps, 10) == 0.8);
  CHECK(at(steps, 24) == 0.8);
  CHECK(at(steps, 25) == 0.4);
  CHECK(at(steps, 40) == 0.2);
  const std::string multi =
      "    lr_class: MultiStepLR\n    lr_kwargs: {milestones: [2, 3.5], gamma: 0.5}\n    start_epoch: 1\n";
  CHECK(at(multi, 19) == 0.8);
  CHECK(at(multi, 20) == 0.4);
  CHECK(at(multi, 34) == 0.4);
  CHECK(at(multi, 35) == 0.2);
  const std::string exponential =
      "    lr_class: ExponentialLR\n    lr_kwargs: {gamma: 0.5}\n    start_epoch: 0\n";
  CHECK(at(exponential, 9) == 0.8);
  CHECK(at(exponential, 30) == 0.1);
  // torch.optim.lr_scheduler.CosineAnnealingWarmRestarts: eta_min + (lr - eta_min) (1 + cos(pi T_cur / T_i))
  // / 2
  const std::string cosine =
      "    lr_class: CosineAnnealingWarmRestarts\n    lr_kwargs: {T_0: 2, T_mult: 2, eta_min: 0.2}\n    "
      "start_epoch: 0\n";
  CHECK(at(cosine, 0) == 0.8);
  CHECK(at(cosine, 10) == Catch::Approx(0.5));
  CHECK(at(cosine, 20) == 0.8);
  CHECK(at(cosine, 40) == Catch::Approx(0.5));
  CHECK(at(cosine, 60) == Catch::Approx(0.8));
  const std::string cycles =
      "    lr_class: CosineAnnealingWarmRestarts\n    lr_kwargs: {cycle_epochs: 2, lr_min: 0.2}\n    "
      "start_epoch: 0\n";
  CHECK(at(cycles, 10) == Catch::Approx(0.5));
  CHECK(at(cycles, 30) == Catch::Approx(0.5));
  CHECK(at(cycles, 40) == 0.8);
}

TEST_CASE("cyclic_linear starts again every cycle, without drift") {
  torch::nn::Linear net(4, 2);
  torch::optim::SGD optimizer(net->parameters(), 0.1);
  const auto file = parse_recipe(
      "modifiers:\n  - !LearningRateFunctionModifier\n    {lr_func: cyclic_linear, cycle_epochs: 0.25, "
      "init_lr: 1, "
      "final_lr: 0, start_epoch: 0, end_epoch: 100}\n",
      "r.yaml");
  const Session session(file.recipe, *net, optimizer, 10);  // a cycle is 2.5 steps
  const auto& value = session.schedules().at(0).at(0).value;
  std::vector<double> rates;
  for (int step = 0; step < 8; ++step) rates.push_back(value(step));
  CHECK(rates == std::vector<double>{1, 0.5, 0, 1, 0, 1, 0.5, 0});
  CHECK(value(500) == 1);
  CHECK(value(999) == 0);
}
