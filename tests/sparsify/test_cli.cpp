// SPDX-License-Identifier: Apache-2.0
// What the program does when all is well: a run and everything that can be done with it.
#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <nlohmann/json.hpp>
#include <sstream>

#include "run_program.hpp"

using Catch::Matchers::ContainsSubstring;
using cli::Folder;
using cli::sparsify;
using nlohmann::json;

namespace {

/// The rows of a metrics.csv without the columns that depend on the clock.
std::vector<std::string> untimed_rows(const cli::fs::path& path) {
  std::istringstream text(cli::read(path));
  std::vector<std::string> rows;
  for (std::string line; std::getline(text, line);) {
    for (int i = 0; i < 2; ++i) line.erase(line.rfind(','));
    rows.push_back(line);
  }
  return rows;
}

/// val_top1 of the last epoch.
double last_validation(const cli::fs::path& metrics) {
  std::istringstream row(untimed_rows(metrics).back());
  std::string cell;
  for (int column = 0; column < 5; ++column) std::getline(row, cell, ',');
  return std::stod(cell);
}

/// What is broken into lines, without breaks and margins.
std::string in_one_line(const std::string& text) {
  std::istringstream words(text);
  std::string line, word;
  while (words >> word) line += (line.empty() ? "" : " ") + word;
  return line;
}

}  // namespace

TEST_CASE("a training run writes what the contract names, and the other commands work on it") {
  const Folder folder;
  cli::write(folder / "small.yaml", cli::small_recipe(2));
  const auto trained = sparsify(folder.path(), {"train", "--recipe", "small.yaml", "--recipe-arg",
                                                "sparsity=0.7", "--json", "result.json"});
  INFO(trained.err << trained.out);
  REQUIRE(trained.code == 0);

  const auto run = folder / "runs" / "small";
  const auto summary = cli::read_json(run / "summary.json");
  const double one_image = 1.0 / 128 + 1e-9;
  {
    INFO(summary.dump(2));
    CHECK(cli::read_json(folder / "result.json") == summary);
    CHECK(summary.at("metric") == "top1");
    CHECK(summary.at("final").get<double>() ==
          Catch::Approx(last_validation(run / "metrics.csv")).margin(one_image));
    CHECK(summary.at("baseline").is_null());
    CHECK(summary.at("sparsity").at("prunable").get<double>() == Catch::Approx(0.7).margin(0.002));
    CHECK(summary.at("sparsity").at("total").get<double>() <
          summary.at("sparsity").at("prunable").get<double>());
    const auto layers = summary.at("sparsity").at("layers");
    CHECK(layers.at("fc.weight").get<double>() == Catch::Approx(0.7).margin(0.01));
    CHECK(summary.at("quantized").at("of") == layers.size());
    CHECK(summary.at("quantized").at("layers").get<std::size_t>() + summary.at("unquantized").size() ==
          layers.size());
    CHECK(summary.at("quantized").at("layers").get<int>() >= 8);
    const auto parity = summary.at("parity").at("onnxruntime");
    CHECK(parity.at("images") == 128);
    CHECK(parity.at("agreement").get<double>() >= 0.97);
    CHECK(parity.at("final").get<double>() == Catch::Approx(summary.at("final").get<double>()).margin(0.04));
    CHECK(parity.at("max_difference").get<double>() < 0.5);
    CHECK(summary.at("seconds").get<double>() > 0);
    for (const auto* name :
         {"model.cpu.onnx", "last.safetensors", "best.safetensors", "metrics.csv", "report.html"}) {
      INFO(name);
      const auto file = summary.at("files").at(name);
      CHECK(cli::fs::file_size(folder.path() / file.at("path").get<std::string>()) ==
            file.at("bytes").get<std::uintmax_t>());
    }
  }

  SECTION("the run directory describes itself") {
    CHECK(cli::read(run / "recipe.yaml") == cli::small_recipe(2));
    const auto config = cli::read_json(run / "config.json");
    CHECK(config.at("recipe").at("arguments").at("sparsity") == "0.7");
    CHECK(config.at("settings").at("batch_size") == 32);
    CHECK(config.at("settings").at("epochs") == 2);
    CHECK(untimed_rows(run / "metrics.csv").size() == 3);
    const auto report = cli::read(run / "report.html");
    CHECK_THAT(report, ContainsSubstring("<svg") && ContainsSubstring("layer1.0.conv1.weight") &&
                           !ContainsSubstring("http"));
    CHECK_THAT(cli::read(run / "run.log"), ContainsSubstring("epoch 2/2"));
    CHECK_THAT(trained.err,
               ContainsSubstring("epoch 1/2") && !ContainsSubstring("\r"));  // no terminal: plain lines
    CHECK_THAT(trained.out, ContainsSubstring("70.0") && ContainsSubstring("model.cpu.onnx"));
    for (const auto& name : folder.listing())
      CHECK_THAT(name, !ContainsSubstring("partial") && !ContainsSubstring("unchecked"));
  }

  SECTION("validate, inspect, export") {
    for (const auto* subject :
         {"runs/small", "runs/small/checkpoints/last.safetensors", "runs/small/model.cpu.onnx"}) {
      const auto validated = sparsify(folder.path(), {"validate", subject, "--json", "v.json"});
      INFO(subject << validated.err);
      REQUIRE(validated.code == 0);
      const auto result = cli::read_json(folder / "v.json");
      const auto expected = std::string(subject).ends_with(".onnx")
                                ? summary.at("parity").at("onnxruntime").at("final")
                                : summary.at("final");
      CHECK(result.at("top1").get<double>() == Catch::Approx(expected.get<double>()).margin(one_image));
      CHECK(result.at("images") == 128);
    }
    const auto by_parts = sparsify(folder.path(), {"validate", "--model", "resnet8_cifar", "--weights",
                                                   "runs/small/checkpoints/last.safetensors", "--data",
                                                   "generated:train=8,val=64", "--json", "v.json"});
    INFO(by_parts.err);
    REQUIRE(by_parts.code == 0);
    CHECK(cli::read_json(folder / "v.json").at("images") == 64);

    for (const auto* subject : {"runs/small", "runs/small/model.cpu.onnx"}) {
      const auto inspected = sparsify(folder.path(), {"inspect", subject, "--json", "i.json"});
      INFO(subject << inspected.err << inspected.out);
      REQUIRE(inspected.code == 0);
      const auto result = cli::read_json(folder / "i.json");
      CHECK(result.at("layers").size() == summary.at("sparsity").at("layers").size());
      CHECK(result.at("sparsity").get<double>() >=
            summary.at("sparsity").at("prunable").get<double>() - 1e-6);
      CHECK_THAT(inspected.out, ContainsSubstring("fc.weight"));
    }

    const auto exported =
        sparsify(folder.path(), {"export", "runs/small", "--output", "again.onnx", "--json", "e.json"});
    INFO(exported.err << exported.out);
    REQUIRE(exported.code == 0);
    CHECK(cli::fs::file_size(folder / "again.onnx") ==
          summary.at("files").at("model.cpu.onnx").at("bytes").get<std::uintmax_t>());
    CHECK(cli::read_json(folder / "e.json").at("parity").at("onnxruntime").at("agreement").get<double>() >=
          0.97);

    const auto refused =
        sparsify(folder.path(), {"export", "runs/small", "--target", "gpu", "--output", "gpu.onnx"});
    const auto no_darknet = sparsify(folder.path(), {"export", "runs/small", "--output", "small.weights"});
    CHECK(no_darknet.code == 2);
    CHECK_THAT(no_darknet.err, ContainsSubstring("of networks that a .cfg describes, resnet8_cifar is none"));
    CHECK_FALSE(cli::fs::exists(folder / "small.weights"));
    CHECK(refused.code == 2);
    CHECK_THAT(refused.err, ContainsSubstring("quantized for cpu") && ContainsSubstring("--requantize"));
    CHECK(!cli::fs::exists(folder / "gpu.onnx"));
    const auto requantized =
        sparsify(folder.path(), {"export", "runs/small", "--target", "gpu", "--requantize",
                                 "--calibration-batches", "2", "--output", "gpu.onnx", "--json", "e.json"});
    INFO(requantized.err << requantized.out);
    REQUIRE(requantized.code == 0);
    CHECK(cli::read_json(folder / "e.json").at("requantized") == true);
    CHECK_THAT(sparsify(folder.path(), {"inspect", "gpu.onnx"}).out, ContainsSubstring("requantized"));
    const auto legacy = sparsify(
        folder.path(), {"export", "runs/small", "--requantize", "--scheme", "cpu-legacy",
                        "--calibration-batches", "2", "--bias-correction", "--output", "legacy.onnx"});
    INFO(legacy.err << legacy.out);
    REQUIRE(legacy.code == 0);
    CHECK_THAT(legacy.out, !ContainsSubstring("VNNI"));
    CHECK_THAT(legacy.err, ContainsSubstring("bias correction: "));
    CHECK_THAT(sparsify(folder.path(), {"inspect", "legacy.onnx"}).out, ContainsSubstring("7-bit weight"));
    for (const std::vector<std::string>& wrong : {std::vector<std::string>{"--scheme", "cpu-legacy"},
                                                  {"--requantize", "--scheme", "gpu"},
                                                  {"--requantize", "--scheme", "tpu"}}) {
      auto arguments = wrong;
      arguments.insert(arguments.begin(), {"export", "runs/small", "--output", "wrong.onnx"});
      const auto outcome = sparsify(folder.path(), arguments);
      CHECK(outcome.code == 2);
      CHECK_THAT(outcome.err, ContainsSubstring("scheme"));
    }
    CHECK(!cli::fs::exists(folder / "wrong.onnx"));
  }

  SECTION("a recipe is applied once, nothing is trained") {
    const auto once = sparsify(
        folder.path(), {"train", "--recipe", "small.yaml", "--recipe-arg", "sparsity=0.9", "--weights",
                        "runs/small", "--one-shot", "--calibration-batches", "2", "--bias-correction",
                        "--equalize", "--output", "runs/once", "--json", "o.json"});
    INFO(once.err << once.out);
    REQUIRE(once.code == 0);
    CHECK_THAT(once.err, ContainsSubstring("bias correction: ") && ContainsSubstring("equalized "));
    const auto result = cli::read_json(folder / "o.json");
    CHECK(result.at("sparsity").at("prunable").get<double>() == Catch::Approx(0.9).margin(2e-3));
    CHECK(summary.at("sparsity").at("prunable").get<double>() < 0.85);
    CHECK(result.at("quantized") == summary.at("quantized"));
    CHECK(result.at("epochs") == 0);
    CHECK(result.at("parity").at("onnxruntime").at("agreement").get<double>() >= 0.97);
    CHECK(!cli::fs::exists(folder / "runs/once/metrics.csv"));
    const auto validated = sparsify(folder.path(), {"validate", "runs/once", "--json", "v.json"});
    INFO(validated.err);
    REQUIRE(validated.code == 0);
    CHECK(cli::read_json(folder / "v.json").at("top1").get<double>() ==
          Catch::Approx(result.at("final").get<double>()).margin(one_image));
    for (const std::vector<std::string>& wrong : {std::vector<std::string>{"--one-shot"},
                                                  {"--equalize", "--weights", "runs/small"},
                                                  {"--calibration-batches", "2"}}) {
      auto arguments = wrong;
      arguments.insert(arguments.begin(), {"train", "--recipe", "small.yaml", "--output", "runs/wrong"});
      const auto outcome = sparsify(folder.path(), arguments);
      CHECK(outcome.code == 2);
      CHECK_THAT(outcome.err, ContainsSubstring("one-shot"));
    }
    CHECK(!cli::fs::exists(folder / "runs/wrong"));
  }

  SECTION("parity: the exported model beside the run, tensor by tensor") {
    const auto compared = sparsify(folder.path(), {"validate", "runs/small", "--parity", "--parity-images",
                                                   "20", "--json", "p.json", "--html", "p.html"});
    INFO(compared.err << compared.out);
    REQUIRE(compared.code == 0);
    const auto result = cli::read_json(folder / "p.json");
    CHECK(result.at("images") == 128);
    CHECK(result.at("tensor_images") == 20);
    CHECK(result.at("trained").get<double>() ==
          Catch::Approx(summary.at("final").get<double>()).margin(one_image));
    CHECK(result.at("agreement") == summary.at("parity").at("onnxruntime").at("agreement"));
    const auto& tensors = result.at("tensors");
    REQUIRE(tensors.size() > 8);
    CHECK(tensors[0].at("site") == "input#0");
    CHECK(tensors[0].at("integers") == 20 * 3 * 32 * 32);
    CHECK(tensors[0].at("share") == 0);
    for (const auto& tensor : tensors) {
      INFO(tensor.dump());
      CHECK(tensor.at("share").get<double>() < 0.05);
      CHECK((tensor.at("snr").is_null() == (tensor.at("different") == 0)));
    }
    CHECK_THAT(compared.out, ContainsSubstring("layer1.0.conv1.weight") && ContainsSubstring("differs"));
    CHECK_THAT(cli::read(folder / "p.html"),
               ContainsSubstring("<svg") && ContainsSubstring("equal decisions"));

    for (const std::vector<std::string>& wrong : {std::vector<std::string>{"runs/small", "--html", "x.html"},
                                                  {"runs/small/model.cpu.onnx", "--parity"}}) {
      auto arguments = wrong;
      arguments.insert(arguments.begin(), "validate");
      const auto refused = sparsify(folder.path(), arguments);
      CHECK(refused.code == 2);
      CHECK_THAT(refused.err, ContainsSubstring("--parity"));
    }
    const auto no_detector =
        sparsify(folder.path(), {"validate", "runs/small", "--save-json", "found.json", "--plots", "plots"});
    CHECK(no_detector.code == 2);
    CHECK_THAT(no_detector.err, ContainsSubstring("only for detectors"));
    CHECK_FALSE(cli::fs::exists(folder / "plots"));
  }

  SECTION("inspect --quantization explains every layer") {
    const auto inspected =
        sparsify(folder.path(), {"inspect", "runs/small", "--quantization", "--json", "q.json"});
    INFO(inspected.err << inspected.out);
    REQUIRE(inspected.code == 0);
    const auto facts = cli::read_json(folder / "q.json");
    CHECK(facts.at("scheme") == "cpu");
    CHECK(facts.at("layers").size() == summary.at("sparsity").at("layers").size());
    const auto& quantizers = facts.at("quantizers");
    for (const auto& layer : facts.at("layers")) {
      INFO(layer.dump());
      REQUIRE(layer.at("integer") == true);
      CHECK(layer.at("engine") == (layer.at("site") == "fc.weight" ? "QGemm" : "QLinearConv"));
      CHECK(layer.at("input").get<std::size_t>() < quantizers.size());
      CHECK(layer.at("output").is_null() == (layer.at("site") == "fc.weight"));
    }
    for (const auto& one : quantizers) {
      INFO(one.dump());
      CHECK(one.at("highest").get<double>() - one.at("lowest").get<double>() ==
            Catch::Approx(255 * one.at("scale").get<double>()));
    }
    CHECK_THAT(inspected.out, ContainsSubstring("input#0") && ContainsSubstring("QLinearConv"));
    CHECK(sparsify(folder.path(), {"inspect", "runs/small/model.cpu.onnx", "--quantization"}).code == 2);
  }

  SECTION("an export that decides otherwise than the run ends with 1, and is kept") {
    auto checkpoint = cli::read(run / "checkpoints" / "last.safetensors");
    cli::overwrite_tensor(checkpoint, "model.fc.bias",
                          "\xff\xff\xff\x7f");  // a NaN: never the largest in integers
    cli::write(folder / "broken.safetensors", checkpoint);
    const auto exported = sparsify(
        folder.path(), {"export", "broken.safetensors", "--output", "broken.onnx", "--json", "b.json"});
    INFO(exported.out << exported.err);
    CHECK(exported.code == 1);
    CHECK_THAT(exported.err, ContainsSubstring("decides like the trained model for only") &&
                                 ContainsSubstring("broken.onnx is kept"));
    CHECK(cli::fs::exists(folder / "broken.onnx"));
    CHECK(cli::read_json(folder / "b.json").at("warnings").size() >= 1);
    const auto compared = sparsify(folder.path(), {"validate", "broken.safetensors", "--parity"});
    CHECK(compared.code == 1);
    CHECK_THAT(compared.out, ContainsSubstring("equal decisions"));
  }

  SECTION("a second run does not touch the first") {
    const auto before = cli::read(run / "summary.json");
    const auto refused =
        sparsify(folder.path(), {"train", "--recipe", "small.yaml", "--output", "runs/small"});
    CHECK(refused.code == 2);
    CHECK_THAT(refused.err, ContainsSubstring("holds a run already") && ContainsSubstring("--resume"));
    CHECK(cli::read(run / "summary.json") == before);
    const auto second = sparsify(
        folder.path(), {"train", "--recipe", "small.yaml", "--baseline", "runs/small", "--no-export"});
    INFO(second.err);
    REQUIRE(second.code == 0);
    const auto other = cli::read_json(folder / "runs/small-2/summary.json");
    CHECK(other.at("baseline") == summary.at("final"));
    CHECK(other.at("sparsity").at("prunable").get<double>() == Catch::Approx(0.8).margin(0.002));
    CHECK(other.at("parity").empty());
    CHECK(cli::read(run / "summary.json") == before);
  }

  SECTION("resuming a finished run only evaluates and exports again") {
    const auto resumed = sparsify(folder.path(), {"train", "--resume", "runs/small"});
    INFO(resumed.err);
    REQUIRE(resumed.code == 0);
    CHECK(cli::read_json(run / "summary.json").at("final") == summary.at("final"));
    CHECK(untimed_rows(run / "metrics.csv").size() == 3);
  }

  SECTION("weights of a run start another one; a classifier that does not fit is replaced") {
    const Folder images;
    for (const std::string part : {"train", "val"})
      for (int i = 0; i < 4; ++i) {
        cli::write_image(images / part / "red" / (std::to_string(i) + ".bmp"), 32, 200,
                         static_cast<unsigned char>(20 * i), 0);
        cli::write_image(images / part / "blue" / (std::to_string(i) + ".bmp"), 32, 0,
                         static_cast<unsigned char>(20 * i), 200);
      }
    const auto tuned = sparsify(folder.path(), {"train", "--recipe", "small.yaml", "--weights", "runs/small",
                                                "--data", images.path().string(), "--image-size", "32",
                                                "--batch-size", "4", "--output", "tuned", "--no-export"});
    INFO(tuned.err);
    REQUIRE(tuned.code == 0);
    CHECK_THAT(tuned.err, ContainsSubstring("classifier is new") && ContainsSubstring("fc.weight"));
    CHECK(cli::read_json(folder / "tuned/config.json").at("classes") == json({"blue", "red"}));
  }
}

TEST_CASE("a run that was interrupted and resumed ends with the same bits") {
  const Folder folder;
  cli::write(folder / "small.yaml", cli::small_recipe(4));
  const std::vector<std::string> common = {"train", "--recipe", "small.yaml", "--no-export", "--seed", "3"};
  auto arguments = common;
  arguments.insert(arguments.end(), {"--output", "whole"});
  const auto whole = sparsify(folder.path(), arguments);
  INFO(whole.err);
  REQUIRE(whole.code == 0);

  arguments = common;
  arguments.insert(arguments.end(), {"--output", "parts"});
  const auto interrupted = sparsify(folder.path(), arguments, {.interrupt_after = "epoch 1/4"});
  INFO(interrupted.err);
  REQUIRE(interrupted.code == 130);
  CHECK_THAT(interrupted.err, ContainsSubstring("sparsify train --resume --output parts"));
  CHECK(!cli::fs::exists(folder / "parts/summary.json"));
  const auto resumed = sparsify(folder.path(), {"train", "--resume", "--output", "parts", "--no-export"});
  INFO(resumed.err);
  REQUIRE(resumed.code == 0);

  CHECK(untimed_rows(folder / "parts/metrics.csv") == untimed_rows(folder / "whole/metrics.csv"));
  const auto expected = cli::read_tensors(folder / "whole/checkpoints/last.safetensors");
  const auto actual = cli::read_tensors(folder / "parts/checkpoints/last.safetensors");
  REQUIRE(actual.size() == expected.size());
  int compared = 0;
  for (const auto& [name, bytes] : expected) {
    if (name == "optimizer") continue;  // LibTorch's archive names its entries by address
    INFO(name);
    REQUIRE(actual.count(name) == 1);
    CHECK((actual.at(name) == bytes));
    compared += name.starts_with("model.");
  }
  CHECK(compared > 20);

  const auto changed = sparsify(folder.path(), {"train", "--resume", "--output", "parts", "--lr", "0.2"});
  CHECK(changed.code == 2);
  CHECK_THAT(changed.err, ContainsSubstring("--lr") && ContainsSubstring("0.05"));
}

TEST_CASE("the demo compares a dense with a pruned, quantized run, and can be repeated", "[long]") {
  const Folder folder;
  for (int i = 0; i < 2; ++i) {
    const auto demo =
        cli::run(folder.path(), SPARSIFY_DEMO, {"demo", "--data", "generated:train=640,val=128"});
    INFO(demo.err << demo.out);
    REQUIRE(demo.code == 0);
    CHECK_THAT(demo.out, ContainsSubstring("dense") && ContainsSubstring("pruned_quant") &&
                             ContainsSubstring("report.html"));
  }
  const auto summary = cli::read_json(folder / "demo/pruned_quant/summary.json");
  CHECK(summary.at("baseline") == cli::read_json(folder / "demo/dense/summary.json").at("final"));
  CHECK(summary.at("sparsity").at("prunable").get<double>() > 0.85);
  cli::write(folder / "mine/dense/notes.txt", "precious");
  CHECK(cli::run(folder.path(), SPARSIFY_DEMO, {"mine"}).code == 2);
  CHECK(cli::read(folder / "mine/dense/notes.txt") == "precious");
}

TEST_CASE("help teaches and exits with 0") {
  const Folder folder;
  const auto top = sparsify(folder.path(), {"--help"});
  CHECK(top.code == 0);
  CHECK_THAT(top.out, ContainsSubstring("train") && ContainsSubstring("validate") &&
                          ContainsSubstring("export") && ContainsSubstring("inspect") &&
                          ContainsSubstring("recipe") && ContainsSubstring("exit codes"));
  for (const std::string command : {"train", "validate", "export", "inspect", "recipe"}) {
    const auto help = sparsify(folder.path(), {command, "--help"});
    INFO(command << help.err);
    CHECK(help.code == 0);
    CHECK_THAT(help.out, ContainsSubstring("usage: sparsify " + command) && ContainsSubstring("examples:"));
    CHECK(help.err.empty());
  }
  const auto train = sparsify(folder.path(), {"train", "--help"}).out;
  for (const auto* flag : {"--recipe",
                           "--recipe-arg",
                           "--model",
                           "--weights",
                           "--data",
                           "--epochs",
                           "--batch-size",
                           "--image-size",
                           "--imgsz",
                           "--optimizer",
                           "--lr",
                           "--lr-schedule",
                           "--momentum",
                           "--weight-decay",
                           "--warmup-epochs",
                           "--warmup-bias-lr",
                           "--warmup-momentum",
                           "--multi-scale",
                           "--noautoanchor",
                           "--label-smoothing",
                           "--ema-decay",
                           "--no-augment",
                           "--device",
                           "--precision",
                           "--output",
                           "--resume",
                           "--seed",
                           "--workers",
                           "--baseline",
                           "--target",
                           "--no-export",
                           "--json"})
    CHECK_THAT(train, ContainsSubstring(flag));
  const auto says = [&](const std::string& command, const std::vector<std::string>& texts) {
    const auto help = in_one_line(sparsify(folder.path(), {command, "--help"}).out);
    for (const auto& text : texts) CHECK_THAT(help, ContainsSubstring(text));
  };
  says("train",
       {"darknet's .weights, also of a backbone alone", "(default: 128, of detectors 16)",
        "(default: 0.1, of detectors 0.01)", "(default: cosine, of detectors linear)",
        "(default: 0.9, of detectors 0.937)", "0: no (default: 0, of detectors 0.9999)",
        "a tenth of all (default: 0, of detectors 3)",
        "weights with two dimensions or more (default: 0.0005)", "as many as the recipe needs (default: 0)"});
  says("validate", {"of a detector: 20 % of the objects, 0.5 points of mAP", "labels.jpg and predictions.jpg",
                    "--rect batches of images of like shape", "rounded up to the stride", "other mAP"});
  says("export", {"FILE.onnx|FILE.weights", "darknet's .weights"});
  const auto version = sparsify(folder.path(), {"--version"});
  CHECK(version.code == 0);
  CHECK_THAT(version.out, ContainsSubstring("sparsify 0."));
  CHECK(folder.listing().empty());
}

TEST_CASE("ready-made recipes are listed and all of them check") {
  const Folder folder;
  const auto list = sparsify(folder.path(), {"recipe", "list"});
  REQUIRE(list.code == 0);
  CHECK_THAT(list.out, ContainsSubstring("pruned_quant.yaml") && ContainsSubstring("dense.yaml"));
  std::vector<std::string> check = {"recipe", "check"};
  std::istringstream lines(list.out);
  for (std::string line; std::getline(lines, line);)
    if (const auto name = line.substr(0, line.find(' ')); name.ends_with(".yaml")) check.push_back(name);
  REQUIRE(check.size() >= 18);
  const auto checked = sparsify(folder.path(), check);
  INFO(checked.err << checked.out);
  CHECK(checked.code == 0);
  CHECK_THAT(checked.out, ContainsSubstring("binds to"));
}

TEST_CASE("recipe plan says when and what, and plot shows it") {
  const Folder folder;
  cli::write(folder / "my.yaml",
             "version: 1\nrun: {model: resnet8_cifar, epochs: 8}\nmodifiers:\n"
             "  - MagnitudePruningModifier: {start_epoch: 1, end_epoch: 4, update_frequency: 0.3, "
             "final_sparsity: {0.5: [layer1], 0.9: [layer2]}}\n"
             "  - LearningRateFunctionModifier: {init_lr: 0.1, final_lr: 0, end_epoch: 8}\n"
             "  - QuantizationModifier: {start_epoch: 6, ignore: [__FIRST__]}\n");
  const auto plan = sparsify(folder.path(), {"recipe", "plan", "my.yaml", "--steps-per-epoch", "10"});
  INFO(plan.out << plan.err);
  REQUIRE(plan.code == 0);
  CHECK_THAT(plan.out, ContainsSubstring("8 epochs of 10 steps") && ContainsSubstring("1 to 4") &&
                           ContainsSubstring("10 to 39") && ContainsSubstring("5.0 % to 50.0 %") &&
                           ContainsSubstring("0.1 to 0") && ContainsSubstring("60 to 79"));
  CHECK_THAT(plan.out, ContainsSubstring("sparsity 5.0 % to 90.0 % (MagnitudePruningModifier)") &&
                           ContainsSubstring("layer3.0.conv1.weight") && ContainsSubstring("dense"));
  const auto plot = sparsify(folder.path(), {"recipe", "plot", "my.yaml", "--output", "plan.html"});
  INFO(plot.err);
  REQUIRE(plot.code == 0);
  CHECK_THAT(cli::read(folder / "plan.html"),
             ContainsSubstring("sparsity by epoch") && ContainsSubstring("learning rate by epoch") &&
                 ContainsSubstring("quantization (QuantizationModifier)") && ContainsSubstring("<polyline"));
}

TEST_CASE("the shipped pruning recipes leave the small layers and the classifier dense") {
  const Folder folder;
  for (const std::string name : {"pruned", "pruned_quant"}) {
    const auto plan = sparsify(folder.path(), {"recipe", "plan", name});
    REQUIRE(plan.code == 0);
    std::istringstream lines(plan.out);
    int sparse = 0, dense = 0;
    for (std::string line; std::getline(lines, line);) {
      if (line.find(".weight") == std::string::npos) continue;
      const bool is_pruned = line.find("sparsity of all together") != std::string::npos;
      sparse += is_pruned, dense += !is_pruned;
    }
    INFO(plan.out);
    CHECK(sparse == 5);  // the 3 x 3 convolutions of the last two stages, and the last's 1 x 1
    CHECK(dense == 9);
  }
}

TEST_CASE("recipe check says all that is wrong, in every file") {
  const Folder folder;
  cli::write(folder / "a.yaml", "version: 1\nmodifiers:\n  - EpochRangeModifier: {end_epoc: 3}\n");
  cli::write(folder / "b.yaml",
             "version: 1\nrun: {model: resnet8_cifar}\nmodifiers:\n"
             "  - ConstantPruningModifier: {params: [layer9]}\n"
             "  - TrainableParamsModifier: {params: [fc.weigth]}\n"
             "  - MagnitudePruningModifier: {params: [fc], end_epoch: 2, final_sparsity: 0.5}\n"
             "  - ConstantPruningModifier: {params: [fc], start_epoch: 1}\n");
  const auto checked = sparsify(folder.path(), {"recipe", "check", "a.yaml", "b.yaml", "dense"});
  CHECK(checked.code == 2);
  CHECK_THAT(checked.err, ContainsSubstring("a.yaml:3:26: unknown field 'end_epoc'"));
  CHECK_THAT(checked.err,
             ContainsSubstring("b.yaml:4:5: ConstantPruningModifier: params: 'layer9' matches no parameter"));
  CHECK_THAT(checked.err, ContainsSubstring("b.yaml:5:5") && ContainsSubstring("did you mean 'fc.weight'?"));
  CHECK_THAT(checked.err, ContainsSubstring("b.yaml:7:5") && ContainsSubstring("the mask of fc.weight"));
  CHECK_THAT(checked.out, ContainsSubstring("dense.yaml: ok"));
}

TEST_CASE("the schema knows every modifier, and the reference page is up to date") {
  const Folder folder;
  const auto schema = sparsify(folder.path(), {"recipe", "schema"});
  REQUIRE(schema.code == 0);
  const auto named = json::parse(schema.out).at("definitions").at("named").at("properties");
  const auto fields = named.at("MagnitudePruningModifier").at("properties");
  CHECK_FALSE(fields.at("end_epoch").contains("default"));  // it must be said
  CHECK(named.at("ConstantPruningModifier").at("properties").at("end_epoch").at("default") == -1.0);
  CHECK_FALSE(fields.at("leave_enabled").at("description").get<std::string>().empty());
  const auto reference = sparsify(folder.path(), {"recipe", "reference"});
  REQUIRE(reference.code == 0);
  // When this fails: ./dev run sparsify recipe reference > recipes/REFERENCE.md
  CHECK(reference.out == cli::read(cli::fs::path(SPARSIFY_SOURCE) / "recipes" / "REFERENCE.md"));
}

TEST_CASE("a recipe that extends another trains, and its run can be resumed and exported without the base") {
  const Folder folder;
  cli::write(folder / "base.yaml", cli::small_recipe(2));
  cli::write(folder / "child.yaml", "---\nextends: base.yaml\nsparsity: 0.6\n");
  const auto trained = sparsify(folder.path(), {"train", "--recipe", "child.yaml", "--output", "run"});
  INFO(trained.err);
  REQUIRE(trained.code == 0);
  cli::fs::remove(folder / "base.yaml");
  CHECK(cli::read_json(folder / "run" / "summary.json").at("sparsity").at("prunable").get<double>() ==
        Catch::Approx(0.6).margin(0.002));
  const auto exported =
      sparsify(folder.path(), {"export", "run", "--target", "cpu", "--output", "again.onnx"});
  INFO(exported.err);
  CHECK(exported.code == 0);
  CHECK(sparsify(folder.path(), {"recipe", "check", "run/recipe.yaml"}).code == 0);
}

TEST_CASE("a student learns from a teacher given on the command line; what cannot teach is refused") {
  const Folder folder;
  const std::string run =
      "run: {model: resnet8_cifar, data: 'generated:train=512,val=128', batch_size: 32, lr: 0.05, workers: "
      "1}\n";
  const std::string one_epoch =
      "version: 1\n" + run + "training_modifiers:\n  - !EpochRangeModifier {end_epoch: 1}\n";
  cli::write(folder / "teacher.yaml", one_epoch);
  cli::write(folder / "student.yaml", one_epoch + "  - !DistillationModifier {hardness: 1.0}\n");
  REQUIRE(sparsify(folder.path(), {"train", "--recipe", "teacher.yaml", "--output", "teacher", "--no-export"})
              .code == 0);
  const auto student = [&](std::vector<std::string> more) {
    std::vector<std::string> arguments = {"train",    "--recipe", "student.yaml",
                                          "--output", "student",  "--no-export"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return sparsify(folder.path(), arguments);
  };
  const auto alone = student({});
  CHECK(alone.code == 2);
  CHECK_THAT(alone.err, ContainsSubstring("the recipe has a DistillationModifier; expected a teacher"));
  CHECK_THAT(student({"--distill-teacher", "nowhere"}).err, ContainsSubstring("--distill-teacher nowhere: "));
  const auto useless = sparsify(folder.path(), {"train", "--recipe", "teacher.yaml", "--output", "useless",
                                                "--distill-teacher", "teacher"});
  CHECK(useless.code == 2);
  CHECK_THAT(useless.err, ContainsSubstring("the recipe has no DistillationModifier"));
  for (const std::string image : {"train/cat/1.bmp", "train/dog/1.bmp", "val/cat/1.bmp", "val/dog/1.bmp"})
    cli::write_image(folder / "images" / image, 32, 9, 90, 200);
  const auto other = student({"--distill-teacher", "teacher", "--data", "images", "--image-size", "32"});
  CHECK(other.code == 2);
  CHECK_THAT(other.err, ContainsSubstring("it tells 10 classes apart, the data has 2"));

  cli::write(folder / "student.yaml", cli::read(folder / "student.yaml")
                                          .replace(cli::read(folder / "student.yaml").find("workers"), 0,
                                                   "distill_teacher: teacher, "));
  const auto taught = student({});
  INFO(taught.err);
  REQUIRE(taught.code == 0);
  // The loss is the divergence alone: from a teacher that is hardly trained, far below the ln 10 of guessing.
  std::istringstream row(untimed_rows(folder / "student" / "metrics.csv").back());
  std::string cell;
  for (int column = 0; column < 2; ++column) std::getline(row, cell, ',');
  CHECK(std::stod(cell) < 1.5);
  CHECK(std::stod(cell) > 0);
}

TEST_CASE("2:4 masks of a recipe are in the exported file, and are said to be") {
  const Folder folder;
  cli::write(folder / "two_four.yaml",
             "version: 1\n"
             "run: {model: resnet8_cifar, data: 'generated:train=256,val=64', batch_size: 32, lr: 0.05, "
             "workers: 1}\n"
             "training_modifiers:\n  - !EpochRangeModifier {start_epoch: 0, end_epoch: 2}\n"
             "pruning_modifiers:\n  - !NMPruningModifier {start_epoch: 1}\n"
             "quantization_modifiers:\n  - !QuantizationModifier {scheme: gpu, start_epoch: 1}\n");
  const auto trained = sparsify(folder.path(), {"train", "--recipe", "two_four.yaml", "--output", "run"});
  INFO(trained.err << trained.out);
  REQUIRE(trained.code == 0);
  const auto exported =
      sparsify(folder.path(), {"export", "run", "--output", "model.onnx", "--json", "export.json"});
  INFO(exported.err << exported.out);
  REQUIRE(exported.code == 0);
  REQUIRE(sparsify(folder.path(), {"inspect", "run", "--json", "run.json"}).code == 0);
  REQUIRE(sparsify(folder.path(), {"inspect", "model.onnx", "--json", "file.json"}).code == 0);
  const auto holds_in = [&](const std::string& name) {
    const auto found = cli::read_json(folder / name);
    std::vector<std::string> layers;
    for (const auto& layer : found.at("layers"))
      if (layer.at("two_four")) layers.push_back(layer.at("name"));
    return layers;
  };
  CHECK(holds_in("run.json").size() >= 8);
  CHECK(holds_in("file.json") == holds_in("run.json"));
  CHECK(cli::read_json(folder / "export.json").at("two_four") == holds_in("run.json").size());
  CHECK_THAT(exported.out, ContainsSubstring("2:4 holds in " + std::to_string(holds_in("run.json").size())));
}
