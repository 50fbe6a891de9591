// SPDX-License-Identifier: Apache-2.0
// What a model's recipe says of its layers holds for the quantizers of another target too.
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <nlohmann/json.hpp>

#include "run_program.hpp"

using Catch::Matchers::ContainsSubstring;
using cli::Folder;
using cli::sparsify;
using nlohmann::json;

namespace {

const char* const kExportRecipe =
    "version: 1\n"
    "run: {model: resnet8_cifar, data: 'generated:train=64,val=32', batch_size: 32, lr: 0.05, workers: 1}\n"
    "training_modifiers:\n"
    "  - !EpochRangeModifier {start_epoch: 0, end_epoch: 1}\n"
    "quantization_modifiers:\n"
    "  - !QuantizationModifier\n"
    "    scheme: cpu\n"
    "    start_epoch: 0\n"
    "    ignore: [fc]\n"
    "    weight_strategy: tensor\n"
    "    weight_bits: 8\n"
    "    symmetric_activations: false\n";

}  // namespace

TEST_CASE("requantized, a layer left float stays float, and what another target cannot keep is said") {
  const Folder folder;
  cli::write(folder / "recipe.yaml", kExportRecipe);
  const auto trained = sparsify(folder.path(), {"train", "--recipe", "recipe.yaml", "--output", "run"});
  INFO(trained.err);
  REQUIRE(cli::fs::exists(folder / "run/checkpoints/last.safetensors"));

  const auto requantize = [&](const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"export",  "run",      "--requantize", "--calibration-batches",
                                          "1",       "--output", "new.onnx",     "--json",
                                          "new.json"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const auto outcome = sparsify(folder.path(), arguments);
    INFO(outcome.err << outcome.out);
    REQUIRE(outcome.code == 0);
    const auto left = cli::read_json(folder / "new.json").at("unquantized");
    CHECK(left.size() == 1);
    CHECK(left.at("fc").at("rule") == "ignored");
    CHECK_THAT(sparsify(folder.path(), {"inspect", "new.onnx"}).out,
               ContainsSubstring("per-tensor int8") && !ContainsSubstring("per-channel"));
    return outcome.err;
  };
  const auto for_gpu = requantize({"--target", "gpu"});
  CHECK_THAT(for_gpu, ContainsSubstring("symmetric_activations: false is not kept"));
  CHECK_THAT(for_gpu, !ContainsSubstring("weight_bits"));

  const auto for_old_cpus = requantize({"--scheme", "cpu-legacy"});
  CHECK_THAT(for_old_cpus, ContainsSubstring("weight_bits is not kept"));
  CHECK_THAT(for_old_cpus, !ContainsSubstring("symmetric_activations"));
  CHECK_THAT(cli::read(folder / "new.onnx"), ContainsSubstring("cpu-legacy"));
}
