// SPDX-License-Identifier: Apache-2.0
// The keys are those that AlexeyAB's and Redmon's darknet ask for in parser.c.
#include "detection/darknet_keys.hpp"

#include "sparsify/suggest.hpp"

namespace sparsify::detection {
namespace {

/// What values a key may have: any (we read it, or training alone does), none, or one, which changes nothing.
const std::string kAny = "any", kNever = "never", kAsStride = "as stride", kSizeLess1 = "size - 1";

using Keys = std::map<std::string, std::string>;

// Of layers of every kind: what they learn, and where they run.
const Keys kOfAll = {{"burnin_update", kAny}, {"clip", kAny},           {"dont_update", kAny},
                     {"dontload", kAny},      {"dontloadscales", kAny}, {"learning_rate", kAny},
                     {"onlyforward", kAny},   {"stopbackward", kAny},   {"stream", kAny},
                     {"train_only_bn", kAny}, {"wait_stream", kAny}};

const Keys kOfConvolutions = {{"activation", kAny},    {"batch_normalize", kAny},
                              {"filters", kAny},       {"groups", kAny},
                              {"pad", kAny},           {"padding", kAny},
                              {"size", kAny},          {"stride", kAny},
                              {"angle", kAny},         {"dot", kAny},
                              {"grad_centr", kAny},    {"reverse", kAny},
                              {"antialiasing", "0"},   {"binary", "0"},
                              {"bin_output", "0"},     {"cbn", "0"},
                              {"coordconv", "0"},      {"dilation", "1"},
                              {"flipped", "0"},        {"rotate", "0"},
                              {"share_index", kNever}, {"stretch", "0"},
                              {"stretch_sway", "0"},   {"stride_x", kAsStride},
                              {"stride_y", kAsStride}, {"sway", "0"},
                              {"xnor", "0"},           {"assisted_excitation", kAny}};

// Redmon's have alpha and beta; older files of AlexeyAB's spell "normalizion".
const Keys kOfShortcuts = {{"activation", kAny},
                           {"from", kAny},
                           {"alpha", "1"},
                           {"beta", "1"},
                           {"weights_type", "none"},
                           {"weights_normalization", "none"},
                           {"weights_normalizion", "none"}};

const Keys kOfMaxPools = {{"size", kAny},          {"stride", kAny},        {"antialiasing", "0"},
                          {"maxpool_depth", "0"},  {"out_channels", kAny},  {"maxpool_zero_nonmax", "0"},
                          {"padding", kSizeLess1}, {"stride_x", kAsStride}, {"stride_y", kAsStride}};

const Keys kOfDropouts = {
    {"probability", kAny}, {"dropblock", kAny}, {"dropblock_size_abs", kAny}, {"dropblock_size_rel", kAny}};

const Keys kOfHeads = {{"anchors", kAny},
                       {"classes", kAny},
                       {"mask", kAny},
                       {"new_coords", kAny},
                       {"num", kAny},
                       {"scale_x_y", kAny},
                       {"beta_nms", kAny},
                       {"cls_normalizer", kAny},
                       {"delta_normalizer", kAny},
                       {"dets_for_show", kAny},
                       {"dets_for_track", kAny},
                       {"embedding_layer", kAny},
                       {"focal_loss", kAny},
                       {"ignore_thresh", kAny},
                       {"iou_loss", kAny},
                       {"iou_normalizer", kAny},
                       {"iou_thresh", kAny},
                       {"iou_thresh_kind", kAny},
                       {"jitter", kAny},
                       {"label_smooth_eps", kAny},
                       {"map", kAny},
                       {"max", kAny},
                       {"max_delta", kAny},
                       {"nms_kind", kAny},
                       {"obj_normalizer", kAny},
                       {"objectness_smooth", kAny},
                       {"random", kAny},
                       {"resize", kAny},
                       {"show_details", kAny},
                       {"sim_thresh", kAny},
                       {"track_ciou_norm", kAny},
                       {"track_history_size", kAny},
                       {"truth_thresh", kAny},
                       {"counters_per_class", kAny}};

// Null for sections that are no layers we know.
const Keys* keys_of(const std::string& kind) {
  static const std::map<std::string, Keys> kinds = {
      {"convolutional", kOfConvolutions},
      {"shortcut", kOfShortcuts},
      {"route", {{"layers", kAny}, {"groups", kAny}, {"group_id", kAny}}},
      {"upsample", {{"stride", kAny}, {"scale", "1"}}},
      {"maxpool", kOfMaxPools},
      {"dropout", kOfDropouts},
      {"yolo", kOfHeads}};
  const auto found = kinds.find(kind);
  return found == kinds.end() ? nullptr : &found->second;
}

[[noreturn]] void refuse_unknown(const DarknetSection& section, const std::string& key, const Keys& known) {
  std::vector<std::string> names;
  for (const auto* keys : {&known, &kOfAll})
    for (const auto& [name, allowed] : *keys) names.push_back(name);
  section.fail_at(key, "[" + section.name() + "] has no such key" + suggestion(key, names));
}

std::string neutral_value(const DarknetSection& section, const std::string& allowed) {
  const auto stride = section.integer("stride", 1);
  if (allowed == kAsStride) return std::to_string(stride);
  if (allowed == kSizeLess1) return std::to_string(section.integer("size", stride, 1) - 1);
  return allowed;
}

void require_neutral(const DarknetSection& section, const std::string& key, const std::string& allowed) {
  if (allowed == kAny) return;
  const auto given = section.text(key, "");
  if (allowed == kNever) section.fail_at(key, "not supported, got '" + given + "'");
  const auto neutral = neutral_value(section, allowed);
  const bool holds = neutral == "none" ? given == neutral : section.number(key, 0) == std::stod(neutral);
  if (!holds) section.fail_at(key, "not supported but for " + neutral + ", got '" + given + "'");
}

}  // namespace

void check_keys(const DarknetSection& section) {
  const auto* known = keys_of(section.name());
  if (!known) return;
  for (const auto& key : section.keys()) {
    if (kOfAll.count(key)) continue;
    const auto found = known->find(key);
    if (found == known->end()) refuse_unknown(section, key, *known);
    require_neutral(section, key, found->second);
  }
}

}  // namespace sparsify::detection
