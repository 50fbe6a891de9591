// SPDX-License-Identifier: Apache-2.0
// What a training run keeps to its end, through interruptions and full disks: precision, averages, masks.
#include <algorithm>
#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <cstring>
#include <nlohmann/json.hpp>

#include "run_program.hpp"

using Catch::Approx;
using Catch::Matchers::ContainsSubstring;
using cli::Folder;
using cli::sparsify;
using nlohmann::json;
using Arguments = std::vector<std::string>;

namespace {

/// Two classes that are told apart within an epoch, so that no decision is a close one.
void write_colours(const Folder& folder) {
  for (const auto& [part, count] : {std::pair{"train", 64}, std::pair{"val", 32}})
    for (int i = 0; i < count; ++i) {
      const auto most = static_cast<unsigned char>(250 - 2 * i), some = static_cast<unsigned char>(i),
                 rest = static_cast<unsigned char>(100 - i);
      const auto name = std::to_string(i) + ".bmp";
      cli::write_image(folder / "images" / part / "red" / name, 32, most, some, rest);
      cli::write_image(folder / "images" / part / "blue" / name, 32, some, rest, most);
    }
}

/// Three epochs, the last of them with quantizers.
std::string recipe_with_late_quantization() {
  const std::string start = "start_epoch: 1}";
  auto recipe = cli::small_recipe(3);
  return recipe.replace(recipe.find(start), start.size(), "start_epoch: 2}");
}

Arguments train_on_colours(const std::string& output, const Arguments& more) {
  Arguments arguments = {"train", "--recipe",     "small.yaml", "--data",       "images", "--output",
                         output,  "--image-size", "32",         "--batch-size", "8"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

/// Trains without interruption to `whole`, and to `parts` with one after `epoch`, which is resumed.
void train_whole_and_in_parts(const Folder& folder, const Arguments& more, const std::string& epoch) {
  const auto whole = sparsify(folder.path(), train_on_colours("whole", more));
  INFO(whole.err);
  REQUIRE(whole.code == 0);
  const auto interrupted =
      sparsify(folder.path(), train_on_colours("parts", more), {.interrupt_after = epoch});
  INFO(interrupted.err);
  REQUIRE(interrupted.code == 130);
  const auto resumed = sparsify(folder.path(), {"train", "--resume", "parts"});
  INFO(resumed.err);
  REQUIRE(resumed.code == 0);
  CHECK_THAT(resumed.err, ContainsSubstring("resumed at epoch "));
}

void check_same_tensors(const cli::fs::path& one, const cli::fs::path& other) {
  REQUIRE(cli::fs::exists(one));
  const auto expected = cli::read_tensors(one), actual = cli::read_tensors(other);
  REQUIRE(actual.size() == expected.size());
  for (const auto& [name, bytes] : expected) {
    if (name == "optimizer") continue;  // LibTorch's archive names its entries by address
    INFO(name);
    REQUIRE(actual.count(name) == 1);
    CHECK((actual.at(name) == bytes));
  }
}

std::vector<float> floats(const std::string& bytes) {
  std::vector<float> numbers(bytes.size() / sizeof(float));
  std::memcpy(numbers.data(), bytes.data(), bytes.size());
  return numbers;
}

/// All layers of the small network in integers, 80 % of their weights zero, and the file decides as trained.
void check_summary(const json& summary) {
  INFO(summary.dump(2));
  CHECK(summary.at("final") == 1.0);
  CHECK(summary.at("sparsity").at("prunable").get<double>() == Approx(0.8).margin(0.002));
  CHECK(summary.at("quantized").at("layers") == 11);
  CHECK(summary.at("quantized").at("of") == 11);
  CHECK(summary.at("parity").at("onnxruntime").at("agreement") == 1.0);
  CHECK(summary.at("parity").at("onnxruntime").at("max_difference").get<double>() < 0.05);
}

}  // namespace

TEST_CASE("training in bfloat16 goes on in the midst of quantization-aware training, and is exported") {
  const Folder folder;
  write_colours(folder);
  cli::write(folder / "small.yaml", cli::small_recipe(4));
  train_whole_and_in_parts(folder, {"--precision", "bf16"}, "epoch 2/4");
  check_same_tensors(folder / "whole/checkpoints/last.safetensors",
                     folder / "parts/checkpoints/last.safetensors");

  CHECK(cli::read_json(folder / "parts/config.json").at("settings").at("precision") == "bf16");
  const auto log = cli::read(folder / "parts/run.log");
  const auto second = log.find("4 epochs in bf16 on cpu", log.find("4 epochs in bf16 on cpu") + 1);
  CHECK(second != std::string::npos);  // of the resumed part
  check_summary(cli::read_json(folder / "parts/summary.json"));
  const auto refused = sparsify(folder.path(), {"train", "--resume", "parts", "--precision", "fp32"});
  CHECK(refused.code == 2);
  CHECK_THAT(refused.err, ContainsSubstring("--precision: this run has \"bf16\""));

  const auto exported =
      sparsify(folder.path(), {"export", "parts", "--output", "again.onnx", "--json", "export.json"});
  INFO(exported.err << exported.out);
  REQUIRE(exported.code == 0);
  const auto result = cli::read_json(folder / "export.json");
  CHECK(result.at("quantized").at("integer_layers") == 11);
  CHECK(result.at("parity").at("onnxruntime").at("agreement") == 1.0);
  CHECK((cli::read(folder / "again.onnx") == cli::read(folder / "parts/model.cpu.onnx")));
}

TEST_CASE("inspect says why layers are in floating point before quantization has begun, and without any") {
  const Folder folder;
  write_colours(folder);
  const auto recipe = recipe_with_late_quantization();
  cli::write(folder / "small.yaml", recipe);
  REQUIRE(sparsify(folder.path(), train_on_colours("early", {}), {.interrupt_after = "epoch 1/3"}).code ==
          130);
  cli::write(folder / "small.yaml", recipe.substr(0, recipe.find("quantization_modifiers:")));
  REQUIRE(sparsify(folder.path(), train_on_colours("none", {})).code == 0);
  for (const auto& [run, rule, sentence] :
       {std::tuple{"early", "not-begun", "quantization has not begun"},
        std::tuple{"none", "not-quantized", "the recipe does not quantize"}}) {
    INFO(run);
    const auto inspected = sparsify(folder.path(), {"inspect", run, "--json", "i.json"});
    INFO(inspected.err);
    REQUIRE(inspected.code == 0);
    CHECK_THAT(inspected.out, ContainsSubstring(std::string("float: ") + sentence + " [" + rule + "]"));
    const auto layers = cli::read_json(folder / "i.json").at("layers");
    REQUIRE(layers.size() == 11);
    for (const auto& layer : layers) CHECK(layer.at("rule") == rule);
    const auto explained = sparsify(folder.path(), {"inspect", run, "--quantization"});
    CHECK(explained.code == 2);
    CHECK_THAT(explained.err, ContainsSubstring(sentence));
  }
}

TEST_CASE("averaged weights of a pruned, quantized run are as sparse as the run, and are what is deployed") {
  const Folder folder;
  write_colours(folder);
  cli::write(folder / "small.yaml", recipe_with_late_quantization());
  train_whole_and_in_parts(folder, {"--ema-decay", "0.9"}, "epoch 1/3");
  for (const std::string name : {"last", "best"})
    check_same_tensors(folder / "whole/checkpoints" / (name + ".safetensors"),
                       folder / "parts/checkpoints" / (name + ".safetensors"));

  // The first quantized epoch is the best, whatever came before it.
  const auto last = cli::read_tensors(folder / "parts/checkpoints/last.safetensors"),
             best = cli::read_tensors(folder / "parts/checkpoints/best.safetensors");
  CHECK((last.at("ema.fc.weight") != last.at("model.fc.weight")));
  std::size_t averaged = 0, weights = 0, removed = 0, zeros = 0;
  for (const auto& [name, bytes] : last) {
    if (name.starts_with("ema.")) {
      INFO(name);
      CHECK((best.at("model." + name.substr(4)) == bytes));
      ++averaged;
    }
    const std::string mask = "session.masks.";
    if (!name.starts_with(mask)) continue;
    const auto values = floats(best.at("model." + name.substr(mask.size())));
    REQUIRE(values.size() == bytes.size());
    weights += values.size();
    for (std::size_t i = 0; i < values.size(); ++i)
      if (bytes[i] == 0) ++removed, zeros += values[i] == 0;
  }
  CHECK(averaged > 40);
  CHECK(static_cast<double>(removed) == Approx(0.8 * static_cast<double>(weights)).epsilon(0.001));
  CHECK(zeros == removed);

  check_summary(cli::read_json(folder / "parts/summary.json"));
  const auto inspected = sparsify(folder.path(), {"inspect", "parts/model.cpu.onnx", "--json", "i.json"});
  INFO(inspected.err);
  REQUIRE(inspected.code == 0);
  CHECK(cli::read_json(folder / "i.json").at("sparsity").get<double>() > 0.798);
}

TEST_CASE("a disk that fills up later leaves the checkpoint before, from which the run goes on") {
  const Folder folder;
  cli::write(folder / "mask.yaml",
             "version: 1\n"
             "run: {model: linear, data: 'generated:train=64,val=16', batch_size: 32, lr: 0.01, workers: 0}\n"
             "training_modifiers:\n  - !EpochRangeModifier {start_epoch: 0, end_epoch: 3}\n"
             "pruning_modifiers:\n"
             "  - !MagnitudePruningModifier {final_sparsity: 0.5, start_epoch: 1, end_epoch: 2}\n");
  const auto train = [&](const std::string& output, const cli::RunOptions& options) {
    return sparsify(folder.path(), {"train", "--recipe", "mask.yaml", "--no-export", "--output", output},
                    options);
  };
  REQUIRE(train("whole", {}).code == 0);
  // With a mask of 31 kB, the second epoch's checkpoint is too large, and the first one's is not.
  const auto full = train("run", {.file_size_limit = 275'000});
  INFO(full.err);
  CHECK(full.code == 1);
  CHECK_THAT(full.err,
             ContainsSubstring("run/checkpoints/last.safetensors: cannot be written: File too large"));
  CHECK_THAT(full.err, ContainsSubstring("what was trained until then is kept") &&
                           ContainsSubstring("sparsify train --resume --output run"));
  for (const auto& name : folder.listing()) CHECK_THAT(name, !ContainsSubstring("partial"));
  CHECK(!cli::fs::exists(folder / "run/summary.json"));

  const auto resumed = sparsify(folder.path(), {"train", "--resume", "run", "--no-export"});
  INFO(resumed.err);
  REQUIRE(resumed.code == 0);
  CHECK_THAT(resumed.err, ContainsSubstring("resumed at epoch 1"));
  check_same_tensors(folder / "whole/checkpoints/last.safetensors",
                     folder / "run/checkpoints/last.safetensors");
  const auto metrics = cli::read(folder / "run/metrics.csv");
  CHECK(std::count(metrics.begin(), metrics.end(), '\n') == 4);  // no epoch twice
}

TEST_CASE("the shipped recipes train, prune and quantize what they say", "[long]") {
  struct Expected {
    const char* name;
    double sparsity;  // of all convolutions and linear layers
    int quantized;
    const char* target;
  };
  const Folder folder;
  for (const auto& [name, sparsity_of_all, quantized, target] :
       {Expected{"dense", 0, 0, "cpu"}, Expected{"pruned", 0.85, 0, "cpu"},
        Expected{"pruned_quant", 0.85, 14, "cpu"}, Expected{"two_four_quant", 0.47, 14, "gpu"}}) {
    const auto trained =
        sparsify(folder.path(), {"train", "--recipe", name, "--recipe-arg", "num_epochs=4", "--data",
                                 "generated:train=640,val=128", "--batch-size", "32", "--no-export"});
    INFO(name << "\n" << trained.err);
    REQUIRE(trained.code == 0);
    const auto run = std::string("runs/") + name;
    const auto summary = cli::read_json(folder / run / "summary.json");
    CHECK(summary.at("sparsity").at("prunable").get<double>() == Approx(sparsity_of_all).margin(0.01));
    CHECK(summary.at("quantized").at("layers") == quantized);
    CHECK(summary.at("quantized").at("of") == 14);
    CHECK(summary.at("target") == target);

    // Its exit code would say how sure a network is that was hardly trained.
    const auto exported =
        sparsify(folder.path(), {"export", run, "--output", "model.onnx", "--json", "export.json"});
    INFO(exported.err << exported.out);
    const auto result = cli::read_json(folder / "export.json");
    CHECK(result.at("quantized").at("layers") == quantized);
    CHECK(result.at("parity").at("onnxruntime").at("agreement").get<double>() > 0.95);
  }
  CHECK(cli::read_json(folder / "export.json").at("two_four") == 4);  // of two_four_quant, which came last
}
