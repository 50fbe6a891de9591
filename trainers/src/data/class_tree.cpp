// SPDX-License-Identifier: Apache-2.0
#include "class_tree.hpp"

#include <sparsify/error.hpp>

namespace sparsify::trainers {
namespace {

constexpr size_t kMaxListed = 20;

void find_problems(const std::string& part, const ClassTree& tree, const std::string& other_part,
                   const ClassTree& other, std::vector<std::string>& problems) {
  for (const auto& [name, images] : tree) {
    if (!other.contains(name))
      problems.push_back("class '" + name + "' is in " + part + " but not in " + other_part);
    if (images.empty()) problems.push_back("no images in " + part + "/" + name);
    for (const auto& image : images)
      if (image.bytes == 0) problems.push_back("empty or missing file " + image.name);
  }
}

}  // namespace

void check_classes(const std::string& source, const ClassTree& train, const ClassTree& val,
                   const std::string& val_name) {
  std::vector<std::string> problems;
  if (train.empty()) problems.push_back("train holds no class folders");
  if (val.empty()) problems.push_back(val_name + " holds no class folders");
  find_problems("train", train, val_name, val, problems);
  find_problems(val_name, val, "train", train, problems);
  if (problems.empty()) return;
  std::string message = source + ": not a usable image set (expected train/<class>/ and " + val_name +
                        "/<class>/ with the same classes and at least one image each)";
  for (size_t i = 0; i < problems.size() && i < kMaxListed; ++i) message += "\n  " + problems[i];
  if (problems.size() > kMaxListed)
    message += "\n  and " + std::to_string(problems.size() - kMaxListed) + " more";
  throw Error(message);
}

std::vector<std::string> class_names(const ClassTree& tree) {
  std::vector<std::string> names;
  for (const auto& [name, images] : tree) names.push_back(name);
  return names;
}

}  // namespace sparsify::trainers
