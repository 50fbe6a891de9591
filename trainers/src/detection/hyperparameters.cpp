// SPDX-License-Identifier: Apache-2.0
#include "sparsify/detection/hyperparameters.hpp"

#include <functional>
#include <map>
#include <vector>

#include "detection/yaml_value.hpp"
#include "sparsify/error.hpp"
#include "sparsify/suggest.hpp"
#include "weights/read_whole.hpp"

namespace sparsify::detection {
namespace {

constexpr double kNoLimit = 1e9;

struct Key {
  double Hyperparameters::* value;
  double lowest, highest;
};

const std::map<std::string, Key>& keys() {
  using H = Hyperparameters;
  static const std::map<std::string, Key> known = {
      {"lr0", {&H::lr0, 0, kNoLimit}},
      {"lrf", {&H::lrf, 0, 1}},
      {"momentum", {&H::momentum, 0, 0.9999}},
      {"weight_decay", {&H::weight_decay, 0, kNoLimit}},
      {"warmup_epochs", {&H::warmup_epochs, 0, kNoLimit}},
      {"warmup_momentum", {&H::warmup_momentum, 0, 0.9999}},
      {"warmup_bias_lr", {&H::warmup_bias_lr, 0, kNoLimit}},
      {"box", {&H::box, 0, kNoLimit}},
      {"cls", {&H::cls, 0, kNoLimit}},
      {"cls_pw", {&H::cls_pw, 1e-9, kNoLimit}},
      {"obj", {&H::obj, 0, kNoLimit}},
      {"obj_pw", {&H::obj_pw, 1e-9, kNoLimit}},
      {"anchor_t", {&H::anchor_t, 1.01, kNoLimit}},
      {"fl_gamma", {&H::fl_gamma, 0, 10}},
      {"label_smoothing", {&H::label_smoothing, 0, 0.9999}},
      {"hsv_h", {&H::hsv_h, 0, 1}},
      {"hsv_s", {&H::hsv_s, 0, 1}},
      {"hsv_v", {&H::hsv_v, 0, 1}},
      {"degrees", {&H::degrees, 0, 180}},
      {"translate", {&H::translate, 0, 1}},
      {"scale", {&H::scale, 0, 0.9999}},
      {"shear", {&H::shear, 0, 80}},
      {"perspective", {&H::perspective, 0, 0.001}},
      {"flipud", {&H::flipud, 0, 1}},
      {"fliplr", {&H::fliplr, 0, 1}},
      {"mosaic", {&H::mosaic, 0, 1}},
      {"mixup", {&H::mixup, 0, 1}},
  };
  return known;
}

// Keys of files made for Ultralytics that nothing here goes by; `note` tells of one that would change
// something there.
bool is_left_out(const std::string& key, const YamlValue& value,
                 const std::function<void(const std::string&)>& note) {
  struct LeftOut {
    double neutral, highest;
    const char* why;
  };
  static const std::map<std::string, LeftOut> left_out = {
      {"anchors", {0, 100, "anchors are those of the model, in its .yaml or .cfg"}},
      {"copy_paste", {0, 1, "it pastes outlined objects, and labels are boxes here"}},
  };
  if (key == "iou_t") {
    if (value.number(0, kNoLimit) != 0.2)
      value.fail("objects are matched by anchor_t alone; expected 0.2, which means nothing");
    return true;
  }
  const auto found = left_out.find(key);
  if (found == left_out.end()) return false;
  const auto& [neutral, highest, why] = found->second;
  if (value.number(0, highest) != neutral) note(key + ": left out: " + why);
  return true;
}

}  // namespace

Hyperparameters load_hyperparameters(const std::filesystem::path& file,
                                     const std::function<void(const std::string&)>& note) {
  Hyperparameters hyp;
  const auto tell = [&](const std::string& text) {
    if (note) note(file.string() + ": " + text);
  };
  for (const auto& [name, value] : YamlValue::parse(weights::read_whole(file), file.string()).entries()) {
    if (is_left_out(name, value, tell)) continue;
    const auto key = keys().find(name);
    if (key == keys().end()) {
      std::vector<std::string> names;
      for (const auto& [known, _] : keys()) names.push_back(known);
      value.fail("unknown hyper-parameter" + suggestion(name, names));
    }
    hyp.*(key->second.value) = value.number(key->second.lowest, key->second.highest);
  }
  return hyp;
}

}  // namespace sparsify::detection
