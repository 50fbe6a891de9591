// SPDX-License-Identifier: Apache-2.0
#include "sparsify/detection/image_input.hpp"

#include "detection/image_header.hpp"
#include "detection/upright.hpp"

namespace sparsify::detection {

trainers::Image load_upright(const std::filesystem::path& file) {
  auto image = trainers::load_image(file.string());
  return upright(std::move(image), read_image_header(file).orientation);
}

torch::Tensor stretched(const trainers::Image& image, std::int64_t height, std::int64_t width) {
  const auto resized = trainers::resize(image, {0, 0, image.height(), image.width()}, height, width);
  return torch::from_blob(const_cast<std::uint8_t*>(resized.rgb()), {1, height, width, 3}, torch::kByte)
      .permute({0, 3, 1, 2})
      .to(torch::kFloat, /*non_blocking=*/false, /*copy=*/true, torch::MemoryFormat::Contiguous)
      .div_(255);
}

std::vector<Detection> unstretched(std::vector<Detection> found, const trainers::Image& image,
                                   std::int64_t height, std::int64_t width) {
  const auto across = static_cast<float>(image.width()) / static_cast<float>(width);
  const auto down = static_cast<float>(image.height()) / static_cast<float>(height);
  for (auto& box : found) box.x1 *= across, box.x2 *= across, box.y1 *= down, box.y2 *= down;
  return found;
}

}  // namespace sparsify::detection
