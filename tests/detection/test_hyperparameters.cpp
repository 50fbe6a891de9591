// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "replaced.hpp"
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

using Texts = std::vector<std::string>;

// What is noted, after the file's name.
Texts notes_of(const std::string& text) {
  const HypFile file(text);
  Texts notes;
  load_hyperparameters(file.path, [&](const std::string& note) {
    const auto start = file.path.string() + ": ";
    notes.push_back(note.rfind(start, 0) == 0 ? note.substr(start.size()) : "without its file: " + note);
  });
  return notes;
}

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

// A file as Ultralytics ships them, no value of which is another key's.
const std::string kOwnValues = R"(# Hyperparameters
lr0: 0.011  # initial learning rate (SGD=1E-2, Adam=1E-3)
lrf: 0.12
momentum: 0.843
weight_decay: 3.6E-4
warmup_epochs: 2.0
warmup_momentum: 0.51
warmup_bias_lr: 0.052
box: 0.0296
cls: 0.243
cls_pw: 0.631
obj: 0.301
obj_pw: 0.911
iou_t: 0.20
anchor_t: 2.91
# anchors: 3.63
fl_gamma: 1.5
label_smoothing: 0.1
hsv_h: 0.0138
hsv_s: 0.664
hsv_v: 0.464
degrees: 0.373
translate: 0.245
scale: 0.898
shear: 0.602
perspective: 0.0005
flipud: 0.00856
fliplr: 0.25
mosaic: 0.75
mixup: 0.2431
copy_paste: 0.0
)";

// Values of hyp.scratch-low.yaml, hyp.scratch-high.yaml and hyp.VOC.yaml.
const std::string kScratchLow = R"(lr0: 0.01  # initial learning rate (SGD=1E-2, Adam=1E-3)
lrf: 0.01
momentum: 0.937
weight_decay: 0.0005
warmup_epochs: 3.0
warmup_momentum: 0.8
warmup_bias_lr: 0.1
box: 0.05
cls: 0.5
cls_pw: 1.0
obj: 1.0
obj_pw: 1.0
iou_t: 0.20
anchor_t: 4.0
# anchors: 3
fl_gamma: 0.0
hsv_h: 0.015
hsv_s: 0.7
hsv_v: 0.4
degrees: 0.0
translate: 0.1
scale: 0.5
shear: 0.0
perspective: 0.0
flipud: 0.0
fliplr: 0.5
mosaic: 1.0
mixup: 0.0
copy_paste: 0.0
)";

std::string scratch_high() {
  auto text = kScratchLow;
  for (const auto& [low, high] : {std::pair{"lrf: 0.01", "lrf: 0.1"},
                                  {"cls: 0.5", "cls: 0.3"},
                                  {"obj: 1.0", "obj: 0.7"},
                                  {"scale: 0.5", "scale: 0.9"},
                                  {"mixup: 0.0", "mixup: 0.1"},
                                  {"copy_paste: 0.0", "copy_paste: 0.1"}})
    text = detection_test::replaced(text, low, high);
  return text;
}

const std::string kVoc = R"(lr0: 0.00334  # initial learning rate (SGD=1E-2, Adam=1E-3)
lrf: 0.15135
momentum: 0.74832
weight_decay: 0.00025
warmup_epochs: 3.3835
warmup_momentum: 0.59462
warmup_bias_lr: 0.18657
box: 0.02
cls: 0.21638
cls_pw: 0.5
obj: 0.51728
obj_pw: 0.67198
iou_t: 0.2
anchor_t: 3.3744
fl_gamma: 0.0
hsv_h: 0.01041
hsv_s: 0.54703
hsv_v: 0.27739
degrees: 0.0
translate: 0.04591
scale: 0.75544
shear: 0.0
perspective: 0.0
flipud: 0.0
fliplr: 0.5
mosaic: 0.85834
mixup: 0.04266
copy_paste: 0.0
anchors: 3.412
)";

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

TEST_CASE("every hyper-parameter is read into its own place") {
  const auto hyp = loaded(kOwnValues);
  CHECK(hyp.lr0 == 0.011);
  CHECK(hyp.lrf == 0.12);
  CHECK(hyp.momentum == 0.843);
  CHECK(hyp.weight_decay == 3.6e-4);
  CHECK(hyp.warmup_epochs == 2);
  CHECK(hyp.warmup_momentum == 0.51);
  CHECK(hyp.warmup_bias_lr == 0.052);
  CHECK(hyp.box == 0.0296);
  CHECK(hyp.cls == 0.243);
  CHECK(hyp.cls_pw == 0.631);
  CHECK(hyp.obj == 0.301);
  CHECK(hyp.obj_pw == 0.911);
  CHECK(hyp.anchor_t == 2.91);
  CHECK(hyp.fl_gamma == 1.5);
  CHECK(hyp.label_smoothing == 0.1);
  CHECK(hyp.hsv_h == 0.0138);
  CHECK(hyp.hsv_s == 0.664);
  CHECK(hyp.hsv_v == 0.464);
  CHECK(hyp.degrees == 0.373);
  CHECK(hyp.translate == 0.245);
  CHECK(hyp.scale == 0.898);
  CHECK(hyp.shear == 0.602);
  CHECK(hyp.perspective == 0.0005);
  CHECK(hyp.flipud == 0.00856);
  CHECK(hyp.fliplr == 0.25);
  CHECK(hyp.mosaic == 0.75);
  CHECK(hyp.mixup == 0.2431);
  CHECK(loaded("{}").momentum == Hyperparameters().momentum);
}

TEST_CASE("published files of the family load, with a word on what is left out") {
  const auto low = loaded(kScratchLow), high = loaded(scratch_high()), voc = loaded(kVoc);
  CHECK(notes_of(kScratchLow).empty());
  CHECK(low.scale == 0.5);
  CHECK(notes_of(scratch_high()) ==
        Texts{"copy_paste: left out: it pastes outlined objects, and labels are boxes here"});
  CHECK(high.scale == 0.9);
  CHECK(high.obj == 0.7);
  CHECK(high.mixup == 0.1);
  CHECK(notes_of(kVoc) == Texts{"anchors: left out: anchors are those of the model, in its .yaml or .cfg"});
  CHECK(voc.lr0 == 0.00334);
  CHECK(voc.warmup_bias_lr == 0.18657);
  CHECK(voc.hsv_v == 0.27739);
  CHECK(loaded("lr0: 0.0  # the recipe's\nlrf: 0.0\nwarmup_epochs: 0.0\n").lr0 == 0);
}

TEST_CASE("hyper-parameters that nothing goes by pass unsaid where they mean nothing") {
  const std::string neutral = "iou_t: 0.20\nanchors: 0\ncopy_paste: 0.0\nbox: 0.1\n";
  CHECK(loaded(neutral).box == 0.1);
  CHECK(notes_of(neutral).empty());
  CHECK(failure("box: 0.1\niou_t: 0.5\n") ==
        "2:8: iou_t: objects are matched by anchor_t alone; expected 0.2, which means nothing");
  CHECK(failure("anchors: -3\n") == "1:10: anchors: expected a number from 0 to 100, got '-3'");
  CHECK(failure("copy_paste: 1.5\n") == "1:13: copy_paste: expected a number from 0 to 1, got '1.5'");
}

TEST_CASE("mistakes in hyper-parameters are named with their place") {
  CHECK(failure("lr0: 0.01\nmozaic: 1\n") == "2:9: mozaic: unknown hyper-parameter; did you mean 'mosaic'?");
  CHECK(failure("something_else: 1\n") == "1:17: something_else: unknown hyper-parameter");
  CHECK(failure("fliplr: 1.5\n") == "1:9: fliplr: expected a number from 0 to 1, got '1.5'");
  CHECK(failure("fliplr: often\n") == "1:9: fliplr: expected a number from 0 to 1, got 'often'");
  CHECK(failure("fliplr: nan\n") == "1:9: fliplr: expected a number from 0 to 1, got 'nan'");
  CHECK(failure("cls: inf\n") == "1:6: cls: expected a number from 0 to 1e+09, got 'inf'");
  CHECK(failure("cls: [1, 2]\n") == "1:6: cls: expected a number from 0 to 1e+09, got a list");
  CHECK(failure("scale: 1\n") == "1:8: scale: expected a number from 0 to 0.9999, got '1'");
  CHECK(failure("anchor_t: 0.5\n") == "1:11: anchor_t: expected a number from 1.01 to 1e+09, got '0.5'");
  CHECK(failure("lr0: -1\n") == "1:6: lr0: expected a number from 0 to 1e+09, got '-1'");
  CHECK(failure("lr0:\n").ends_with("lr0: expected a number from 0 to 1e+09, got nothing"));
  CHECK(failure("copy_paste: x\n") == "1:13: copy_paste: expected a number from 0 to 1, got 'x'");
  CHECK(failure("- 1\n") == " expected 'key: value' lines, got a list");
  CHECK(failure("") == " expected 'key: value' lines, got nothing");
  CHECK(failure("box: 0.05\nbox: 0.1\n") == "2:1: 'box' is given twice");
}

TEST_CASE("a file of hyper-parameters that is not there is named") {
  CHECK_THROWS_AS(load_hyperparameters("/nowhere/hyp.yaml"), sparsify::Error);
}
