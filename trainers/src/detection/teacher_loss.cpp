// SPDX-License-Identifier: Apache-2.0
#include "sparsify/detection/teacher_loss.hpp"

#include "detection/loss_terms.hpp"
#include "sparsify/error.hpp"

namespace sparsify::detection {
namespace {

constexpr double kLeastWeight = 1e-7;  // of all cells together: below it the teacher sees nothing at all

// [images * anchors, 5 + classes, rows, columns]
torch::Tensor raw_numbers(const torch::Tensor& map, const DetectionHead& head) {
  return map.to(torch::kFloat).reshape({-1, 5 + head.classes, map.size(2), map.size(3)});
}

// KL(teacher || student) of Bernoulli variables, times temperature^2. Both halves are exact where the
// probability is near 0 or 1, as most of a detector's are.
torch::Tensor bernoulli_divergence(const torch::Tensor& student, const torch::Tensor& teacher,
                                   double temperature) {
  const auto s = student / temperature, t = teacher / temperature;
  const auto half = [](const torch::Tensor& of_student, const torch::Tensor& of_teacher) {
    return of_teacher.sigmoid() * (torch::log_sigmoid(of_teacher) - torch::log_sigmoid(of_student));
  };
  return (half(s, t) + half(-s, -t)) * (temperature * temperature);
}

LossTerms of_maps(const torch::Tensor& student, const torch::Tensor& teacher, double temperature,
                  const DetectionHead& head, const torch::Tensor& anchors) {
  const auto weight = teacher.select(1, 4).sigmoid();
  const auto sum_of_weights = weight.sum().clamp_min(kLeastWeight);
  const auto mean = [&](const torch::Tensor& values) { return (weight * values).sum() / sum_of_weights; };
  const auto divergence = [&](std::int64_t first, std::int64_t count) {
    return bernoulli_divergence(student.narrow(1, first, count), teacher.narrow(1, first, count),
                                temperature);
  };
  LossTerms terms;
  terms.obj = divergence(4, 1).mean();
  terms.cls = head.classes > 1 ? mean(divergence(5, head.classes).mean(1)) : no_loss(student);
  terms.box = mean(1 - complete_iou(boxes_of(student, head, anchors), boxes_of(teacher, head, anchors)));
  return terms;
}

}  // namespace

TeacherLoss::TeacherLoss(std::vector<DetectionHead> heads, const Hyperparameters& hyp)
    : heads_(std::move(heads)), hyp_(hyp) {}

Losses TeacherLoss::operator()(const Maps& student, const Maps& teacher, double temperature,
                               std::int64_t height, std::int64_t width) const {
  if (teacher.size() != student.size())
    throw Error("the teacher gives " + std::to_string(teacher.size()) + " maps, the model " +
                std::to_string(student.size()));
  return sum_levels(student, heads_, hyp_, height, width, [&](std::size_t level) {
    const auto& map = student[level];
    const auto& head = heads_[level];
    const auto anchors = anchors_in_cells(head, map, height, width).repeat({map.size(0), 1});
    return of_maps(raw_numbers(map, head), raw_numbers(teacher[level].detach(), head), temperature, head,
                   anchors.unsqueeze(-1).unsqueeze(-1));
  });
}

}  // namespace sparsify::detection
