// SPDX-License-Identifier: Apache-2.0
#include "workflow/confusion_matrix_plot.hpp"

#include <algorithm>
#include <cstdio>

#include "workflow/html.hpp"
#include "workflow/svg.hpp"
#include "workflow/table.hpp"

namespace sparsify {
namespace {

using detection::ConfusionMatrix;

constexpr double kMatrixLeft = 150, kMatrixTop = 40, kSpaceBelow = 150;
constexpr double kUsualSide = 640, kSmallestCell = 13;  // a line of text fits
constexpr double kSmallestShare = 0.005;
constexpr std::int64_t kMostWithNumbers = 30;

// From white to dark blue.
std::string colour(double share) {
  const auto part = [&](double at_one) { return static_cast<int>(255 + (at_one - 255) * share); };
  char text[16];
  std::snprintf(text, sizeof text, "#%02x%02x%02x", part(8), part(48), part(107));
  return text;
}

class Drawing {
 public:
  Drawing(const ConfusionMatrix& confusion, const std::vector<std::string>& class_names)
      : confusion_(confusion),
        names_(class_names),
        cells_(confusion.classes() + 1),
        cell_(std::max(kSmallestCell, kUsualSide / static_cast<double>(cells_))) {
    names_.resize(static_cast<std::size_t>(confusion.classes()));
    names_.emplace_back("background");
  }

  std::string svg() {
    const double side = cell_ * static_cast<double>(cells_);
    svg_ = svg_text(kMatrixLeft + side / 2, kMatrixTop - 14, "Confusion Matrix Normalized", "middle");
    for (std::int64_t i = 0; i < cells_; ++i) {
      svg_ += svg_text(kMatrixLeft - 6, middle(kMatrixTop, i) + 4, name(i), "end") +
              svg_text_upwards(middle(kMatrixLeft, i) + 4, kMatrixTop + side + 8, name(i), "end");
      for (std::int64_t truth = 0; truth < cells_; ++truth) draw_cell(i, truth);
    }
    svg_ += "<rect x='" + svg_number(kMatrixLeft) + "' y='" + svg_number(kMatrixTop) + "' width='" +
            svg_number(side) + "' height='" + svg_number(side) + "' fill='none' stroke='#bbb'/>" +
            svg_text(kMatrixLeft + side / 2, kMatrixTop + side + kSpaceBelow - 10, "True", "middle") +
            svg_text_upwards(20, kMatrixTop + side / 2, "Predicted", "middle");
    return svg_file(svg_, static_cast<int>(kMatrixLeft + side + 20),
                    static_cast<int>(kMatrixTop + side + kSpaceBelow));
  }

 private:
  const std::string& name(std::int64_t label) const { return names_[static_cast<std::size_t>(label)]; }
  double middle(double start, std::int64_t cell) const {
    return start + cell_ * (static_cast<double>(cell) + 0.5);
  }

  void draw_cell(std::int64_t predicted, std::int64_t truth) {
    const double share = confusion_.share(predicted, truth);
    if (share < kSmallestShare) return;
    const auto words = "predicted " + name(predicted) + ", true " + name(truth) + ": " +
                       std::to_string(confusion_.count(predicted, truth));
    svg_ += "<rect x='" + svg_number(middle(kMatrixLeft, truth) - cell_ / 2) + "' y='" +
            svg_number(middle(kMatrixTop, predicted) - cell_ / 2) + "' width='" + svg_number(cell_) +
            "' height='" + svg_number(cell_) + "' fill='" + colour(share) + "'><title>" + escape_html(words) +
            "</title></rect>";
    if (confusion_.classes() < kMostWithNumbers)
      svg_ += svg_text(middle(kMatrixLeft, truth), middle(kMatrixTop, predicted) + 4, format_fixed(share, 2),
                       "middle", share > 0.5 ? "#fff" : "#222");
  }

  const ConfusionMatrix& confusion_;
  std::vector<std::string> names_;
  std::int64_t cells_;
  double cell_;
  std::string svg_{};
};

}  // namespace

std::string confusion_matrix_svg(const ConfusionMatrix& confusion,
                                 const std::vector<std::string>& class_names) {
  return Drawing(confusion, class_names).svg();
}

}  // namespace sparsify
