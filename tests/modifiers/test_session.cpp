// SPDX-License-Identifier: Apache-2.0
#include <torch/torch.h>

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "sparsify/modifiers/constant_pruning.hpp"
#include "sparsify/modifiers/epoch_range.hpp"
#include "sparsify/modifiers/global_magnitude_pruning.hpp"
#include "sparsify/modifiers/learning_rate_function.hpp"
#include "sparsify/modifiers/magnitude_pruning.hpp"
#include "sparsify/modifiers/nm_pruning.hpp"
#include "sparsify/modifiers/set_weight_decay.hpp"
#include "sparsify/modifiers/trainable_params.hpp"
#include "sparsify/session.hpp"
#include "training.hpp"

using namespace sparsify;
using namespace sparsify::test;
using Catch::Approx;
using Catch::Matchers::ContainsSubstring;

namespace {

struct Probe : Modifier {
  static constexpr const char* kName = "ProbeModifier";
  struct Options {
    std::vector<std::string>* calls = nullptr;
    template <class Visitor>
    void fields(Visitor&) {}
  };
  explicit Probe(const Options& options) : Modifier({}), calls(options.calls) {}
  void log(const char* what) const {
    if (calls) calls->push_back(what);
  }
  void attach(Binding&) override { log("attach"); }
  void begin_step(State&) override { log("begin_step"); }
  void forward(State& state, const std::function<void()>& run) override {
    log(state.training ? "forward" : "evaluate");
    run();
  }
  at::Tensor loss(State&, at::Tensor loss) override { return log("loss"), loss * 2; }
  void gradients(State&) override { log("gradients"); }
  void end_step(State&) override { log("end_step"); }
  void finish(State&) override { log("finish"); }
  void save(StateDict& state) const override { state["probe"] = torch::tensor(42); }
  void load(const StateDict& state) override { loaded = state.at("probe").item<int64_t>(); }
  std::vector<std::string>* calls;
  int64_t loaded = 0;
};

torch::nn::Sequential small_net() {
  torch::manual_seed(1);
  return torch::nn::Sequential(torch::nn::Linear(8, 16), torch::nn::ReLU(), torch::nn::Linear(16, 4));
}

void train_step(Session& session, torch::nn::Sequential& net, torch::optim::Optimizer& optimizer) {
  auto step = session.begin_step();
  optimizer.zero_grad();
  const auto output = step.forward([&] { return net->forward(torch::ones({2, 8})); });
  step.loss(output.square().sum()).backward();
  step.optimize();
}

}  // namespace

TEST_CASE("hooks run in the order that modifier.hpp draws") {
  auto net = small_net();
  torch::optim::SGD sgd(net->parameters(), 0.01);
  std::vector<std::string> calls;
  Recipe recipe;
  recipe.add<Probe>({&calls});
  Session session(recipe, *net, sgd, 5);
  train_step(session, net, sgd);
  session.evaluate([&] { return net->forward(torch::ones({1, 8})); });
  session.finish();
  CHECK(calls == std::vector<std::string>{"attach", "begin_step", "forward", "loss", "gradients", "end_step",
                                          "evaluate", "finish"});
  CHECK(session.state().step == 1);
}

TEST_CASE("an exception in the forward pass leaves session and model usable") {
  auto net = small_net();
  torch::optim::SGD sgd(net->parameters(), 0.01);
  Recipe recipe;
  recipe.add<Probe>();
  Session session(recipe, *net, sgd, 5);
  auto step = session.begin_step();
  CHECK_THROWS(step.forward([&]() -> at::Tensor { throw std::runtime_error("no data"); }));
  CHECK_THROWS(session.evaluate([&]() -> at::Tensor { throw std::runtime_error("no data"); }));
  CHECK(session.state().training);
  train_step(session, net, sgd);
  CHECK(session.state().step == 1);
}

TEST_CASE("session state round trip, several modifiers of one type, and damage") {
  auto net = small_net();
  torch::optim::SGD sgd(net->parameters(), 0.01);
  Recipe recipe;
  recipe.add<Probe>().add<Probe>();
  Session session(recipe, *net, sgd, 5);
  for (int i = 0; i < 7; ++i) train_step(session, net, sgd);
  const auto saved = session.state_dict();
  CHECK(saved.count("modifiers.1.probe") == 1);

  Session other(recipe, *net, sgd, 5);
  other.load_state_dict(saved);
  CHECK(other.state().step == 7);
  CHECK(other.first_epoch() == 1);
  CHECK(other.find<Probe>()->loaded == 42);

  Session changed(recipe, *net, sgd, 6);
  CHECK_THROWS_WITH(changed.load_state_dict(saved), ContainsSubstring("5 steps per epoch"));
  CHECK_THROWS_AS(other.load_state_dict({}), Error);
}

TEST_CASE("modifiers that fight over a mask, a pattern without match, and bad steps are refused by name") {
  auto net = small_net();
  torch::optim::SGD sgd(net->parameters(), 0.01);
  GradualPruningOptions early, late;
  early.window = {0, 5}, early.final_sparsity = 0.5;
  late.window = {4, 8}, late.final_sparsity = 0.8, late.params = {"2.weight"};
  Recipe fighting;
  fighting.add<MagnitudePruning>(early, "r.yaml:3:5").add<GlobalMagnitudePruning>(late, "r.yaml:9:5");
  CHECK_THROWS_WITH(
      Session(fighting, *net, sgd, 5),
      ContainsSubstring("r.yaml:9:5: GlobalMagnitudePruningModifier: sets the mask of 2.weight while "
                        "r.yaml:3:5: MagnitudePruningModifier does too"));
  late.window = {5, 8};
  Recipe one_after_the_other;
  one_after_the_other.add<MagnitudePruning>(early).add<GlobalMagnitudePruning>(late);
  CHECK_NOTHROW(Session(one_after_the_other, *net, sgd, 5));

  early.params = {"0.wieght"};
  Recipe misspelt;
  misspelt.add<MagnitudePruning>(early);
  CHECK_THROWS_WITH(Session(misspelt, *net, sgd, 5), ContainsSubstring("'0.wieght' matches no parameter") &&
                                                         ContainsSubstring("did you mean '0.weight'?"));
  CHECK_THROWS_AS(Session(Recipe{}, *net, sgd, 0), Error);
}

TEST_CASE("selectors") {
  Parameters parameters;
  for (const auto* name : {"conv1.weight", "layer1.0.conv1.weight", "layer10.0.conv1.weight", "fc.weight"})
    parameters.push_back({name, torch::zeros({2, 2})});
  parameters.push_back({"bn1.weight", torch::zeros({2})});
  const auto names = [&](const std::vector<std::string>& targets) {
    std::string joined;
    for (const auto& parameter : select(parameters, targets)) joined += parameter.name + " ";
    return joined;
  };
  CHECK(names({"__ALL_PRUNABLE__"}) ==
        "conv1.weight layer1.0.conv1.weight layer10.0.conv1.weight fc.weight ");
  CHECK(select(parameters, {"__ALL__"}).size() == 5);
  CHECK(names({"layer*"}) == "layer1.0.conv1.weight layer10.0.conv1.weight ");
  CHECK(names({"fc.weight", "conv1.weight", "fc.weight"}) == "conv1.weight fc.weight ");
  CHECK(names({R"(re:layer\d\.)"}) == "layer1.0.conv1.weight ");
  CHECK(names({R"(re:(?:layer|fc).*weight)"}) == "layer1.0.conv1.weight layer10.0.conv1.weight fc.weight ");
  CHECK_THROWS_AS(select(parameters, {"re:layer("}), InvalidField);
  CHECK_THROWS_AS(select(parameters, {}), InvalidField);
}

TEST_CASE("step plans: no drift, one update at both ends, never past the window") {
  const auto plan = StepPlan::compile({1, 3}, 10, 0.35);  // steps 10..29, every 3.5 steps
  std::vector<int64_t> updates;
  for (int64_t step = 0; step < 40; ++step)
    if (plan.updates_at(step)) updates.push_back(step);
  CHECK(updates == std::vector<int64_t>{10, 14, 17, 21, 24, 28, 29});
  CHECK(plan.progress(10) == 0);
  CHECK(plan.progress(29) == 1);
  CHECK(plan.progress(100) == 1);

  const auto endless = StepPlan::compile({-1, -1}, 10);
  CHECK(endless.start == 0);
  CHECK(endless.contains(1'000'000));
  CHECK(endless.progress(1'000'000) < 1e-9);

  const auto instant = StepPlan::compile({2, 2.01}, 10);  // shorter than a step
  CHECK(instant.start == 20);
  CHECK(instant.end == 21);
  CHECK(instant.progress(20) == 1);

  for (const double every : {0.05, 0.1, 0.23, 0.35, 1.0, 7.0, 1e14})
    for (const double end : {1.1, 2.0, 3.7}) {
      const auto some = StepPlan::compile({1, end}, 10, every);
      std::int64_t count = 0;
      for (std::int64_t step = 0; step < 45; ++step) {
        CHECK(some.updates_before(step) == count);
        count += some.updates_at(step);
      }
    }
  CHECK(StepPlan::compile({0, 1e6}, 100'000).updates_before(100'000'000'000) == 100'000'000'000);
  CHECK_THROWS_WITH(check(Window{0, 1e17}),
                    ContainsSubstring("end_epoch: expected an epoch from 0 to 1000000, or -1"));
}

TEST_CASE(
    "learning rate functions reach their ends exactly; weight decay and freezing act in their windows") {
  auto net = small_net();
  torch::optim::SGD sgd(net->parameters(), torch::optim::SGDOptions(0.5).weight_decay(0.1).momentum(0.9));
  Recipe recipe;
  recipe.add<LearningRateFunction>({{0, 1}, "linear", 0.1, 0.5})
      .add<LearningRateFunction>({{1, 2}, "cosine", 0.5, 0.0})
      .add<SetWeightDecay>({1.5, 0.0})
      .add<TrainableParams>({{1, 2}, {"0.*"}, false});
  Session session(recipe, *net, sgd, 5);
  std::vector<double> rates;
  for (int step = 0; step < 15; ++step) {
    const auto frozen = net->named_parameters()["0.weight"].clone();
    auto s = session.begin_step();
    rates.push_back(sgd.param_groups()[0].options().get_lr());
    sgd.zero_grad();
    s.loss(s.forward([&] { return net->forward(torch::ones({2, 8})); }).square().sum()).backward();
    s.optimize();
    const bool moved = !torch::equal(frozen, net->named_parameters()["0.weight"]);
    CHECK(moved == (step < 5 || step >= 10 || false));
    const auto decay = static_cast<torch::optim::SGDOptions&>(sgd.param_groups()[0].options()).weight_decay();
    CHECK(decay == (step < 8 ? 0.1 : 0.0));
    if (step == 9) break;
  }
  const std::vector<double> expected = {
      0.1, 0.2, 0.3, 0.4, 0.5, 0.5, 0.5 * (1 + std::sqrt(0.5)) / 2, 0.25, 0.5 * (1 - std::sqrt(0.5)) / 2,
      0.0};
  for (std::size_t i = 0; i < expected.size(); ++i) CHECK(rates[i] == Approx(expected[i]).margin(1e-12));
}

TEST_CASE("options out of range are refused when the recipe is built") {
  GradualPruningOptions options;
  options.window = {0, 2};
  CHECK_THROWS_WITH(MagnitudePruning(options), ContainsSubstring("final_sparsity: is required"));
  options.final_sparsity = 85;
  CHECK_THROWS_WITH(MagnitudePruning(options),
                    ContainsSubstring("got 85; percent are written as a fraction: 0.85"));
  options.final_sparsity = 0.85;
  CHECK_NOTHROW(MagnitudePruning(options));
  options.inter_func = "quadratic";
  CHECK_THROWS_AS(MagnitudePruning(options), InvalidField);
  options.inter_func = "linear", options.window = {3, 2};
  CHECK_THROWS_WITH(MagnitudePruning(options), ContainsSubstring("end_epoch"));
  CHECK_THROWS_AS(EpochRange({{0, -1}}), InvalidField);
  CHECK_THROWS_AS(Recipe().add<LearningRateFunction>({{0, 1}, "cyclic", 0.1, 0.1}), InvalidField);
}

TEST_CASE("what ends lets go before what begins in the same step, in any order of the recipe") {
  const bool first = GENERATE(true, false);
  auto net = conv_net();
  auto sgd = make_optimizer("sgd", net);
  Recipe recipe;
  if (first) recipe.add<NMPruning>({1});
  recipe.add<ConstantPruning>({{0, 1}});
  if (!first) recipe.add<NMPruning>({1});
  Session session(recipe, *net, *sgd, 2);
  train(session, net, *sgd, 6);
  CHECK(obeys(session.masks().find("3.weight").to(torch::kFloat), {2, 4}));
  CHECK_NOTHROW(session.finish());

  Recipe freezing;
  const TrainableParams::Options early{{0, 1}, {"3.weight"}}, late{{1, 2}, {"3.weight"}};
  freezing.add<TrainableParams>(first ? late : early);
  freezing.add<TrainableParams>(first ? early : late);
  net = conv_net(), sgd = make_optimizer("sgd", net);
  Session frozen(freezing, *net, *sgd, 2);
  std::string trains;
  train(frozen, net, *sgd, 6, [&] { trains += weight_of(net, "3.weight").requires_grad() ? 't' : 'f'; });
  CHECK(trains == "fffftt");
}

TEST_CASE("a modifier that would never act is found before training") {
  auto net = conv_net();
  auto sgd = make_optimizer("sgd", net);
  Recipe recipe;
  recipe.add<NMPruning>({3});
  Session session(recipe, *net, *sgd, 5);
  CHECK_NOTHROW(session.check_length(16));
  CHECK_THROWS_WITH(session.check_length(15),
                    ContainsSubstring("NMPruningModifier: sparsity would begin at step 15, "
                                      "but training ends after 15 steps (3 epochs)"));
}

TEST_CASE("weight decay stays off where the optimizer has none, and loaded masks lie as their weights do") {
  auto net = conv_net();
  net->to(torch::kFloat);
  for (auto& parameter : net->parameters())
    if (parameter.dim() == 4) parameter.set_data(parameter.contiguous(at::MemoryFormat::ChannelsLast));
  using torch::optim::SGDOptions;
  std::vector<torch::optim::OptimizerParamGroup> groups;
  std::vector<at::Tensor> weights, others;
  for (const auto& parameter : net->parameters())
    (parameter.dim() > 1 ? weights : others).push_back(parameter);
  groups.emplace_back(weights, std::make_unique<SGDOptions>(SGDOptions(0.01).weight_decay(0.1)));
  groups.emplace_back(others, std::make_unique<SGDOptions>(SGDOptions(0.01).weight_decay(0)));
  torch::optim::SGD sgd(groups, SGDOptions(0.01));
  Recipe recipe;
  recipe.add<SetWeightDecay>({0, 0.5}).add<NMPruning>({0});
  Session session(recipe, *net, sgd, 4);
  session.begin_step();
  const auto decay = [&](int group) {
    return dynamic_cast<SGDOptions&>(sgd.param_groups()[group].options()).weight_decay();
  };
  CHECK(decay(0) == 0.5);
  CHECK(decay(1) == 0);

  auto saved = session.state_dict();
  for (auto& [name, tensor] : saved) tensor = tensor.contiguous();  // as files hold them
  Session again(recipe, *net, sgd, 4);
  again.load_state_dict(saved);
  CHECK(again.masks().find("3.weight").strides() == weight_of(net, "3.weight").strides());
  CHECK(torch::equal(again.masks().find("3.weight"), session.masks().find("3.weight")));
}
