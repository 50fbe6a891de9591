// SPDX-License-Identifier: Apache-2.0
#include "workflow/detection_plots.hpp"

#include <string>
#include <utility>

#include "sparsify/trainers/atomic_file.hpp"
#include "workflow/confusion_matrix_plot.hpp"
#include "workflow/f1_curve.hpp"
#include "workflow/pr_curve.hpp"

namespace sparsify {

std::vector<std::filesystem::path> write_detection_plots(const detection::DetectionValidation& pass,
                                                         std::size_t which,
                                                         const std::filesystem::path& folder) {
  const auto metrics = pass.metrics(which);
  const auto& names = pass.data().class_names();
  std::vector<std::filesystem::path> written;
  for (const auto& [name, svg] :
       {std::pair{"PR_curve.svg", pr_curve_svg(metrics, names)},
        std::pair{"F1_curve.svg", f1_curve_svg(metrics, names)},
        std::pair{"confusion_matrix.svg", confusion_matrix_svg(pass.confusion(which), names)}}) {
    written.push_back(folder / name);
    write_file_atomically(written.back(), svg);
  }
  return written;
}

}  // namespace sparsify
