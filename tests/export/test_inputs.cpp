// SPDX-License-Identifier: Apache-2.0
// Networks of several inputs and outputs.
#include <catch2/catch_test_macros.hpp>

#include "sparsify/onnx/check.hpp"
#include "trained.hpp"

namespace nn = torch::nn;
using namespace sparsify;
using namespace sparsify::onnx;
using namespace sparsify::onnx::testing;
using at::Tensor;
using Tensors = std::vector<at::Tensor>;

namespace {

// The second input, of another range, is read first: numbers of sites and places of inputs differ. Layers are
// called as inputs and outputs are.
struct TwoEyedImpl : nn::Module {
  TwoEyedImpl() {
    register_module("depth", of_depth), register_module("image", of_image);
    register_module("both", both), register_module("classes", classes), register_module("side", side);
  }
  Tensors forward(const Tensor& image, const Tensor& depth) {
    const auto far = torch::relu(of_depth(depth));
    const auto seen = torch::relu(of_image(image));
    const auto x = torch::relu(both(torch::cat({seen, far}, 1)));
    return {classes(x.mean({2, 3})), side(x.flatten(1))};
  }
  nn::Conv2d of_depth{nn::Conv2dOptions(1, 4, 3)}, of_image{nn::Conv2dOptions(3, 4, 3)},
      both{nn::Conv2dOptions(8, 8, 3)};
  nn::Linear classes{8, 4}, side{8 * 8 * 8, 2};
};
TORCH_MODULE(TwoEyed);

// The same behind a vector.
struct OfVectorImpl : nn::Module {
  OfVectorImpl() { register_module("net", net); }
  Tensors forward(const Tensors& inputs) { return net(inputs[0], inputs[1]); }
  TwoEyed net;
};
TORCH_MODULE(OfVector);

struct Views {
  Tensor image = torch::randn({8, 3, 12, 12}), depth = 20 * torch::rand({8, 1, 12, 12});
};

ExportOptions with_names() {
  ExportOptions options;
  options.input_names = {"image", "depth"};
  options.output_names = {"classes", "side"};
  return options;
}

void check_close(const Tensors& actual, const Tensors& expected, double share) {
  REQUIRE(actual.size() == expected.size());
  for (std::size_t i = 0; i < actual.size(); ++i)
    CHECK(largest_difference(actual[i], expected[i]) < share * expected[i].std().item<double>());
}

}  // namespace

TEST_CASE("two inputs and two outputs in floating point, of arguments or of a vector") {
  torch::manual_seed(8);
  const Folder folder;
  const Views views;
  OfVector net;
  net->eval();
  const auto options = with_names();
  export_model(*net->net, std::tie(views.image, views.depth), options, folder / "arguments.onnx");
  export_model(*net, Tensors{views.image, views.depth}, options, folder / "vector.onnx");
  const torch::NoGradGuard no_grad;
  const Views others;
  for (const auto* name : {"arguments.onnx", "vector.onnx"}) {
    INFO(name);
    check_model(folder / name);
    Engine engine(folder / name);
    CHECK(engine.input_names() == options.input_names);
    CHECK(engine.output_names() == options.output_names);
    check_close(engine.run({others.image.slice(0, 0, 3), others.depth.slice(0, 0, 3)}),
                net->net(others.image.slice(0, 0, 3), others.depth.slice(0, 0, 3)), 1e-4);
  }
}

TEST_CASE("two inputs are rounded each with its own scale, whichever is read first") {
  for (const auto target : {Target::kCpu, Target::kGpu}) {
    INFO(name(target));
    torch::manual_seed(9);
    const Folder folder;
    const Views views;
    Calibrated<TwoEyed> calibrated(TwoEyed(), target, views.image, views.depth);
    const auto quantization = calibrated.quantization();
    auto options = with_names();
    options.target = target;
    const auto report = export_model(*calibrated.net, std::tie(views.image, views.depth), options,
                                     folder / "model.onnx", &quantization);
    check_model(folder / "model.onnx");
    CHECK(report.quantized_layers == 5);
    check_form(report, target);
    const auto expected =
        calibrated.session->evaluate([&] { return calibrated.net->forward(views.image, views.depth); });
    check_close(Engine(folder / "model.onnx", comparison_options(target)).run({views.image, views.depth}),
                expected, 0.05);
  }
}
