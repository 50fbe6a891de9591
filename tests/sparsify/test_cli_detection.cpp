// SPDX-License-Identifier: Apache-2.0
// Detectors from the command line: trained, exported, run on images, and what is said of bad input.
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <cmath>
#include <nlohmann/json.hpp>

#include "detector_data.hpp"
#include "run_program.hpp"

using Catch::Matchers::ContainsSubstring;
using cli::Folder;
using cli::kDetector;
using cli::kRecipe;
using cli::kSide;
using cli::sparsify;
using cli::write_data;
using cli::write_shapes;
using nlohmann::json;

namespace {

/// Of the 16 images of validation, named by numbers.
void check_coco_files(const cli::fs::path& found, const cli::fs::path& ground_truth) {
  const auto truth = cli::read_json(ground_truth);
  CHECK(truth.at("images").size() == 16);
  CHECK(truth.at("images")[0].at("width") == kSide);
  CHECK(truth.at("categories")[1] == json{{"id", 1}, {"name", "high"}});
  REQUIRE(truth.at("annotations").size() == 16);
  const auto& object = truth.at("annotations")[0];
  CHECK(object.at("id") == 1);
  CHECK(object.at("iscrowd") == 0);
  CHECK(object.at("area").get<double>() > 26 * 14 - 1);
  CHECK(object.at("area").get<double>() < 26 * 14 + 1);
  const auto detections = cli::read_json(found);
  REQUIRE(detections.size() >= 16);
  for (const auto& one : detections) {
    CHECK((one.at("image_id").get<int>() >= 0 && one.at("image_id").get<int>() < 16));
    CHECK((one.at("category_id") == 0 || one.at("category_id") == 1));
    CHECK((one.at("score").get<double>() >= 0.001 && one.at("score").get<double>() <= 1));
    CHECK(one.at("bbox").size() == 4);
  }
}

}  // namespace

TEST_CASE("a detector is pruned, quantized, exported, and finds the same in ONNX Runtime") {
  const Folder folder;
  write_data(folder / "data");
  cli::write(folder / "tiny.cfg", kDetector);
  cli::write(folder / "small.yaml", kRecipe);
  const auto trained = sparsify(folder.path(), {"train", "--recipe", "small.yaml", "--output", "run"});
  INFO(trained.err << trained.out);
  REQUIRE(trained.code == 0);
  const auto summary = cli::read_json(folder / "run" / "summary.json");
  INFO(summary.dump(2));
  CHECK(summary.at("metric") == "map50");
  CHECK(summary.at("final").get<double>() > 0.8);
  CHECK(summary.at("agrees") == true);
  CHECK(summary.at("sparsity").at("layers").at("model.2.conv.weight").get<double>() > 0.59);
  CHECK(summary.at("quantized").at("layers") == 4);
  CHECK(summary.at("quantized").at("integer_layers") == 4);
  CHECK(summary.at("unquantized").at("model.4.conv.weight").at("rule") == "float-output");
  CHECK_THAT(
      cli::read(folder / "run" / "metrics.csv"),
      ContainsSubstring("epoch,train_loss,train_box,train_obj,train_cls,val_map50,val_map,val_precision,"
                        "val_recall,val_f1"));

  CHECK(cli::fs::file_size(folder / "run" / "predictions.jpg") > 1000);
  CHECK_THAT(cli::read(folder / "run" / "report.html"),
             ContainsSubstring("src='labels.jpg'") && ContainsSubstring("src='confusion_matrix.svg'"));

  const auto validated = sparsify(folder.path(), {"validate", "run/model.cpu.onnx", "--json", "v.json",
                                                  "--plots", "plots", "--save-json", "found.json"});
  INFO(validated.err << validated.out);
  REQUIRE(validated.code == 0);
  CHECK_THAT(validated.out, ContainsSubstring("mAP50-95") && ContainsSubstring("wide   "));
  const auto results = cli::read_json(folder / "v.json");
  CHECK(results.at("map50") == summary.at("parity").at("onnxruntime").at("final"));
  CHECK(results.at("f1").get<double>() > 0.5);
  REQUIRE(results.at("classes").size() == 2);
  CHECK(results.at("classes")[1].at("name") == "high");
  CHECK(results.at("classes")[1].at("objects") == 8);
  CHECK(results.at("classes")[1].at("images") == 8);
  cli::check_plots(folder / "plots");
  cli::check_plots(folder / "run");
  check_coco_files(folder / "found.json", folder / "found_ground_truth.json");

  write_shapes(folder / "shapes");
  for (const auto& [data, pixels] : {std::pair{"data", 4096}, std::pair{"shapes", 3072}}) {
    const auto rectangles = sparsify(folder.path(), {"validate", "run", "--rect", "--data", data,
                                                     "--batch-size", "2", "--json", "r.json"});
    INFO(data << rectangles.err << rectangles.out);
    REQUIRE(rectangles.code == 0);
    const auto result = cli::read_json(folder / "r.json");
    CHECK(result.at("input_pixels") == pixels);
    if (pixels == 4096)  // all images are squares
      CHECK(std::abs(result.at("map50").get<double>() - summary.at("final").get<double>()) < 0.01);
  }
  for (const std::string subject : {"run/model.cpu.onnx", "run"}) {
    std::vector<std::string> arguments = {"validate", subject, "--rect"};
    if (subject == "run") arguments.emplace_back("--parity");
    const auto refused = sparsify(folder.path(), arguments);
    INFO(refused.err);
    CHECK(refused.code == 2);
    CHECK_THAT(refused.err, ContainsSubstring(subject == "run" ? "--rect: not with --parity"
                                                               : "takes images of 64 x 64 pixels"));
  }

  const auto weights = sparsify(folder.path(), {"export", "run", "--output", "run.weights"});
  INFO(weights.err);
  CHECK(weights.code == 0);
  CHECK_THAT(weights.err, ContainsSubstring("in floating point") && !ContainsSubstring("needs"));

  const auto found = sparsify(folder.path(), {"predict", "run/model.cpu.onnx", "data/images/val", "--conf",
                                              "0.05", "--output", "out", "--json", "boxes.json"});
  INFO(found.err << found.out);
  REQUIRE(found.code == 0);
  CHECK(cli::fs::exists(folder / "out" / "0.jpg"));
  const auto boxes = cli::read_json(folder / "boxes.json");
  int right = 0;
  for (const auto& [image, objects] : boxes.items())
    right +=
        !objects.empty() && objects[0].at("class") == std::stoi(cli::fs::path(image).stem().string()) % 2;
  CHECK(boxes.size() == 16);
  CHECK(right >= 13);

  for (const auto* form : {"raw", "nms"}) {
    const auto file = form + std::string(".onnx");
    const auto exported = sparsify(folder.path(), {"export", "run", "--boxes", form, "--batch-size", "5",
                                                   "--output", file, "--json", "e.json"});
    INFO(exported.err << exported.out);
    CHECK(exported.code == 0);
    CHECK(cli::read_json(folder / "e.json").at("parity").at("onnxruntime").at("agreement") == 1);
    const auto again = sparsify(folder.path(), {"predict", file, "data/images/val", "--json", "again.json"});
    INFO(again.err << again.out);
    CHECK(again.code == 0);
    const auto decoded = sparsify(
        folder.path(), {"predict", "run/model.cpu.onnx", "data/images/val", "--json", "decoded.json"});
    CHECK(decoded.code == 0);
    CHECK(cli::are_same_objects(cli::read_json(folder / "again.json"),
                                cli::read_json(folder / "decoded.json")));
  }
}

TEST_CASE("a detector's run goes on where it was interrupted") {
  const Folder folder;
  write_data(folder / "data");
  cli::write(folder / "tiny.cfg", kDetector);
  cli::write(folder / "small.yaml", kRecipe);
  // Interrupted while learning rates and momentum warm up.
  const std::vector<std::string> train = {"train",           "--recipe", "small.yaml",
                                          "--multi-scale",   "0.25",     "--no-export",
                                          "--warmup-epochs", "12",       "--output"};
  auto whole = train, interrupted = train;
  whole.emplace_back("whole"), interrupted.emplace_back("parts");
  REQUIRE(sparsify(folder.path(), whole).code == 0);
  REQUIRE(sparsify(folder.path(), interrupted, {.interrupt_after = "epoch 9/14"}).code == 130);
  const auto resumed = sparsify(folder.path(), {"train", "--resume", "parts", "--no-export"});
  INFO(resumed.err);
  REQUIRE(resumed.code == 0);
  CHECK(cli::read_tensors(folder / "whole" / "checkpoints" / "last.safetensors")
            .at("model.model.2.conv.weight") ==
        cli::read_tensors(folder / "parts" / "checkpoints" / "last.safetensors")
            .at("model.model.2.conv.weight"));
}

TEST_CASE("anchors that do not fit are replaced, for the run, its file and those who take its weights") {
  const Folder folder;
  write_data(folder / "data");
  std::string detector = kDetector;
  const std::string fitting = "26,14, 14,26";
  cli::write(folder / "tiny.cfg",
             detector.replace(detector.find(fitting), fitting.size(), "200,200, 300,300"));
  cli::write(folder / "small.yaml", kRecipe);
  const auto begun = sparsify(folder.path(), {"train", "--recipe", "small.yaml", "--output", "run"},
                              {.interrupt_after = "epoch 9/14"});
  INFO(begun.err);
  REQUIRE(begun.code == 130);
  const std::string finding = "anchors: best possible recall 0.000 on the training boxes; ";
  CHECK_THAT(begun.err, ContainsSubstring(finding + "new ones reach 1.000"));

  const auto resumed = sparsify(folder.path(), {"train", "--resume", "run"});
  INFO(resumed.err);
  REQUIRE(resumed.code == 0);
  CHECK_THAT(resumed.err, !ContainsSubstring("anchors:"));
  CHECK(cli::read_json(folder / "run" / "summary.json").at("final").get<double>() > 0.8);
  for (const std::string subject : {"run", "run/model.cpu.onnx"}) {
    const auto validated = sparsify(folder.path(), {"validate", subject, "--json", "v.json"});
    INFO(validated.err);
    REQUIRE(validated.code == 0);
    CHECK(cli::read_json(folder / "v.json").at("map50").get<double>() > 0.8);
  }
  const auto weights = sparsify(folder.path(), {"export", "run", "--output", "run.weights"});
  INFO(weights.err);
  CHECK(weights.code == 0);
  CHECK_THAT(weights.err, ContainsSubstring("[yolo] 1 of tiny.cfg needs anchors="));

  cli::write(folder / "short.yaml",
             "version: 1\nrun: {model: tiny.cfg, data: data, batch_size: 8, nbs: 8, augment: none}\n"
             "modifiers:\n  - EpochRangeModifier: {end_epoch: 1}\n");
  const std::vector<std::string> again = {"train", "--recipe", "short.yaml", "--no-export", "--output"};
  const auto with = [&](const std::vector<std::string>& more) {
    auto arguments = again;
    arguments.insert(arguments.end(), more.begin(), more.end());
    const auto outcome = sparsify(folder.path(), arguments);
    INFO(outcome.err);
    CHECK(outcome.code == 0);
    return outcome.err;
  };
  const auto continued = with({"next", "--weights", "run"});
  CHECK_THAT(continued, ContainsSubstring("best possible recall 1.000") && !ContainsSubstring("new ones"));
  CHECK_THAT(with({"as_said", "--noautoanchor"}),
             ContainsSubstring(finding + "they stay, as autoanchor is false"));
}

TEST_CASE("detector's teacher: a run or darknet's weights teach without labels, other heads are refused") {
  const Folder folder;
  write_data(folder / "data");
  cli::write(folder / "tiny.cfg", kDetector);
  const std::string few_epochs =
      "version: 1\nrun: {model: tiny.cfg, data: data, batch_size: 8, nbs: 8, lr: 0.02, augment: none, "
      "ema_decay: 0}\nmodifiers:\n  - EpochRangeModifier: {end_epoch: 4}\n";
  cli::write(folder / "teacher.yaml", few_epochs);
  cli::write(folder / "student.yaml",
             few_epochs + "  - DistillationModifier: {hardness: 1, temperature: 1}\n");
  cli::write(folder / "hyp.yaml", "copy_paste: 0.1\n");
  for (const char* odd : {"1.txt", "3.txt"})
    cli::write(folder / "data" / "labels" / "val" / odd, "1 0.5 0.5 0.2 0.4\n1 0.5 0.5 0.2 0.4\n");
  const auto began = sparsify(folder.path(), {"train", "--recipe", "teacher.yaml", "--output", "run",
                                              "--no-export", "--hyp", "hyp.yaml"});
  INFO(began.err);
  REQUIRE(began.code == 0);
  const std::string twice = "a box that is there twice: counted once", more = " (and 1 more of this kind)";
  CHECK_THAT(began.err, ContainsSubstring("hyp.yaml: copy_paste: left out") &&
                            ContainsSubstring("1.txt:2: " + twice +
                                              " (and 1 more of this kind; a run keeps all of them in "
                                              "data_report.txt)"));
  CHECK_THAT(cli::read(folder / "run" / "data_report.txt"),
             ContainsSubstring("\n2 x " + twice) && ContainsSubstring("3.txt:2: " + twice));
  CHECK_THAT(sparsify(folder.path(), {"validate", "run"}).err, ContainsSubstring("1.txt:2: " + twice + more));
  const auto taught_by = [&](const std::string& teacher, const std::string& output) {
    return sparsify(folder.path(), {"train", "--recipe", "student.yaml", "--distill-teacher", teacher,
                                    "--output", output, "--seed", "1", "--no-export"});
  };

  cli::fs::remove_all(folder / "data" / "labels" / "train");
  cli::fs::create_directories(folder / "data" / "labels" / "train");
  const auto taught = taught_by("run", "student");
  INFO(taught.err);
  REQUIRE(taught.code == 0);
  std::istringstream rows(cli::read(folder / "student" / "metrics.csv"));
  std::vector<double> losses;
  std::string row;
  std::getline(rows, row);
  REQUIRE_THAT(row, ContainsSubstring("epoch,train_loss,"));
  while (std::getline(rows, row)) losses.push_back(std::stod(row.substr(row.find(',') + 1)));
  REQUIRE(losses.size() == 4);
  CHECK(losses.back() > 0);
  CHECK(losses.back() < losses.front());

  // Weights of nothing but zeros, with a short header: a teacher that is undecided everywhere.
  const auto write_darknet = [&](const std::string& name, const std::string& from, const std::string& to,
                                 std::size_t numbers) {
    std::string detector = kDetector;
    detector.replace(detector.rfind(from), from.size(), to);
    cli::write(folder / (name + ".cfg"), detector);
    cli::write(folder / (name + ".weights"), std::string(16 + 4 * numbers, '\0'));
  };
  constexpr std::size_t kNumbers = 24382;
  write_darknet("same", "classes", "classes", kNumbers);
  const auto by_darknet = taught_by("same.weights", "by_darknet");
  INFO(by_darknet.err);
  CHECK(by_darknet.code == 0);

  const auto refused = [&](const std::string& teacher, const std::string& expected) {
    const auto outcome = taught_by(teacher, "none");
    INFO(outcome.err);
    CHECK(outcome.code == 2);
    CHECK_THAT(outcome.err, ContainsSubstring("--distill-teacher ") && ContainsSubstring(expected));
    CHECK_FALSE(cli::fs::exists(folder / "none"));
  };
  write_darknet("anchors", "14,26", "14,30", kNumbers);
  refused("anchors.weights", "its heads have other anchors");
  write_darknet("coding", "scale_x_y=2.0", "scale_x_y=1.0", kNumbers);
  refused("coding.weights", "its heads code boxes in another way than the model's");
  write_darknet("stride", "stride=1\npad=1\nactivation=relu", "stride=2\npad=1\nactivation=relu", kNumbers);
  refused("stride.weights", "a cell of its head 1 has 16 pixels a side, one of the model's 8");
  write_darknet("short", "classes", "classes", kNumbers - 1);
  refused("short.weights", "are they of the same configuration?");
  cli::fs::remove(folder / "same.cfg");
  refused("same.weights", "expected the network's description beside it, ");
}

TEST_CASE("what is wrong with a detector, its weights, its data or its images is said") {
  const Folder folder;
  write_data(folder / "data");
  cli::write(folder / "tiny.cfg", kDetector);
  cli::write(folder / "small.yaml", kRecipe);
  const auto refused = [&](std::vector<std::string> arguments, int code, const std::string& expected) {
    const auto outcome = sparsify(folder.path(), arguments);
    INFO(outcome.err << outcome.out);
    CHECK(outcome.code == code);
    CHECK_THAT(outcome.err, ContainsSubstring(expected));
    CHECK_FALSE(cli::fs::exists(folder / "run"));
  };
  const std::vector<std::string> train = {"train", "--recipe", "small.yaml", "--output", "run"};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.begin(), train.begin(), train.end());
    return more;
  };
  cli::write(folder / "odd.cfg", std::string(kDetector) + "[crop]\n");
  refused(with({"--model", "odd.cfg"}), 2, "odd.cfg:");
  refused(with({"--model", "none.cfg"}), 2, "none.cfg: no such file");
  cli::write(folder / "short.weights", std::string(40, '\0'));
  refused(with({"--weights", "short.weights"}), 2, "short.weights");
  cli::write(folder / "hyp.yaml", "lr0: 0.01\nmosiac: 1\n");
  refused(with({"--hyp", "hyp.yaml"}), 2, "did you mean 'mosaic'?");
  cli::write(folder / "hyp.yaml", "lr0: 0.0\n");
  cli::write(folder / "rateless.yaml",
             "version: 1\nrun: {model: tiny.cfg, data: data}\nmodifiers:\n"
             "  - EpochRangeModifier: {end_epoch: 1}\n");
  refused({"train", "--recipe", "rateless.yaml", "--hyp", "hyp.yaml", "--output", "run"}, 2,
          "the recipe sets no learning rate");
  refused({"export", "run.safetensors", "--boxes", "nms", "--output", "x.onnx"}, 2, "run.safetensors");
  refused({"predict", "--model", "tiny.cfg", "--weights", "short.weights", "data", "--output", "out"}, 2,
          "short.weights");
  cli::write(folder / "data" / "labels" / "train" / "3.txt", "7 0.5 0.5 0.1 0.1\n");
  refused(train, 2, "3.txt:1");
  cli::write(folder / "data" / "labels" / "train" / "3.txt", "1 0.5 0.5 0.1 0.1\n");
  cli::write(folder / "data" / "images" / "train" / "5.bmp", "no picture");
  refused(train, 2, "5.bmp");
}
