// SPDX-License-Identifier: Apache-2.0
#include "workflow/teacher.hpp"

#include <filesystem>

#include "workflow/darknet_files.hpp"
#include "workflow/detectors.hpp"
#include "workflow/input_error.hpp"
#include "workflow/recipe_quantization.hpp"
#include "workflow/saved_model.hpp"
#include "workflow/table.hpp"

namespace sparsify {
namespace {

namespace fs = std::filesystem;
using detection::Detector;

struct Teacher {
  std::shared_ptr<Network> network;
  ModelCard card;
};

// It sees the student's images, whatever size its file says.
Teacher open_darknet_teacher(const fs::path& weights, std::int64_t image_size) {
  auto definition = weights;
  definition.replace_extension(".cfg");
  std::error_code ignored;
  if (!fs::is_regular_file(definition, ignored))
    throw Error("expected the network's description beside it, " + definition.string());
  ModelCard card;
  auto network = open_detector_weights(definition.string(), weights, image_size, card);
  return {std::move(network), std::move(card)};
}

Teacher open_any_teacher(const fs::path& path, std::int64_t image_size) {
  if (is_darknet_file(path)) return open_darknet_teacher(path, image_size);
  auto saved = open_saved_model(path);
  if (!quantization_scheme(saved.recipe).empty())
    throw Error("this model is quantized; expected one in floating point");
  return {std::move(saved.model), std::move(saved.card)};
}

// The same numbers have to mean the same boxes.
void check_same_heads(const Detector& teacher, const Detector& student) {
  const auto theirs = teacher.heads(), ours = student.heads();
  if (theirs.size() != ours.size())
    throw Error("it has " + std::to_string(theirs.size()) + " heads, the model " +
                std::to_string(ours.size()));
  for (std::size_t i = 0; i < ours.size(); ++i) {
    const auto &its = theirs[i], &own = ours[i];
    if (its.stride != own.stride)
      throw Error("a cell of its head " + std::to_string(i + 1) + " has " + format_fixed(its.stride, 0) +
                  " pixels a side, one of the model's " + format_fixed(own.stride, 0));
    if (its.anchors != own.anchors)
      throw Error("its heads have other anchors, so its maps mean other boxes; start from its weights");
    if (its.coding != own.coding ||
        (own.coding == detection::BoxCoding::kDarknet && its.scale_xy != own.scale_xy))
      throw Error("its heads code boxes in another way than the model's");
  }
}

void check_same_outputs(const Teacher& teacher, const OpenedTask& student) {
  const auto& card = student.card;
  if (teacher.card.num_classes != card.num_classes)
    throw Error("it tells " + std::to_string(teacher.card.num_classes) + " classes apart, the data has " +
                std::to_string(card.num_classes));
  const auto* its = dynamic_cast<const Detector*>(teacher.network.get());
  const auto* own = dynamic_cast<const Detector*>(&student.task->network());
  if ((its == nullptr) != (own == nullptr))
    throw Error(own ? "it is no detector, as the model is" : "it is a detector, the model is none");
  if (own) check_same_heads(*its, *own);
  if (teacher.card.normalization != card.normalization)
    throw Error("it expects images normalised in another way than the data's");
}

}  // namespace

std::shared_ptr<Network> open_teacher(const std::string& path, const OpenedTask& student) {
  if (path == "none") return nullptr;
  try {
    auto teacher = open_any_teacher(path, student.card.image_size);
    check_same_outputs(teacher, student);
    return std::move(teacher.network);
  } catch (const Error& error) {
    throw InputError("--distill-teacher " + path + ": " + error.what());
  }
}

}  // namespace sparsify
