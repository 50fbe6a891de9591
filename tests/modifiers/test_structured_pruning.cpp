// SPDX-License-Identifier: Apache-2.0
#include <torch/torch.h>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <limits>

#include "channel_nets.hpp"
#include "sparsify/modifiers/structured_pruning.hpp"
#include "sparsify/session.hpp"

using namespace sparsify;
using namespace sparsify::test;
using Catch::Matchers::ContainsSubstring;

namespace {

Recipe structured(double final_sparsity, const std::string& type = "filter") {
  StructuredPruning::Options options;
  options.window = {0, 2}, options.final_sparsity = final_sparsity, options.mask_type = type;
  options.params = {"re:(stem|conv1|conv2|join|fc)\\.weight"};
  Recipe recipe;
  recipe.add<StructuredPruning>(options);
  return recipe;
}

}  // namespace

TEST_CASE("structured pruning: removed channels are zero behind batch norm, in all branches alike",
          "[channels]") {
  torch::manual_seed(7);
  Coupled net;
  torch::optim::SGD sgd(net.parameters(), torch::optim::SGDOptions(0.05).momentum(0.9).weight_decay(1e-4));
  Session session(structured(0.5), net, sgd, 4);
  const auto forward = [&](const at::Tensor& image) { return net.forward(image); };
  train(session, net, forward, sgd, 7);
  CHECK_THROWS_WITH(session.finish(), ContainsSubstring("before end_epoch"));
  train(session, net, forward, sgd, 1);
  session.finish();
  const auto* modifier = session.find<StructuredPruning>();
  REQUIRE(modifier->sets().size() == 5);
  for (const auto& set : modifier->sets())
    CHECK(dead_channels(set, session.state().parameters) == set.size / 2);
  const auto dead = [](const at::Tensor& weight) { return weight.flatten(1).eq(0).all(1); };
  const auto gone = dead(net.conv2->weight);
  CHECK(gone.sum().item<int64_t>() == 16);
  CHECK(torch::equal(gone, dead(net.down->weight)));
  CHECK(torch::equal(gone, dead(net.excite->weight)));
  CHECK(torch::equal(gone, dead(net.dw->weight)));
  CHECK(torch::equal(gone, net.bn2->weight.eq(0)));
  CHECK(torch::equal(gone, net.bnd->bias.eq(0)));
  for (const bool training : {true, false}) {
    net.train(training);
    const auto x = net.bn0(net.stem(images()));
    CHECK(torch::equal(x.abs().sum({0, 2, 3}).eq(0), dead(net.stem->weight)));
    const auto y = net.bnd(net.down(x.relu()));
    CHECK(torch::equal(y.abs().sum({0, 2, 3}).eq(0), gone));
  }
  CHECK(net.head->weight.ne(0).all().item<bool>());
  {
    torch::NoGradGuard no_grad;
    net.bnd->bias.fill_(1);
  }
  CHECK_THROWS_WITH(session.finish(), ContainsSubstring("0 of 32 channels of conv2.weight are removed"));
}

TEST_CASE("structured pruning removes the channels of smallest norm, over all that makes or reads them",
          "[channels]") {
  const bool by_filter = GENERATE(true, false);
  // Two branches with the same channels: a and b are added, c reads the sum. Norms of channel i of a and b
  // together: sqrt(a_i^2 + b_i^2) = 5, sqrt(2), sqrt(10), 4.1; c reads with norms 1, 3, 2, 4.
  struct Net : torch::nn::Module {
    torch::nn::Conv2d a{nullptr}, b{nullptr}, c{nullptr};
    Net() {
      const auto make = [&](const char* name, int in, int out) {
        return register_module(name, torch::nn::Conv2d(torch::nn::Conv2dOptions(in, out, 1).bias(false)));
      };
      a = make("a", 1, 4), b = make("b", 1, 4), c = make("c", 4, 1);
      const torch::NoGradGuard no_grad;
      a->weight.copy_(torch::tensor({3.F, 1.F, -3.F, 0.9F}).reshape({4, 1, 1, 1}));
      b->weight.copy_(torch::tensor({-4.F, 1.F, 1.F, 4.F}).reshape({4, 1, 1, 1}));
      c->weight.copy_(torch::tensor({1.F, -3.F, 2.F, 4.F}).reshape({1, 4, 1, 1}));
    }
    at::Tensor forward(const at::Tensor& x) { return c(torch::relu(a(x) + b(x))).mean({2, 3}); }
  } net;
  torch::optim::SGD sgd(net.parameters(), 0.0);
  StructuredPruning::Options options;
  options.window = {0, 1}, options.final_sparsity = 0.5, options.mask_type = by_filter ? "filter" : "channel";
  options.params = {by_filter ? "a.weight" : "c.weight"};
  Recipe recipe;
  recipe.add<StructuredPruning>(options);
  Session session(recipe, net, sgd, 2);
  for (int i = 0; i < 2; ++i) {
    const auto step = session.begin_step();
    step.forward([&] { return net.forward(torch::rand({2, 1, 4, 4})); });
    step.optimize();
  }
  session.finish();
  const auto kept = [](const at::Tensor& weight) { return weight.detach().flatten().ne(0); };
  const auto by_norm_of_makers = torch::tensor({true, false, false, true});
  const auto by_norm_of_readers = torch::tensor({false, true, false, true});
  if (by_filter) {
    CHECK(torch::equal(kept(net.a->weight), by_norm_of_makers));
    CHECK(torch::equal(kept(net.b->weight), by_norm_of_makers));
    CHECK(kept(net.c->weight).all().item<bool>());
  } else {
    CHECK(torch::equal(kept(net.c->weight), by_norm_of_readers));
    CHECK(kept(net.a->weight).all().item<bool>());
  }
}

TEST_CASE("structured pruning keeps channels that are not finite, takes zeros first, and says so",
          "[channels]") {
  torch::manual_seed(17);
  Coupled net;
  {
    const torch::NoGradGuard no_grad;
    net.stem->weight[3].fill_(std::numeric_limits<float>::infinity());
    net.stem->weight[5][0][0][0] = NAN;
    net.conv1->weight.zero_();
  }
  torch::optim::SGD sgd(net.parameters(), 0.0);
  StructuredPruning::Options options;
  options.window = {0, 1}, options.final_sparsity = 1.0, options.params = {"stem.weight", "conv1.weight"};
  Recipe recipe;
  recipe.add<StructuredPruning>(options);
  Session session(recipe, net, sgd, 1);
  const auto step = session.begin_step();
  step.forward([&] { return net.forward(images()); });
  step.optimize();
  const auto left = net.stem->weight.detach().flatten(1).ne(0).any(1);
  CHECK(left.sum().item<int64_t>() == 1);
  CHECK((left[3] | left[5]).item<bool>());
  const auto one = [](const char* name) {
    return std::string("structured pruning: one channel of ") + name +
           " stays, or nothing would come through";
  };
  CHECK(session.state().notes ==
        Strings{one("stem.weight"), one("conv1.weight"),
                "pruning: 28 values of stem.weight are not finite: they count as the largest and stay",
                "pruning: conv1.weight is all zero before it is pruned"});
}

TEST_CASE("structured pruning by channel removes what reads them, fixed channels stay with a note",
          "[channels]") {
  torch::manual_seed(8);
  Coupled net;
  torch::optim::SGD sgd(net.parameters(), 0.05);
  Session session(structured(0.25, "channel"), net, sgd, 2);
  const auto forward = [&](const at::Tensor& image) { return net.forward(image); };
  train(session, net, forward, sgd, 4);
  session.finish();
  const auto gone = net.conv1->weight.transpose(0, 1).flatten(1).eq(0).all(1);
  CHECK(gone.sum().item<int64_t>() == 4);
  CHECK(torch::equal(gone, net.join->weight.slice(1, 32).transpose(0, 1).flatten(1).eq(0).all(1)));
  CHECK(net.bn0->weight.ne(0).all().item<bool>());
  const auto columns = net.fc->weight.view({20, 16, 9}).permute({1, 0, 2}).flatten(1).eq(0).all(1);
  CHECK(columns.sum().item<int64_t>() == 4);
  const auto& notes = session.state().notes;
  CHECK(std::find(notes.begin(), notes.end(),
                  "structured pruning: all channels of stem.weight stay: an input of the network") !=
        notes.end());

  StructuredPruning::Options options;
  options.window = {0, 1}, options.final_sparsity = 0.5, options.params = {"head.weight"};
  Recipe fixed;
  fixed.add<StructuredPruning>(options);
  Session nothing(fixed, net, sgd, 2);
  CHECK_THROWS_WITH(train(nothing, net, forward, sgd, 1),
                    ContainsSubstring("head.weight: an output of the network"));
  options.mask_type = "row";
  CHECK_THROWS_WITH(Recipe().add<StructuredPruning>(options),
                    ContainsSubstring("expected filter or channel"));
}

TEST_CASE("structured pruning leaves the channels of grouped convolutions, with a note", "[channels]") {
  torch::manual_seed(16);
  Grouped net;
  torch::optim::SGD sgd(net.parameters(), 0.05);
  StructuredPruning::Options options;
  options.window = {0, 1}, options.final_sparsity = 0.5, options.params = {"conv?.weight"};
  Recipe recipe;
  recipe.add<StructuredPruning>(options);
  Session session(recipe, net, sgd, 2);
  const auto forward = [&](const at::Tensor& image) { return net.forward(image); };
  train(session, net, forward, sgd, 2);
  session.finish();
  CHECK(net.conv3->weight.flatten(1).eq(0).all(1).sum().item<int64_t>() == 8);
  CHECK(net.conv1->weight.ne(0).all().item<bool>());
  const auto stays = [](const char* name) {
    return std::string("structured pruning: all channels of ") + name +
           " stay: a grouped convolution, conv2.weight";
  };
  CHECK(session.state().notes == Strings{stays("conv1.weight"), stays("conv2.weight")});
}

TEST_CASE("structured pruning goes on after an interruption as if there had been none; never removes all",
          "[channels]") {
  const auto run = [&](int interruption) {
    torch::manual_seed(9);
    auto net = std::make_unique<Coupled>();
    auto sgd = std::make_unique<torch::optim::SGD>(net->parameters(), 0.05);
    const auto recipe = structured(1);
    auto session = std::make_unique<Session>(recipe, *net, *sgd, 4);
    const auto forward = [&](const at::Tensor& image) { return net->forward(image); };
    train(*session, *net, forward, *sgd, interruption);
    if (interruption < 8) {
      const auto saved = session->state_dict();
      session = std::make_unique<Session>(recipe, *net, *sgd, 4);
      session->load_state_dict(saved);
      train(*session, *net, forward, *sgd, 8 - interruption);
    }
    session->finish();
    CHECK(net->conv1->weight.flatten(1).ne(0).any(1).sum().item<int64_t>() == 1);
    return net->head->weight.clone();
  };
  const auto whole = run(8);
  CHECK(torch::equal(whole, run(3)));
}

TEST_CASE("half the channels of a small network are removed and it still learns", "[channels]") {
  torch::manual_seed(10);
  Coupled net;
  torch::optim::SGD sgd(net.parameters(), torch::optim::SGDOptions(0.02).momentum(0.9));
  StructuredPruning::Options options;
  options.window = {0.5, 1.5}, options.update_frequency = 0.1, options.final_sparsity = 0.5;
  Recipe recipe;
  recipe.add<StructuredPruning>(options);
  Session session(recipe, net, sgd, 80);
  const auto forward = [&](const at::Tensor& image) { return net.forward(image); };
  train(session, net, forward, sgd, 240);
  session.finish();
  net.eval();
  torch::NoGradGuard no_grad;
  const auto x = images(500);
  const auto right =
      net.forward(x).argmax(1).eq(x.slice(1, 0, 1).mean({1, 2, 3}).gt(0)).to(torch::kFloat).mean();
  CHECK(right.item<float>() > 0.8);
  std::int64_t zeros = 0, all = 0;
  for (const auto& entry : net.named_parameters())
    if (entry.value().dim() == 4)
      zeros += entry.value().eq(0).sum().item<int64_t>(), all += entry.value().numel();
  CHECK(static_cast<double>(zeros) / static_cast<double>(all) > 0.49);
}

TEST_CASE("structured pruning without sparsity trains as if it were not there", "[channels]") {
  const std::string type = GENERATE("filter", "channel");
  CAPTURE(type);
  const auto trained = [&](bool with) {
    torch::manual_seed(12);
    Coupled net;
    torch::optim::SGD sgd(net.parameters(), torch::optim::SGDOptions(0.02).momentum(0.9));
    StructuredPruning::Options options;
    options.window = {0, 2}, options.init_sparsity = 0.0, options.final_sparsity = 0.0,
    options.mask_type = type;
    Recipe recipe;
    if (with) recipe.add<StructuredPruning>(options);
    Session session(recipe, net, sgd, 4);
    train(session, net, [&](const at::Tensor& image) { return net.forward(image); }, sgd, 10);
    session.finish();
    CHECK(session.masks().empty() != with);
    for (const auto& [parameter, mask] : session.masks().by_parameter()) CHECK(mask.all().item<bool>());
    return net.conv2->weight.detach().clone();
  };
  CHECK(torch::equal(trained(true), trained(false)));
}
