// SPDX-License-Identifier: Apache-2.0
// What a step may hold besides one pass over a batch, and a pass besides activations: accumulated
// micro-batches, numbers.
#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "sparsify/modifiers/magnitude_pruning.hpp"
#include "sparsify/modifiers/quantization.hpp"
#include "training.hpp"

using namespace sparsify;
using namespace sparsify::test;
using Catch::Approx;
namespace nn = torch::nn;

namespace {

/// A network trained for some steps with half of a weight pruned and all layers quantized: the same whenever
/// it is made.
struct Trained {
  explicit Trained(const std::string& observer) : session(recipe(observer), *net, *sgd, 6) {
    torch::manual_seed(9);
    train(session, net, *sgd, 8);
    REQUIRE(session.find<Quantization>()->active());
    for (auto& [images, shift] : {std::pair{&first, 2.0}, std::pair{&second, -2.0}})
      *images = {batch(16).first + shift, torch::randint(4, {16})};
  }

  static Recipe recipe(const std::string& observer) {
    MagnitudePruning::Options pruning;
    pruning.window = {0, 1};
    pruning.final_sparsity = 0.5;
    pruning.params = {"3.weight"};
    Quantization::Options quantization;
    quantization.observer = observer;
    Recipe recipe;
    recipe.add<MagnitudePruning>(pruning);
    recipe.add<Quantization>(quantization);
    return recipe;
  }

  at::Tensor loss(const Step& step, const std::pair<at::Tensor, at::Tensor>& from) {
    const auto logits = step.forward([&] { return net->forward(from.first); });
    return step.loss(nn::functional::cross_entropy(logits, from.second));
  }
  std::vector<at::Tensor> gradients() {
    std::vector<at::Tensor> all;
    for (const auto& parameter : net->parameters()) all.push_back(parameter.grad().clone());
    return all;
  }
  /// What the quantization saves under this name.
  at::Tensor saved(const std::string& name) { return session.state_dict().at("modifiers.1." + name).clone(); }

  nn::Sequential net = conv_net();
  std::unique_ptr<torch::optim::Optimizer> sgd = make_optimizer("sgd", net);
  Session session;
  std::pair<at::Tensor, at::Tensor> first, second;
};

}  // namespace

TEST_CASE("micro-batches of one step: the gradient of the sum, masked once, and observers see them all") {
  const std::string observer = GENERATE("moving_average_minmax", "minmax", "lsq");
  CAPTURE(observer);
  const bool learns = observer == "lsq";

  Trained of_first(observer);
  const auto velocities = learns ? of_first.saved("scale_velocities") : at::Tensor();
  {
    const auto step = of_first.session.begin_step();
    of_first.sgd->zero_grad();
    of_first.loss(step, of_first.first).backward();
  }
  const auto expected = of_first.gradients();
  of_first.session.begin_step().optimize();

  Trained of_second(observer);
  {
    const auto step = of_second.session.begin_step();
    of_second.sgd->zero_grad();
    of_second.loss(step, of_second.first);  // seen by observers and statistics, as in the step below
    of_second.loss(step, of_second.second).backward();
  }
  const auto added = of_second.gradients();
  of_second.session.begin_step().optimize();

  Trained both(observer);
  const auto batches = both.saved("batches");
  const auto mask = both.session.masks().find("3.weight");
  const auto before = weight_of(both.net, "3.weight").clone();
  const auto steps = both.session.state().step;
  const auto step = both.session.begin_step();
  both.sgd->zero_grad();
  for (const auto* each : {&both.first, &both.second}) both.loss(step, *each).backward();
  const auto sums = both.gradients();
  step.optimize();

  CHECK(both.session.state().step == steps + 1);
  REQUIRE(sums.size() == expected.size());
  for (std::size_t i = 0; i < sums.size(); ++i) {
    CAPTURE(i);
    CHECK(torch::allclose(sums[i], expected[i] + added[i], 1e-5, 1e-7));
    if (sums[i].dim() > 1)  // a bias before a batch norm has no gradient
      CHECK_FALSE(torch::allclose(sums[i], expected[i], 1e-3, 1e-5));
  }

  const auto weight = weight_of(both.net, "3.weight");
  const auto pruned = mask.logical_not();
  CHECK(sparsity(mask) == Approx(0.5).margin(0.01));
  CHECK(sums[4].masked_select(pruned).abs().max().item<float>() > 0);  // dense until the step
  CHECK(weight.masked_select(pruned).eq(0).all().item<bool>());
  CHECK(momentum_of(*both.sgd, weight).masked_select(pruned).eq(0).all().item<bool>());
  CHECK((weight - before).masked_select(mask).abs().max().item<float>() > 0);

  if (learns) {
    const auto sum = of_first.saved("scale_velocities") + of_second.saved("scale_velocities");
    CHECK(torch::allclose(both.saved("scale_velocities"), sum - 0.9 * velocities, 1e-4, 1e-7));
    CHECK(both.saved("scale_velocities").abs().min().item<double>() > 0);
    return;
  }
  CHECK(both.saved("batches").eq(batches + 2).all().item<bool>());
  if (observer != "minmax") return;
  const auto range = both.saved("ranges")[0];  // of the images
  CHECK(range[0].item<float>() == both.second.first.min().item<float>());
  CHECK(range[1].item<float>() == both.first.first.max().item<float>());
}

namespace {

/// Adds something to an activation between two convolutions.
struct Shifted : nn::Module {
  using Shift = std::function<at::Tensor(Shifted&, at::Tensor)>;
  explicit Shifted(Shift shift) : shift(std::move(shift)) {
    register_module("a", a), register_module("b", b);
    one = register_buffer("one", torch::tensor(1));
  }
  at::Tensor forward(const at::Tensor& image) {
    return b(shift(*this, torch::relu(a(image)))).flatten(1).softmax(1);
  }
  nn::Conv2d a{nn::Conv2dOptions(3, 6, 3).bias(false)}, b{nn::Conv2dOptions(6, 2, 3).bias(false)};
  at::Tensor one;
  Shift shift;
};

/// Checks the plan of such a network, and what its evaluation computes, against what a sum with `number`
/// means.
void check_shifted(Shifted::Shift shift, double number, bool non_negative) {
  torch::manual_seed(5);
  Shifted net(std::move(shift));
  torch::optim::SGD optimizer(net.parameters(), 0.0);
  const std::string scheme = GENERATE("cpu", "gpu");
  CAPTURE(scheme);
  Quantization::Options options;
  options.scheme = scheme;
  Recipe recipe;
  recipe.add<Quantization>(options);
  Session session(recipe, net, optimizer, 1);
  const auto image = torch::randn({2, 3, 8, 8});
  for (int i = 0; i < 2; ++i) {
    const auto step = session.begin_step();
    step.forward([&] { return net.forward(image); });
    step.optimize();
  }
  session.finish();

  const auto trained = session.find<Quantization>()->trained(session.state());
  std::vector<std::string> sites;
  for (const auto& quantizer : trained.plan.activations) sites.push_back(quantizer.site);
  const bool is_cpu = scheme == "cpu";
  REQUIRE(sites == (is_cpu
                        ? std::vector<std::string>{"input#0", "a.weight/relu#0", "a.weight/add#0", "b.weight"}
                        : std::vector<std::string>{"input#0", "a.weight/add#0"}));
  const std::size_t sum = is_cpu ? 2 : 1;
  CHECK(trained.plan.weights.size() == 2);
  CHECK(trained.plan.weights[1].input == static_cast<int>(sum));
  CHECK(trained.plan.activations[sum].non_negative == non_negative);

  const auto on_grid = [&](const at::Tensor& x, std::size_t quantizer) {
    const auto& by = trained.activations[quantizer];
    const auto& range = trained.plan.activations[quantizer].range;
    return at::fake_quantize_per_tensor_affine(x, by.scale.item<float>(), by.zero_point.item<std::int64_t>(),
                                               range.lowest, range.highest);
  };
  const auto convolved = [&](nn::Conv2d& layer, const at::Tensor& x, std::size_t index) {
    const auto& by = trained.weights[index];
    return torch::conv2d(
        x, at::fake_quantize_per_channel_affine(layer->weight, by.scale, by.zero_point, 0, -127, 127));
  };
  const torch::NoGradGuard no_grad;
  auto x = convolved(net.a, on_grid(image, 0), 0).relu();
  if (is_cpu) x = on_grid(x, 1);
  x = convolved(net.b, on_grid(x + number, sum), 1);
  if (is_cpu) x = on_grid(x, 3);
  const auto result = session.evaluate([&] { return net.forward(image); });
  CHECK(torch::allclose(result, x.flatten(1).softmax(1), 1e-4, 1e-6));
  CHECK_FALSE(torch::allclose(result, net.forward(image), 1e-4, 1e-6));
}

}  // namespace

TEST_CASE("a number added to an activation is no operand to be rounded, however it is written") {
  static const auto captured = torch::tensor(1), negative = torch::tensor(-1);
  REQUIRE(captured.scalar_type() == at::kLong);
  const auto [what, number, shift] = GENERATE(table<std::string, double, Shifted::Shift>({
      {"x + 1", 1, [](Shifted&, at::Tensor x) { return x + 1; }},
      {"1 + x", 1, [](Shifted&, at::Tensor x) { return 1 + x; }},
      {"x += 1", 1, [](Shifted&, at::Tensor x) { return x += 1; }},
      {"x + -1", -1, [](Shifted&, at::Tensor x) { return x + -1; }},
      {"a captured integer", 1, [](Shifted&, at::Tensor x) { return x + captured; }},
      {"a captured integer below zero", -1, [](Shifted&, at::Tensor x) { return x + negative; }},
      {"a captured integer times alpha", -1,
       [](Shifted&, at::Tensor x) { return torch::add(x, captured, -1); }},
      {"a captured integer from the left", 1, [](Shifted&, at::Tensor x) { return captured + x; }},
      {"an integer buffer", 1, [](Shifted& net, at::Tensor x) { return x + net.one; }},
      {"in place, an integer buffer", 1, [](Shifted& net, at::Tensor x) { return x += net.one; }},
  }));
  CAPTURE(what);
  check_shifted(shift, number, number > 0);
}

TEST_CASE("an integer that the forward pass makes and adds to an activation is not rounded either") {
  check_shifted([](Shifted&, at::Tensor x) { return x + torch::tensor(1); }, 1, false);
}
