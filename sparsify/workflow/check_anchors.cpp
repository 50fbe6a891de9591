// SPDX-License-Identifier: Apache-2.0
#include "workflow/check_anchors.hpp"

#include <vector>

#include "workflow/table.hpp"

namespace sparsify {
namespace {

using detection::Anchors;

Anchors together(const std::vector<Anchors>& of_heads) {
  Anchors all;
  for (const auto& anchors : of_heads) all.insert(all.end(), anchors.begin(), anchors.end());
  return all;
}

std::vector<Anchors> anchors_of(const std::vector<detection::DetectionHead>& heads) {
  std::vector<Anchors> anchors;
  for (const auto& head : heads) anchors.push_back(head.anchors);
  return anchors;
}

}  // namespace

void check_anchors(detection::Detector& detector, const detection::DetectionDataset& images,
                   std::int64_t image_size, const detection::AutoAnchorOptions& options,
                   const std::string& why_kept, const std::function<void(const std::string&)>& note) {
  const auto boxes = detection::box_sizes(images, image_size);
  const auto recall = [&] {
    return detection::best_possible_recall(boxes, together(detector.anchors()), options.anchor_t);
  };
  const double before = recall();
  const auto finding = "anchors: best possible recall " + format_fixed(before, 3) + " on the training boxes";
  if (before >= options.enough) return note(finding);
  if (!why_kept.empty()) return note(finding + "; they stay, as " + why_kept);
  if (boxes.size() < together(detector.anchors()).size())
    return note(finding + "; they stay, as there are fewer boxes than anchors");
  detector.set_anchors(anchors_of(detection::fit_anchors(detector.heads(), boxes, options)));
  const double after = recall();
  note(finding + (after > before ? "; new ones reach " + format_fixed(after, 3)
                                 : "; they stay, as no better ones were found"));
}

}  // namespace sparsify
