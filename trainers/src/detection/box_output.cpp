// SPDX-License-Identifier: Apache-2.0
#include "sparsify/detection/box_output.hpp"

#include <algorithm>

#include "sparsify/error.hpp"

namespace sparsify::detection {
namespace {

constexpr std::int64_t kColumns = 6;

Maps plain(const Outputs& outputs) {
  Maps maps;
  for (const auto& map : outputs) maps.push_back(map.detach().to(torch::kCPU, torch::kFloat).contiguous());
  return maps;
}

// `rows`: [max_det, 6]
std::vector<Detection> detections(const torch::Tensor& rows, const NmsOptions& options) {
  std::vector<Detection> found;
  const auto most = std::min(rows.size(0), options.max_det);
  const auto* row = rows.const_data_ptr<float>();
  for (std::int64_t i = 0; i < most && row[4] > 0 && row[4] >= options.confidence; ++i, row += kColumns)
    found.push_back({row[0], row[1], row[2], row[3], row[4], static_cast<std::int64_t>(row[5])});
  return found;
}

void write(const std::vector<Detection>& found, const torch::Tensor& rows) {
  auto* out = rows.data_ptr<float>();
  for (const auto& box : found)
    for (const float value : {box.x1, box.y1, box.x2, box.y2, box.score, static_cast<float>(box.label)})
      *out++ = value;
}

}  // namespace

std::string name(BoxOutput output) {
  return output == BoxOutput::kRaw ? "raw" : output == BoxOutput::kDecoded ? "decoded" : "nms";
}

BoxOutput parse_box_output(const std::string& text) {
  for (const auto output : {BoxOutput::kRaw, BoxOutput::kDecoded, BoxOutput::kNms})
    if (text == name(output)) return output;
  throw Error("boxes: expected raw, decoded or nms, got '" + text + "'");
}

std::vector<std::vector<Detection>> BoxReader::objects(const Outputs& outputs, std::int64_t height,
                                                       std::int64_t width, const NmsOptions& options) const {
  const auto maps = plain(outputs);
  const auto boxes = output == BoxOutput::kRaw ? decode(maps, heads, height, width) : maps.at(0);
  std::vector<std::vector<Detection>> found;
  for (std::int64_t i = 0; i < boxes.size(0); ++i)
    found.push_back(output == BoxOutput::kNms ? detections(boxes[i], options)
                                              : non_max_suppression(boxes[i], options));
  return found;
}

Outputs BoxReader::from_raw(const Outputs& maps, std::int64_t height, std::int64_t width,
                            const NmsOptions& options) const {
  if (output == BoxOutput::kRaw) return maps;
  const auto boxes = decode(maps, heads, height, width);
  if (output == BoxOutput::kDecoded) return {boxes};
  auto rows = torch::zeros({boxes.size(0), std::min(options.max_det, boxes.size(1)), kColumns});
  for (std::int64_t i = 0; i < boxes.size(0); ++i) write(non_max_suppression(boxes[i], options), rows[i]);
  return {rows};
}

}  // namespace sparsify::detection
