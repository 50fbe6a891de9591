// SPDX-License-Identifier: Apache-2.0
#include "sources.hpp"

namespace sparsify::trainers {

MemoryDataset::MemoryDataset(std::string source, std::vector<std::string> class_names,
                             std::vector<Item> items, std::vector<uint8_t> pixels,
                             std::vector<std::string> names)
    : Dataset(std::move(class_names)),
      source_(std::move(source)),
      items_(std::move(items)),
      pixels_(std::move(pixels)),
      names_(std::move(names)) {}

Image MemoryDataset::image(int64_t index, int64_t /*at_least*/) const {
  const Item& item = items_.at(static_cast<size_t>(index));
  return Image::view(item.height, item.width, pixels_.data() + item.offset);
}

std::string MemoryDataset::describe(int64_t index) const {
  return source_ + ": " +
         (names_.empty() ? "image " + std::to_string(index) : names_.at(static_cast<size_t>(index)));
}

}  // namespace sparsify::trainers
