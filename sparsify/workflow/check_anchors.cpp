// SPDX-License-Identifier: Apache-2.0
#include "workflow/check_anchors.hpp"

#include "workflow/table.hpp"

namespace sparsify {

void check_anchors(detection::Detector& detector, const detection::DetectionDataset& images,
                   std::int64_t image_size, const detection::AutoAnchorOptions& options,
                   const std::string& why_kept, const std::function<void(const std::string&)>& note) {
  const auto boxes = detection::box_sizes(images, image_size);
  const auto recall = [&] {
    return detection::best_possible_recall(boxes, detection::all_anchors(detector.heads()), options.anchor_t);
  };
  const double before = recall();
  const auto finding = "anchors: best possible recall " + format_fixed(before, 3) + " on the training boxes";
  if (before >= options.enough) return note(finding);
  if (!why_kept.empty()) return note(finding + "; they stay, as " + why_kept);
  if (boxes.size() < detection::all_anchors(detector.heads()).size())
    return note(finding + "; they stay, as there are fewer boxes than anchors");
  detector.set_anchors(anchors_of(detection::fit_anchors(detector.heads(), boxes, options)));
  const double after = recall();
  note(finding + (after > before ? "; new ones reach " + format_fixed(after, 3)
                                 : "; they stay, as no better ones were found"));
}

}  // namespace sparsify
