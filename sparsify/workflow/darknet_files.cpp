// SPDX-License-Identifier: Apache-2.0
#include "workflow/darknet_files.hpp"

#include <algorithm>

#include "sparsify/detection/darknet.hpp"
#include "sparsify/modifiers/quantization.hpp"
#include "workflow/input_error.hpp"
#include "workflow/table.hpp"

namespace sparsify {
namespace {

using detection::DetectionHead;
using detection::Detector;

std::string anchors_text(const DetectionHead& head) {
  std::string text;
  for (const auto& [width, height] : head.anchors)
    text += (text.empty() ? "" : ", ") + format_number(width) + "," + format_number(height);
  return text;
}

// What training changed and weights do not say.
void compare_with_config(const Detector& detector, const ModelCard& card, std::vector<std::string>& notes) {
  const auto said = detection::parse_darknet(card.definition, card.model)->heads(), own = detector.heads();
  for (std::size_t i = 0; i < own.size(); ++i) {
    const auto& head = own[i];
    const auto where = "[yolo] " + std::to_string(i + 1) + " of " + card.model + " needs ";
    if (said.at(i).classes != head.classes)
      notes.push_back("warning: for these weights " + where + "classes=" + std::to_string(head.classes) +
                      ", and the convolution before it filters=" +
                      std::to_string(static_cast<std::int64_t>(head.anchors.size()) * (5 + head.classes)));
    if (said.at(i).anchors != head.anchors)
      notes.push_back("warning: for these weights " + where + "anchors=" + anchors_text(head) +
                      " where its mask points: training chose others");
  }
}

}  // namespace

bool is_darknet_file(const std::filesystem::path& path) { return path.extension() == ".weights"; }

bool may_be_darknet_backbone(const std::filesystem::path& path) {
  const auto number = path.extension().string();
  const bool is_numbered = number.size() > 1 && std::all_of(number.begin() + 1, number.end(),
                                                            [](char c) { return c >= '0' && c <= '9'; });
  return is_darknet_file(path) || (is_numbered && path.stem().extension() == ".conv");
}

std::vector<std::string> export_darknet(const SavedModel& saved, const std::filesystem::path& path) {
  const auto* detector = dynamic_cast<const Detector*>(saved.model.get());
  if (!detector || std::filesystem::path(saved.card.model).extension() != ".cfg")
    throw InputError("--output " + path.string() +
                     ": darknet's weights are of networks that a .cfg describes, " + saved.card.model +
                     " is none; expected FILE.onnx");
  detection::save_darknet_weights(*detector, path);
  std::vector<std::string> notes;
  if (const auto* quantization = saved.session->find<Quantization>(); quantization && quantization->active())
    notes.push_back(
        "the weights are those in floating point, as they were trained; their quantizers are left out");
  compare_with_config(*detector, saved.card, notes);
  return notes;
}

}  // namespace sparsify
