// SPDX-License-Identifier: Apache-2.0
#include "workflow/class_table.hpp"

#include <nlohmann/json.hpp>

#include "workflow/table.hpp"

namespace sparsify {

std::string class_table(const detection::DetectionMetrics& metrics, std::int64_t images,
                        const std::vector<std::string>& class_names) {
  std::vector<std::vector<std::string>> rows = {
      {"class", "images", "objects", "P", "R", "mAP50", "mAP50-95"}};
  const auto row = [&](const std::string& name, std::int64_t of, std::int64_t objects,
                       std::initializer_list<double> shares) {
    rows.push_back({name, std::to_string(of), std::to_string(objects)});
    for (const double share : shares) rows.back().push_back(format_fixed(share, 3));
  };
  std::int64_t objects = 0;
  for (const auto& [label, each] : metrics.classes) objects += each.objects;
  row("all", images, objects, {metrics.precision, metrics.recall, metrics.map50, metrics.map});
  for (const auto& [label, each] : metrics.classes)
    row(class_names.at(static_cast<std::size_t>(label)), each.images, each.objects,
        {each.precision, each.recall, each.ap50, each.ap});
  return format_table(rows);
}

nlohmann::json class_json(const detection::DetectionMetrics& metrics,
                          const std::vector<std::string>& class_names) {
  auto classes = nlohmann::json::array();
  for (const auto& [label, each] : metrics.classes)
    classes.push_back({{"class", label},
                       {"name", class_names.at(static_cast<std::size_t>(label))},
                       {"images", each.images},
                       {"objects", each.objects},
                       {"precision", each.precision},
                       {"recall", each.recall},
                       {"f1", each.f1},
                       {"map50", each.ap50},
                       {"map", each.ap}});
  return classes;
}

}  // namespace sparsify
