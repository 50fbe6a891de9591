// SPDX-License-Identifier: Apache-2.0
// Every rule of the linter for GPU engines, on a file made by hand that keeps all of them but one.
#include <catch2/catch_test_macros.hpp>
#include <fstream>
#include <functional>

#include "ir/proto.hpp"
#include "sparsify/onnx/lint.hpp"
#include "support.hpp"

using namespace sparsify;
using namespace sparsify::onnx;
using namespace sparsify::onnx::testing;
using at::Tensor;

namespace {

Tensor zero_point() { return torch::zeros({}, torch::kChar); }

/// input - [a] - ReLU - [b] - ReLU - quantizers, each layer behind a quantizer; changed by a test before it
/// is written.
class HandMade {
 public:
  HandMade() {
    auto& opset = *model_.add_opset_import();
    opset.set_version(17);
    model_.set_ir_version(8);
    model_.mutable_graph()->set_name("made by hand");
    add("Relu", "a_relu", {layer("a", rounded("input"))});
    add("Relu", "b_relu", {layer("b", rounded("a_relu"))});
    rounded("b_relu");
  }

  /// Adds a node of one output, with its own name.
  std::string add(const std::string& op, const std::string& name, const std::vector<std::string>& inputs) {
    auto& node = *model_.mutable_graph()->add_node();
    node.set_op_type(op);
    node.set_name(name);
    for (const auto& input : inputs) node.add_input(input);
    node.add_output(name);
    return name;
  }
  void constant(const std::string& name, const Tensor& tensor) {
    for (auto& known : *model_.mutable_graph()->mutable_initializer()) {
      if (known.name() != name) continue;
      known.Clear();
      return fill_tensor(known, name, tensor);
    }
    fill_tensor(*model_.mutable_graph()->add_initializer(), name, tensor);
  }
  std::string rounded(const std::string& tensor, double scale = 0.1) {
    constant(tensor + "/scale", torch::full({}, scale));
    constant(tensor + "/zero", zero_point());
    add("QuantizeLinear", tensor + "/q", {tensor, tensor + "/scale", tensor + "/zero"});
    return add("DequantizeLinear", tensor + "/dq", {tensor + "/q", tensor + "/scale", tensor + "/zero"});
  }
  /// A 1x1 convolution of 4 channels whose weight is quantized.
  std::string layer(const std::string& name, const std::string& input) {
    constant(name + "/w", torch::ones({4, 4, 1, 1}));
    constant(name + "/w/scale", torch::full({4}, 0.01));
    constant(name + "/w/zero", torch::zeros({4}, torch::kChar));
    constant(name + "/bias", torch::zeros({4}));
    for (const auto* op : {"QuantizeLinear", "DequantizeLinear"}) {
      const bool first = op[0] == 'Q';
      add(op, name + (first ? "/w/q" : "/w/dq"),
          {name + (first ? "/w" : "/w/q"), name + "/w/scale", name + "/w/zero"});
      set(name + (first ? "/w/q" : "/w/dq"), "axis", 0);
    }
    return add("Conv", name, {input, name + "/w/dq", name + "/bias"});
  }
  pb::NodeProto& node(const std::string& name) {
    for (auto& node : *model_.mutable_graph()->mutable_node())
      if (node.name() == name) return node;
    throw std::runtime_error("no node " + name);
  }
  void set(const std::string& name, const std::string& attribute, std::int64_t value) {
    auto& node = this->node(name);
    node.clear_attribute();
    auto& added = *node.add_attribute();
    added.set_name(attribute);
    added.set_type(pb::AttributeProto::INT);
    added.set_i(value);
  }
  pb::ModelProto& model() { return model_; }

  GpuLint lint() const {
    const Folder folder;
    std::ofstream(folder / "model.onnx", std::ios::binary) << model_.SerializeAsString();
    return lint_gpu(folder / "model.onnx");
  }

 private:
  pb::ModelProto model_;
};

struct Violation {
  const char* rule;
  const char* node;
  std::function<void(HandMade&)> commit;
};

}  // namespace

TEST_CASE("each rule for GPU engines is found broken, where it is, and no other") {
  REQUIRE(HandMade().lint().findings.empty());
  const std::vector<Violation> violations = {
      {"opset", "", [](HandMade& file) { file.model().mutable_opset_import(0)->set_version(12); }},
      {"operator", "c", [](HandMade& file) { file.add("QLinearConv", "c", {"b_relu"}); }},
      {"operator", "c", [](HandMade& file) { file.add("QuantizeLinear", "c", {"b_relu"}); }},
      {"unsigned", "input/q",
       [](HandMade& file) {
         file.constant("unsigned", torch::zeros({}, torch::kByte));
         file.node("input/q").set_input(2, "unsigned");
       }},
      {"unsigned", "input/q", [](HandMade& file) { file.node("input/q").mutable_input()->RemoveLast(); }},
      {"zero-point", "input/dq",
       [](HandMade& file) {
         file.constant("three", torch::full({}, 3, torch::kChar));
         file.node("input/dq").set_input(2, "three");
       }},
      {"int32-bias", "a/bias/dq",
       [](HandMade& file) {
         file.constant("a/bias", torch::ones({4}, torch::kInt));
         file.constant("one", torch::ones({}));
         file.node("a").set_input(2, file.add("DequantizeLinear", "a/bias/dq", {"a/bias", "one"}));
       }},
      {"scale", "input/q",
       [](HandMade& file) {
         file.constant("negative", torch::full({}, -0.1));
         file.node("input/q").set_input(1, "negative");
       }},
      {"scale", "input/q", [](HandMade& file) { file.node("input/q").set_input(1, "b_relu"); }},
      {"granularity", "input/q",
       [](HandMade& file) {
         file.constant("by channel", torch::full({4}, 0.1));
         file.node("input/q").set_input(1, "by channel");
       }},
      {"input", "b", [](HandMade& file) { file.node("b").set_input(0, "a_relu"); }},
      {"input", "b",
       [](HandMade& file) {
         file.add("Resize", "larger", {"a_relu/dq"});
         auto& mode = *file.node("larger").add_attribute();
         mode.set_name("mode");
         mode.set_s("linear");
         file.node("b").set_input(0, "larger");
       }},
      {"weight", "b", [](HandMade& file) { file.node("b").set_input(1, "b/w"); }},
      {"weight-axis", "b", [](HandMade& file) { file.set("b/w/dq", "axis", 1); }},
      {"residual", "c",
       [](HandMade& file) {
         file.add("Add", "sum", {file.rounded(file.layer("c", "a_relu/dq")), "a_relu/dq"});
         file.rounded("sum");
       }},
      {"skip", "sum",
       [](HandMade& file) {
         file.add("Add", "sum", {file.layer("c", "a_relu/dq"), "a_relu"});
         file.rounded("sum");
       }},
      {"concat", "join",
       [](HandMade& file) {
         file.add("Relu", "other", {"b_relu"});
         file.rounded(file.add("Concat", "join", {"a_relu/dq", file.rounded("other", 0.2)}));
       }},
      {"concat", "join",
       [](HandMade& file) { file.rounded(file.add("Concat", "join", {"a_relu/dq", "b_relu"})); }},
  };
  for (const auto& [rule, node, commit] : violations) {
    INFO(rule);
    HandMade file;
    commit(file);
    const auto findings = file.lint().findings;
    for (const auto& finding : findings)
      UNSCOPED_INFO(finding.rule << " " << finding.node << " " << finding.message);
    REQUIRE(findings.size() == 1);
    CHECK(findings[0].rule == rule);
    CHECK(findings[0].node == node);
  }
}

TEST_CASE("what TensorRT fuses or moves quantizers through breaks no rule") {
  HandMade file;
  file.add("Add", "sum", {file.layer("c", "a_relu/dq"), "b_relu/dq"});
  file.rounded(file.add("Relu", "sum_relu", {"sum"}));
  file.rounded(file.add("Concat", "join", {"a_relu/dq", "b_relu/dq"}));
  file.layer("d", file.add("DepthToSpace", "shuffled", {"join/dq"}));
  file.add("Conv", "float head", {"sum_relu/dq", "a/w"});
  file.layer("e", "sum_relu/dq");
  for (const auto& finding : file.lint().findings) FAIL_CHECK(finding.rule << " " << finding.node);
}

TEST_CASE("a quantized 2:4 layer needs a quantized output, behind its activation and sum at the latest") {
  HandMade file;
  const auto weight = torch::ones({4, 4, 1, 1});
  weight.narrow(1, 0, 2).zero_();
  file.constant("a/w", weight);
  file.add("Add", "sum", {file.layer("c", "a_relu/dq"), "b_relu/dq"});
  file.constant("c/w", weight);
  file.rounded("sum");
  file.layer("last", "sum/dq");
  file.constant("last/w", weight);
  file.add("Conv", "float", {"last", "c/w"});
  std::map<std::string, std::string> reasons;
  for (const auto& layer : file.lint().two_four) {
    CHECK(layer.valid == layer.reason.empty());
    reasons[layer.node] = layer.reason;
  }
  CHECK(reasons.at("a") == "");
  CHECK(reasons.at("b") == "a group of four input channels has more than two weights");
  CHECK(reasons.at("c") == "");
  CHECK(reasons.at("last") == "its output is not quantized, and sparse INT8 kernels give INT8");
  CHECK(reasons.at("float") == "");
}
