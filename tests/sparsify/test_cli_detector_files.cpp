// SPDX-License-Identifier: Apache-2.0
// Darknet's weights from the command line: written, read, begun with; and images of many shapes.
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <cmath>

#include <nlohmann/json.hpp>

#include "detector_data.hpp"
#include "run_program.hpp"

using Catch::Matchers::ContainsSubstring;
using cli::Folder;
using cli::sparsify;

namespace {

constexpr const char* kFloatRecipe =
    "version: 1\nnum_epochs: 14\n"
    "run: {model: tiny.cfg, data: data, batch_size: 8, nbs: 8, lr: 0.02, augment: none, ema_decay: 0}\n"
    "modifiers:\n  - EpochRangeModifier: {end_epoch: eval(num_epochs)}\n";

constexpr std::size_t kHeader = 20, kNumbers = 24382;  // of the weights of kDetector

/// Trains in `folder`, without export.
cli::Outcome train(const Folder& folder, std::vector<std::string> more) {
  more.insert(more.begin(), {"train", "--recipe", "float.yaml", "--no-export"});
  return sparsify(folder.path(), more);
}

void write_task(const Folder& folder) {
  cli::write_data(folder / "data");
  cli::write(folder / "tiny.cfg", cli::kDetector);
  cli::write(folder / "float.yaml", kFloatRecipe);
}

nlohmann::json objects_of(const Folder& folder, std::vector<std::string> network) {
  network.insert(network.begin(), "predict");
  for (const auto* argument : {"data/images/val", "--conf", "0.05", "--json", "boxes.json"})
    network.emplace_back(argument);
  const auto found = sparsify(folder.path(), network);
  INFO(found.err);
  REQUIRE(found.code == 0);
  return cli::read_json(folder / "boxes.json");
}

/// A detector that finds red squares filling a cell of 8 x 8 pixels, and nothing in what is dark or grey.
void write_cells(const Folder& folder) {
  cli::write(folder / "cells.cfg",
             "[net]\nwidth=64\nheight=64\nchannels=3\n"
             "[convolutional]\nfilters=7\nsize=8\nstride=8\nactivation=linear\n"
             "[yolo]\nmask=0\nanchors=8,8\nclasses=2\nnum=1\n");
  constexpr std::size_t kFilters = 7, kObjectness = 4, kPixels = 64;
  std::vector<float> numbers = {0, 0, 0, 0, -10, 10, -10};
  for (std::size_t filter = 0; filter < kFilters; ++filter)
    for (const float colour : {40.F, -40.F, -40.F})
      numbers.insert(numbers.end(), kPixels, filter == kObjectness ? colour / kPixels : 0.F);
  cli::write(folder / "cells.weights",
             std::string(16, '\0') +
                 std::string(reinterpret_cast<const char*>(numbers.data()), numbers.size() * sizeof(float)));
}

}  // namespace

TEST_CASE(
    "a trained detector's weights leave as darknet's and find the same; their first layers begin others") {
  const Folder folder;
  write_task(folder);
  const auto trained = train(folder, {"--output", "run"});
  INFO(trained.err);
  REQUIRE(trained.code == 0);
  const auto exported =
      sparsify(folder.path(), {"export", "run", "--output", "tiny.weights", "--json", "e.json"});
  INFO(exported.err << exported.out);
  REQUIRE(exported.code == 0);
  CHECK(cli::read_json(folder / "e.json").at("bytes") == kHeader + 4 * kNumbers);
  CHECK(cli::read_json(folder / "e.json").at("notes").empty());
  const auto objects = objects_of(folder, {"run"});
  std::size_t count = 0;
  for (const auto& [image, found] : objects.items()) count += found.size();
  CHECK(count > 0);
  CHECK(cli::are_same_objects(objects,
                              objects_of(folder, {"--model", "tiny.cfg", "--weights", "tiny.weights"})));
  const auto validated = sparsify(folder.path(), {"validate", "--model", "tiny.cfg", "--weights",
                                                  "tiny.weights", "--data", "data", "--plots", "plots"});
  INFO(validated.err);
  CHECK(validated.code == 0);
  cli::check_plots(folder / "plots");

  const auto weights = cli::read(folder / "tiny.weights");
  constexpr std::size_t kTwoLayers = 496 + 4736;
  cli::write(folder / "tiny.conv.2", weights.substr(0, kHeader + 4 * kTwoLayers));
  // So slow that no weight changes.
  const auto begun = train(folder, {"--weights", "tiny.conv.2", "--recipe-arg", "num_epochs=1", "--lr",
                                    "1e-30", "--output", "next"});
  INFO(begun.err);
  REQUIRE(begun.code == 0);
  CHECK_THAT(
      begun.err,
      ContainsSubstring("loaded the first 2 of 5 convolutions from tiny.conv.2; the rest begins at random"));
  const auto before = cli::read_tensors(folder / "run" / "checkpoints" / "last.safetensors"),
             after = cli::read_tensors(folder / "next" / "checkpoints" / "last.safetensors");
  for (int layer = 0; layer < 5; ++layer) {
    INFO("layer " << layer);
    const auto name = "model.model." + std::to_string(layer) + ".conv.weight";
    CHECK((before.at(name) == after.at(name)) == (layer < 2));
  }

  const auto refused = [&](const std::string& file, std::size_t bytes, const std::string& expected) {
    cli::write(folder / file, weights.substr(0, bytes));
    const auto outcome = train(folder, {"--weights", file, "--output", "none"});
    INFO(outcome.err);
    CHECK(outcome.code == 2);
    CHECK_THAT(outcome.err, ContainsSubstring(file) && ContainsSubstring(expected));
    CHECK_FALSE(cli::fs::exists(folder / "none"));
  };
  refused("cut.weights", kHeader + 4 * (kTwoLayers - 1), "up to its convolution 2 has 5232");
  const auto of_other = train(folder, {"--model", "yolov3-tiny", "--image-size", "64", "--weights",
                                       "tiny.weights", "--output", "none"});
  INFO(of_other.err);
  CHECK(of_other.code == 2);
  CHECK_THAT(of_other.err,
             ContainsSubstring("; .weights of a whole network are read by their .cfg: --model FILE.cfg"));
  refused("tiny.conv.0", kHeader, "holds a header and no weights");

  const auto with_boxes =
      sparsify(folder.path(), {"export", "run", "--boxes", "nms", "--output", "x.weights"});
  CHECK(with_boxes.code == 2);
  CHECK_THAT(with_boxes.err, ContainsSubstring("--boxes: not for darknet's .weights"));
  CHECK_FALSE(cli::fs::exists(folder / "x.weights"));
}

TEST_CASE("darknet's weights of other classes say what their .cfg needs") {
  const Folder folder;
  write_task(folder);
  std::string detector = cli::kDetector;
  detector.replace(detector.find("filters=14"), 10, "filters=16");
  detector.replace(detector.find("classes=2"), 9, "classes=3");
  cli::write(folder / "tiny.cfg", detector);
  const auto trained = train(folder, {"--recipe-arg", "num_epochs=1", "--output", "run"});
  INFO(trained.err);
  REQUIRE(trained.code == 0);
  const auto exported = sparsify(folder.path(), {"export", "run", "--output", "two.weights"});
  INFO(exported.err);
  CHECK(exported.code == 0);
  CHECK_THAT(exported.err,
             ContainsSubstring("[yolo] 1 of tiny.cfg needs classes=2, and the convolution before it "
                               "filters=14"));
  CHECK(cli::fs::file_size(folder / "two.weights") == kHeader + 4 * kNumbers);
}

TEST_CASE("validate --rect finds what squares find, in smaller batches") {
  const Folder folder;
  cli::write_shapes(folder / "shapes");
  write_cells(folder);
  const auto validated = [&](const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"validate", "--model", "cells.cfg",    "--weights", "cells.weights",
                                          "--data",   "shapes",  "--batch-size", "2",         "--json",
                                          "v.json"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const auto outcome = sparsify(folder.path(), arguments);
    INFO(outcome.err << outcome.out);
    REQUIRE(outcome.code == 0);
    CHECK((outcome.out.find("pixels, of squares") != std::string::npos) == !more.empty());
    return cli::read_json(folder / "v.json");
  };
  const auto squares = validated({}), rectangles = validated({"--rect"});
  CHECK(squares.at("input_pixels") == 4096);
  CHECK(rectangles.at("input_pixels") == 3072);
  CHECK(squares.at("map50").get<double>() > 0.99);
  for (const auto* figure : {"map50", "map", "precision", "recall", "f1"}) {
    INFO(figure);
    CHECK(std::abs(rectangles.at(figure).get<double>() - squares.at(figure).get<double>()) < 1e-6);
  }
  const auto refused =
      sparsify(folder.path(), {"validate", "--model", "cells.cfg", "--weights", "cells.weights", "--data",
                               "shapes", "--imgsz", "60", "--rect"});
  CHECK(refused.code == 2);
  CHECK_THAT(refused.err, ContainsSubstring("expected a multiple of 8"));
}
