// SPDX-License-Identifier: Apache-2.0
#include "lower/select_boxes.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>

#include "ir/proto.hpp"
#include "sparsify/error.hpp"

namespace sparsify::onnx {
namespace {

const std::string kPrefix = "nms/";
constexpr std::int64_t kEnd = std::numeric_limits<std::int64_t>::max();

/// Writes the nodes of the selection; all of their names begin alike.
class Selection {
 public:
  Selection(Model& model, const BoxSelection& wanted) : model_(model), wanted_(wanted) {}

  // `boxes`: [N, A, 5 + C]. Gives [N, K, 6].
  void write(const std::string& boxes, std::int64_t count, const std::string& output) {
    const auto centre = part(boxes, 0, 2), size = part(boxes, 2, 4);
    const auto scores = by_class(boxes);  // [N, C, A]
    const auto kept =
        suppressed(emit("Concat", "boxes", {centre, size}, {{"axis", std::int64_t{-1}}}), scores);
    const auto score = emit("ReduceMax", "score", {kept}, {{"axes", Ints{1}}, {"keepdims", std::int64_t{0}}});
    const auto label =
        emit("ArgMax", "class", {kept}, {{"axis", std::int64_t{1}}, {"keepdims", std::int64_t{0}}});
    const auto most = integers("max_det", {std::min(wanted_.max_det, count)});
    model_.nodes.push_back({"TopK", kPrefix + "TopK", {score, most}, {kPrefix + "best", kPrefix + "where"}});
    const auto where = column(kPrefix + "where");  // [N, K, 1]
    const auto half = emit("Mul", "half", {size, number("a_half", 0.5)});
    const std::vector<std::string> columns = {picked(emit("Sub", "upper_left", {centre, half}), where),
                                              picked(emit("Add", "lower_right", {centre, half}), where),
                                              column(kPrefix + "best"),
                                              picked(as_float(column(label)), where)};
    const auto rows = emit("Concat", "rows", columns, {{"axis", std::int64_t{-1}}});
    const auto found = as_float(emit("Greater", "is_object", {columns[2], number("zero", 0)}));
    model_.nodes.push_back({"Mul", kPrefix + "Mul", {rows, found}, {output}});
  }

 private:
  // Objectness times probability of every box's likeliest class, 0 of the others.
  std::string by_class(const std::string& boxes) {
    const auto all = emit("Mul", "scores", {part(boxes, 4, 5), part(boxes, 5, kEnd)});
    const auto best = emit("ReduceMax", "best_score", {all}, {{"axes", Ints{2}}});
    const auto only =
        emit("Where", "single_label", {emit("Equal", "is_best", {all, best}), all, number("zero", 0)});
    return emit("Transpose", "by_class", {only}, {{"perm", Ints{0, 2, 1}}});
  }

  // The scores of what non-maximum suppression keeps, in place; 0 elsewhere.
  std::string suppressed(const std::string& boxes, const std::string& scores) {
    const auto selected = emit("NonMaxSuppression", "NonMaxSuppression",
                               {boxes, scores, integers("max_det_of_class", {wanted_.max_det}),
                                numbers("iou", {wanted_.iou}), numbers("confidence", {wanted_.confidence})},
                               {{"center_point_box", std::int64_t{1}}});
    const auto values = emit("GatherND", "selected_scores", {scores, selected});
    const auto nothing = emit("Mul", "nothing", {scores, number("zero", 0)});
    return emit("ScatterND", "kept", {nothing, selected, values});
  }

  // Elements from `start` to `end` of the last dimension.
  std::string part(const std::string& tensor, std::int64_t start, std::int64_t end) {
    const auto range = std::to_string(start) + "_to_" + (end == kEnd ? "end" : std::to_string(end));
    return emit("Slice", "columns_" + range,
                {tensor, integers(range + "/start", {start}), integers(range + "/end", {end}),
                 integers("last", {-1})});
  }
  // Rows of [N, A, x] by [N, K, 1] indices: [N, K, x].
  std::string picked(const std::string& rows, const std::string& where) {
    return emit("GatherND", rows.substr(kPrefix.size()) + "_of_best", {rows, where},
                {{"batch_dims", std::int64_t{1}}});
  }
  std::string column(const std::string& tensor) {
    return emit("Unsqueeze", tensor.substr(kPrefix.size()) + "_column", {tensor, integers("last", {-1})});
  }
  std::string as_float(const std::string& tensor) {
    return emit("Cast", tensor.substr(kPrefix.size()) + "_float", {tensor},
                {{"to", std::int64_t{to_onnx_type(at::kFloat, "nms")}}});
  }

  std::string emit(const std::string& op, const std::string& name, std::vector<std::string> inputs,
                   Attributes attributes = {}) {
    const auto tensor = kPrefix + name;
    model_.nodes.push_back({op, tensor, std::move(inputs), {tensor}, std::move(attributes)});
    return tensor;
  }
  std::string constant(const std::string& name, const at::Tensor& value) {
    model_.initializers[kPrefix + name] = value;
    return kPrefix + name;
  }
  std::string integers(const std::string& name, const Ints& values) {
    return constant(name, at::tensor(values, at::kLong));
  }
  std::string numbers(const std::string& name, const std::vector<double>& values) {
    return constant(name, at::tensor(values, at::kFloat));
  }
  std::string number(const std::string& name, double value) {
    return constant(name, at::scalar_tensor(value, at::kFloat));
  }

  Model& model_;
  const BoxSelection& wanted_;
};

void check(const Model& model, const BoxSelection& selection) {
  if (model.outputs.size() != 1 || model.outputs[0].sizes.size() != 3 || model.outputs[0].sizes[2] < 6)
    throw Error("non-maximum suppression: expected one output of boxes, [N, boxes, 5 + classes]");
  const auto fraction = [](double value) { return value >= 0 && value <= 1; };
  if (!fraction(selection.confidence) || !fraction(selection.iou) || selection.max_det < 1)
    throw Error("non-maximum suppression: expected confidence and iou from 0 to 1, max_det at least 1");
}

}  // namespace

void select_boxes(Model& model, const BoxSelection& selection) {
  check(model, selection);
  auto& port = model.outputs[0];
  const auto boxes = kPrefix + "candidates";
  for (auto& node : model.nodes) {
    std::replace(node.inputs.begin(), node.inputs.end(), port.name, boxes);
    std::replace(node.outputs.begin(), node.outputs.end(), port.name, boxes);
  }
  const auto count = port.sizes[1];
  Selection(model, selection).write(boxes, count, port.name);
  port.sizes = {port.sizes[0], std::min(selection.max_det, count), 6};
}

}  // namespace sparsify::onnx
