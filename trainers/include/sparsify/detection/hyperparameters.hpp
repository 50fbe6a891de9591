// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

namespace sparsify::detection {

/// What a `hyp.yaml` of the YOLO family says, under its usual keys; the values here are those for training
/// from scratch.
struct Hyperparameters {
  double lr0 = 0.01, lrf = 0.01;  ///< learning rate; its last value as a part of the first
  double momentum = 0.937, weight_decay = 5e-4;
  double warmup_epochs = 3;
  double warmup_momentum = 0.8;  ///< where the warm-up begins; 0: the momentum has none
  double warmup_bias_lr = 0.1;   ///< where that of biases begins
  double box = 0.05, cls = 0.5, cls_pw = 1, obj = 1, obj_pw = 1;  ///< gains and weights of positives
  double anchor_t = 4;  ///< an anchor fits a box whose sides differ from its by less than this factor
  double fl_gamma = 0;  ///< focal loss; 0: none
  double label_smoothing = 0;
  double hsv_h = 0.015, hsv_s = 0.7, hsv_v = 0.4;
  double degrees = 0, translate = 0.1, scale = 0.5, shear = 0, perspective = 0;
  double flipud = 0, fliplr = 0.5, mosaic = 1, mixup = 0;  ///< probabilities
};

/// Reads a `hyp.yaml`; keys that are left out keep their values. `note` hears of keys of Ultralytics that
/// nothing here goes by and that would change something there: `anchors` (the model has them) and
/// `copy_paste` (labels are boxes); `iou_t: 0.2` means nothing there either. Throws Error naming file, line
/// and column for another `iou_t`, for unknown keys (with the nearest known one), wrong types and values
/// outside their range.
Hyperparameters load_hyperparameters(const std::filesystem::path& file,
                                     const std::function<void(const std::string&)>& note = {});

}  // namespace sparsify::detection
