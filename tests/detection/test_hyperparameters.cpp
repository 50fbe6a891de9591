// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch_test_macros.hpp>

#include "sparsify/detection/hyperparameters.hpp"
#include "trainers/data_files.hpp"

using namespace sparsify::detection;
using namespace data_test;

namespace {

Hyperparameters read(const std::string& text) {
  const Scratch scratch;
  scratch.write("hyp.yaml", text);
  return load_hyperparameters(scratch.path("hyp.yaml"));
}

/// What is said about the file, after its name.
std::string refusal(const std::string& text) {
  const Scratch scratch;
  scratch.write("hyp.yaml", text);
  const auto message = message_of([&] { load_hyperparameters(scratch.path("hyp.yaml")); });
  return message.starts_with(scratch.path("hyp.yaml")) ? message.substr(scratch.path("hyp.yaml").size())
                                                       : message;
}

// As Ultralytics ships it, with values of its own for each key.
const std::string kWhole = R"(# Hyperparameters
lr0: 0.011  # initial learning rate (SGD=1E-2, Adam=1E-3)
lrf: 0.12
momentum: 0.843
weight_decay: 3.6E-4
warmup_epochs: 2.0
warmup_momentum: 0.5
warmup_bias_lr: 0.05
box: 0.0296
cls: 0.243
cls_pw: 0.631
obj: 0.301
obj_pw: 0.911
iou_t: 0.2
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
mixup: 0.243
copy_paste: 0.0
)";

}  // namespace

TEST_CASE("every hyper-parameter is read into its own place") {
  const auto hyp = read(kWhole);
  CHECK(hyp.lr0 == 0.011);
  CHECK(hyp.lrf == 0.12);
  CHECK(hyp.momentum == 0.843);
  CHECK(hyp.weight_decay == 3.6e-4);
  CHECK(hyp.warmup_epochs == 2);
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
  CHECK(hyp.mixup == 0.243);
}

TEST_CASE("hyper-parameters that are left out keep their values") {
  const auto hyp = read("lr0: 0.5\nmosaic: 0\n");
  const Hyperparameters usual;
  CHECK(hyp.lr0 == 0.5);
  CHECK(hyp.mosaic == 0);
  CHECK(hyp.lrf == usual.lrf);
  CHECK(hyp.box == usual.box);
  CHECK(hyp.fliplr == usual.fliplr);
  CHECK(hyp.scale == usual.scale);
  CHECK(read("{}").momentum == usual.momentum);
}

TEST_CASE("unknown hyper-parameters are named with the nearest known one") {
  CHECK(refusal("lr0: 0.1\nfliprl: 0.5\n") ==
        ":2:9: fliprl: unknown hyper-parameter; did you mean 'fliplr'?");
  CHECK(refusal("weight-decay: 0.1") ==
        ":1:15: weight-decay: unknown hyper-parameter; did you mean 'weight_decay'?");
  CHECK(refusal("something_else: 1") == ":1:17: something_else: unknown hyper-parameter");
}

TEST_CASE("hyper-parameters of a wrong kind or outside their range") {
  CHECK(refusal("mosaic: 1.5") == ":1:9: mosaic: expected a number from 0 to 1, got '1.5'");
  CHECK(refusal("fliplr: -0.1") == ":1:9: fliplr: expected a number from 0 to 1, got '-0.1'");
  CHECK(refusal("scale: 1") == ":1:8: scale: expected a number from 0 to 0.9999, got '1'");
  CHECK(refusal("degrees: 181") == ":1:10: degrees: expected a number from 0 to 180, got '181'");
  CHECK(refusal("perspective: 0.01") == ":1:14: perspective: expected a number from 0 to 0.001, got '0.01'");
  CHECK(refusal("anchor_t: 0.5") == ":1:11: anchor_t: expected a number from 1 to 1e+09, got '0.5'");
  CHECK(refusal("lr0: 0") == ":1:6: lr0: expected a number from 1e-09 to 1e+09, got '0'");
  CHECK(refusal("lr0: fast") == ":1:6: lr0: expected a number from 1e-09 to 1e+09, got 'fast'");
  CHECK(refusal("cls: .nan") == ":1:6: cls: expected a number from 0 to 1e+09, got '.nan'");
  CHECK(refusal("cls: nan") == ":1:6: cls: expected a number from 0 to 1e+09, got 'nan'");
  CHECK(refusal("cls: inf") == ":1:6: cls: expected a number from 0 to 1e+09, got 'inf'");
  CHECK(refusal("cls: [1, 2]") == ":1:6: cls: expected a number from 0 to 1e+09, got a list");
  CHECK(refusal("lr0:\ncls: 1") == ":1:5: lr0: expected a number from 1e-09 to 1e+09, got nothing");
}

TEST_CASE("hyper-parameters that have no counterpart here") {
  CHECK(refusal("copy_paste: 0.1") ==
        ":1:13: copy_paste: pasting of outlined objects is not supported; expected 0");
  CHECK(refusal("copy_paste: x") == ":1:13: copy_paste: expected a number from 0 to 1, got 'x'");
  CHECK(refusal("anchors: 3") ==
        ":1:10: anchors: anchors are part of the model; expected them in its .yaml or .cfg");
}

TEST_CASE("files that are no hyper-parameters") {
  const Scratch scratch;
  CHECK(message_of([&] { load_hyperparameters(scratch.path("gone.yaml")); }) ==
        scratch.path("gone.yaml") + ": cannot be read");
  CHECK(refusal("lr0: 1\nlr0: 2\n") == ":2:1: 'lr0' is given twice");
  CHECK(refusal("- 1\n") == ": expected 'key: value' lines, got a list");
  CHECK(refusal("") == ": expected 'key: value' lines, got nothing");
  CHECK(refusal("lr0: [1\n").find(": not valid YAML: ") != std::string::npos);
}
