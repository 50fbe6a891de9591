// SPDX-License-Identifier: Apache-2.0
// Parity over a whole validation set of photographs.
#include <catch2/catch_test_macros.hpp>
#include <cmath>
#include <cstdlib>

#include "integer_reference.hpp"
#include "sparsify/modifiers/quantization.hpp"
#include "sparsify/onnx/parity.hpp"
#include "sparsify/session.hpp"
#include "sparsify/trainers/loader.hpp"
#include "sparsify/trainers/model.hpp"
#include "support.hpp"

using namespace sparsify;
using namespace sparsify::onnx;
using namespace sparsify::onnx::testing;
using at::Tensor;

namespace {

constexpr int kFloatSteps = 250, kQuantizedSteps = 100;

struct TrainedOnPhotographs {
  std::shared_ptr<Model> net;
  std::unique_ptr<torch::optim::SGD> optimizer;
  std::unique_ptr<Session> session;

  TrainedOnPhotographs(const std::string& scheme, const trainers::Datasets& data) {
    torch::manual_seed(1);
    ModelOptions model;
    model.num_classes = data.val->classes();
    model.image_size = 32;
    net = build_model("resnet8_cifar", model);
    optimizer =
        std::make_unique<torch::optim::SGD>(net->parameters(), torch::optim::SGDOptions(0.05).momentum(0.9));
    Recipe recipe;
    Quantization::Options options;
    options.scheme = scheme;
    options.start_epoch = 1;
    recipe.add<Quantization>(options);
    session = std::make_unique<Session>(recipe, *net, *optimizer, kFloatSteps);
    auto loading = trainers::in_order(data, 64);
    loading.shuffle = true;
    trainers::Loader loader(data.train, loading);
    loader.start_epoch(0);
    net->train();
    for (int i = 0; i < kFloatSteps + kQuantizedSteps; ++i) {
      const auto batch = loader.next();
      if (i == kFloatSteps) optimizer->param_groups()[0].options().set_lr(0.005);
      const auto step = session->begin_step();
      optimizer->zero_grad();
      const auto output = step.forward([&] { return net->forward(batch->images); });
      step.loss(torch::cross_entropy_loss(output, batch->labels)).backward();
      step.optimize();
    }
    net->eval();
  }
};

}  // namespace

TEST_CASE("over all validation images of CIFAR-10 decisions are the same, and those of exact integers",
          "[long]") {
  const char* root = std::getenv("SPARSIFY_DATA");
  if (!root) SKIP("SPARSIFY_DATA is not set");
  const auto data = trainers::open_datasets(std::string(root) + "/cifar10-jpeg/cifar10-jpeg.tar.gz");
  for (const auto target : {Target::kCpu, Target::kGpu}) {
    INFO(name(target));
    const Folder folder;
    TrainedOnPhotographs trained(name(target), data);
    const auto quantization = trained.session->find<Quantization>()->trained(trained.session->state());
    ExportOptions options;
    options.target = target;
    const auto report = export_model(*trained.net, torch::randn({1, 3, 32, 32}), options,
                                     folder / "model.onnx", &quantization);
    if (target == Target::kCpu)
      CHECK(sorted(integer_layers(folder / "model.onnx").integer_layers) == sorted(report.quantized));
    Engine engine(folder / "model.onnx", comparison_options(target));
    IntegerReference reference(folder / "model.onnx");
    const Forward in_engine = [&](const Tensor& x) { return engine.run(x); };
    const auto over_all = [&](const Forward& other) {
      trainers::Loader loader(data.val, trainers::in_order(data, 250));
      loader.start_epoch(0);
      return compare(in_engine, other, [&](Tensor& images, Tensor& labels) {
        auto batch = loader.next();
        if (batch) images = batch->images, labels = batch->labels;
        return batch.has_value();
      });
    };
    const auto fake = over_all(
        [&](const Tensor& x) { return trained.session->evaluate([&] { return trained.net->forward(x); }); });
    CAPTURE(fake.agreement, fake.max_difference, *fake.reference_accuracy, *fake.engine_accuracy);
    CHECK(fake.samples == 10'000);
    CHECK(*fake.reference_accuracy > 0.5);
    const bool is_exact = target == Target::kCpu && has_imitated_kernels();
    CHECK(fake.agreement >= (is_exact ? 1 : 0.998));
    CHECK(std::abs(*fake.reference_accuracy - *fake.engine_accuracy) <= 0.001);
    const auto exact = over_all([&](const Tensor& x) { return reference.run(x); });
    CAPTURE(exact.agreement, exact.max_difference);
    // A file for GPU engines runs as it stands: between its quantizers ONNX Runtime convolves in floats.
    CHECK(exact.agreement >= (target == Target::kCpu ? 1 : 0.998));
    UNSCOPED_INFO("exact integers: largest difference of a logit " << exact.max_difference);
  }
}
