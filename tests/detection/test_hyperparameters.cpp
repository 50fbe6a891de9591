// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <filesystem>
#include <fstream>
#include <string>

#include "sparsify/detection/hyperparameters.hpp"
#include "sparsify/error.hpp"

using namespace sparsify::detection;

namespace {

/// A file of its own that is gone with it.
class HypFile {
 public:
  explicit HypFile(const std::string& text) { std::ofstream(path) << text; }
  ~HypFile() { std::filesystem::remove(path); }
  const std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("sparsify_hyp_" + std::to_string(getpid()) + ".yaml");
};

Hyperparameters loaded(const std::string& text) { return load_hyperparameters(HypFile(text).path); }

// What it says after the file's name.
std::string failure(const std::string& text) {
  const HypFile file(text);
  try {
    load_hyperparameters(file.path);
  } catch (const sparsify::Error& error) {
    const std::string message = error.what(), start = file.path.string() + ":";
    return message.rfind(start, 0) == 0 ? message.substr(start.size()) : message;
  }
  return "nothing";
}

}  // namespace

TEST_CASE("hyper-parameters are those of the file, and the usual ones where it says nothing") {
  const auto hyp = loaded("# fine-tuning\nlr0: 0.0032\nbox: 0.02\nwarmup_bias_lr: 0.05\nanchor_t: 2.91\n");
  CHECK(hyp.lr0 == 0.0032);
  CHECK(hyp.box == 0.02);
  CHECK(hyp.warmup_bias_lr == 0.05);
  CHECK(hyp.anchor_t == 2.91);
  CHECK(hyp.warmup_momentum == Hyperparameters().warmup_momentum);
  CHECK(hyp.mosaic == Hyperparameters().mosaic);
}

TEST_CASE("unsupported hyper-parameters pass where they change nothing") {
  CHECK(loaded("iou_t: 0.20\nanchors: 0\ncopy_paste: 0.0\nbox: 0.1\n").box == 0.1);
  CHECK(failure("box: 0.1\niou_t: 0.5\n") ==
        "2:8: iou_t: objects are matched by anchor_t alone; expected 0.2, which means nothing");
  CHECK(failure("anchors: 3\n") ==
        "1:10: anchors: anchors are part of the model, in its .yaml or .cfg; expected 0");
  CHECK(failure("copy_paste: 0.1\n") ==
        "1:13: copy_paste: pasting of outlined objects is not supported; expected 0");
}

TEST_CASE("mistakes in hyper-parameters are named with their place") {
  CHECK(failure("lr0: 0.01\nmozaic: 1\n") == "2:9: mozaic: unknown hyper-parameter; did you mean 'mosaic'?");
  CHECK(failure("something_else: 1\n") == "1:17: something_else: unknown hyper-parameter");
  CHECK(failure("fliplr: 1.5\n") == "1:9: fliplr: expected a number from 0 to 1, got '1.5'");
  CHECK(failure("fliplr: often\n") == "1:9: fliplr: expected a number from 0 to 1, got 'often'");
  CHECK(failure("fliplr: nan\n") == "1:9: fliplr: expected a number from 0 to 1, got 'nan'");
  CHECK(failure("box: 0.05\nbox: 0.1\n") == "2:1: 'box' is given twice");
}

TEST_CASE("a file of hyper-parameters that is not there is named") {
  CHECK_THROWS_AS(load_hyperparameters("/nowhere/hyp.yaml"), sparsify::Error);
}
