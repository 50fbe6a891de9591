// SPDX-License-Identifier: Apache-2.0
#include <torch/torch.h>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <numeric>
#include <sstream>

#include "sparsify/graph/channel_spaces.hpp"
#include "sparsify/masks/channel_permutation.hpp"
#include "sparsify/modifiers/magnitude_pruning.hpp"
#include "sparsify/modifiers/nm_pruning.hpp"
#include "sparsify/modifiers/quantization.hpp"
#include "sparsify/modifiers/structured_pruning.hpp"
#include "sparsify/session.hpp"

using namespace sparsify;
using Catch::Matchers::ContainsSubstring;
namespace nn = torch::nn;

namespace {

template <class Run>
struct Lambda : nn::Module {
  explicit Lambda(Run run) : run(std::move(run)) {}
  auto forward(const at::Tensor& x) { return run(*this, x); }
  Run run;
};

nn::Conv2d conv(int64_t in, int64_t out, int64_t kernel = 3, int64_t groups = 1, bool bias = false) {
  return nn::Conv2d(nn::Conv2dOptions(in, out, kernel).padding(kernel / 2).groups(groups).bias(bias));
}

at::Tensor grouped(const at::Tensor& x, const at::Tensor& weight, int64_t groups) {
  const std::vector<int64_t> padding(2, weight.size(2) / 2);
  return torch::conv2d(x, weight, {}, at::IntArrayRef{1, 1}, at::IntArrayRef(padding), at::IntArrayRef{1, 1},
                       groups);
}

template <class Net>
Parameters parameters_of(Net& net) {
  Parameters all;
  for (const auto& parameter : net.named_parameters()) all.push_back({parameter.key(), parameter.value()});
  return all;
}

template <class Net>
std::vector<ChannelSpace> spaces_of(Net& net, const at::Tensor& example) {
  return channel_spaces(record(net, example), parameters_of(net));
}

std::string text(const ChannelMember& member) {
  auto result = member.name + ":" + std::to_string(member.dim);
  if (member.offset) result += "+" + std::to_string(member.offset);
  if (member.repeat != 1) result += "*" + std::to_string(member.repeat);
  return result;
}

// "8: conv1.weight:0 bn1.weight:0 > conv2.weight:1 ! an output"; batch norm's four are written as one.
std::string text(const ChannelSpace& space) {
  auto result = std::to_string(space.size) + ":";
  for (const auto& member : space.producers) {
    if (member.name.find(".running_") != std::string::npos) continue;
    result += " " + text(member);
  }
  for (const auto& member : space.consumers)
    result += (&member == &space.consumers.front() ? " > " : " ") + text(member);
  return space.fixed.empty() ? result : result + " ! " + space.fixed;
}

std::vector<std::string> texts(const std::vector<ChannelSpace>& spaces) {
  std::vector<std::string> all;
  for (const auto& space : spaces) all.push_back(text(space));
  return all;
}

using Strings = std::vector<std::string>;

// A residual block with a downsampling branch and a gate, then depthwise, concatenation, flatten and linear:
// all that couples channels.
struct Coupled : nn::Module {
  Coupled() {
    register_module("stem", stem), register_module("bn0", bn0), register_module("conv1", conv1);
    register_module("bn1", bn1), register_module("conv2", conv2), register_module("bn2", bn2);
    register_module("down", down), register_module("bnd", bnd), register_module("squeeze", squeeze);
    register_module("excite", excite), register_module("dw", dw), register_module("bnw", bnw);
    register_module("join", join), register_module("bnj", bnj), register_module("fc", fc);
    register_module("head", head);
    torch::NoGradGuard no_grad;
    for (auto& entry : named_parameters())
      if (entry.key().find("bn") == 0) entry.value().uniform_(-1.5, 1.5);
    for (auto& entry : named_buffers())
      if (entry.value().is_floating_point()) entry.value().uniform_(0.2, 2);
  }
  at::Tensor forward(const at::Tensor& image) {
    const auto x = bn0(stem(image)).relu_();
    auto y = bn2(conv2(torch::silu(bn1(conv1(x)))));
    const auto gate = torch::hardsigmoid(excite(torch::relu(squeeze(torch::adaptive_avg_pool2d(y, {1, 1})))));
    y = torch::relu(y * gate + bnd(down(x)));
    auto z = torch::leaky_relu(bnw(dw(torch::max_pool2d(y, 2))), 0.1);
    z = torch::relu(bnj(join(torch::cat({z, torch::avg_pool2d(x, 2)}, 1))));
    return head(torch::relu(fc(torch::flatten(torch::dropout(z, 0.1, false), 1))));
  }
  nn::Conv2d stem = conv(3, 16), conv1 = conv(16, 24), conv2 = conv(24, 32), down = conv(16, 32, 1),
             squeeze = conv(32, 8, 1, 1, true), excite = conv(8, 32, 1, 1, true), dw = conv(32, 32, 3, 32),
             join = conv(48, 16);
  nn::BatchNorm2d bn0{16}, bn1{24}, bn2{32}, bnd{32}, bnw{32}, bnj{16};
  nn::Linear fc{16 * 9, 20}, head{20, 4};
};

at::Tensor images(int64_t n = 8) { return torch::randn({n, 3, 6, 6}); }

void train(Session& session, nn::Module& module, const std::function<at::Tensor(const at::Tensor&)>& forward,
           torch::optim::Optimizer& optimizer, int steps) {
  module.train();
  for (int i = 0; i < steps; ++i) {
    auto step = session.begin_step();
    optimizer.zero_grad();
    const auto x = images();
    const auto labels = x.slice(1, 0, 1).mean({1, 2, 3}).gt(0).to(torch::kLong);
    const auto logits = step.forward([&] { return forward(x); });
    step.loss(torch::nn::functional::cross_entropy(logits, labels)).backward();
    step.optimize();
  }
}

std::vector<std::int64_t> shuffled(std::int64_t size) {
  const auto order = torch::randperm(size);
  return {order.const_data_ptr<int64_t>(), order.const_data_ptr<int64_t>() + size};
}

double kept_by(const at::Tensor& weight, NofM pattern) {
  return (weight.detach().abs() * n_of_m_mask(weight, pattern)).sum().item<double>();
}

// State as a session has it, for functions that take one.
template <class Net>
State state_of(Net& net, torch::optim::Optimizer& optimizer) {
  State state;
  state.parameters = parameters_of(net);
  for (const auto& buffer : net.named_buffers()) state.buffers.push_back({buffer.key(), buffer.value()});
  state.optimizer = &optimizer;
  state.optimizer_access = make_optimizer_access<Net>(optimizer);
  return state;
}

}  // namespace

TEST_CASE("channel spaces of what couples channels", "[channels]") {
  Coupled net;
  CHECK(
      texts(spaces_of(net, images())) ==
      Strings{"3: > stem.weight:1 ! an input of the network",
              "16: stem.weight:0 bn0.weight:0 bn0.bias:0 > conv1.weight:1 down.weight:1 join.weight:1+32",
              "24: conv1.weight:0 bn1.weight:0 bn1.bias:0 > conv2.weight:1",
              "32: conv2.weight:0 bn2.weight:0 bn2.bias:0 excite.weight:0 excite.bias:0 down.weight:0 "
              "bnd.weight:0 bnd.bias:0 dw.weight:0 bnw.weight:0 bnw.bias:0 > squeeze.weight:1 join.weight:1",
              "8: squeeze.weight:0 squeeze.bias:0 > excite.weight:1",
              "16: join.weight:0 bnj.weight:0 bnj.bias:0 > fc.weight:1*9",
              "20: fc.weight:0 fc.bias:0 > head.weight:1",
              "4: head.weight:0 head.bias:0 ! an output of the network"});
  const auto spaces = spaces_of(net, images());
  CHECK(spaces[1].producers[3].name == "bn0.running_mean");
  CHECK(spaces[3].producers[0].makes);
  CHECK_FALSE(spaces[3].producers[1].makes);
  const auto dw = std::find_if(spaces[3].producers.begin(), spaces[3].producers.end(),
                               [](const auto& member) { return member.name == "dw.weight"; });
  CHECK_FALSE(dw->makes);
}

TEST_CASE("batch norm behind a concatenation, layer scales, transposed and widening depthwise convolutions",
          "[channels]") {
  Lambda net([](auto& self, const at::Tensor& x) {
    const auto of = [&](const char* name) { return self.named_parameters()[name]; };
    const auto a = torch::conv2d(x, of("a")), b = torch::conv2d(x, of("b")) * of("scale");
    const auto joined =
        torch::batch_norm(torch::cat({a, b}, 1), of("gamma"), {}, {}, {}, true, 0.1, 1e-5, false);
    const auto wide = grouped(joined, of("wide"), 12);
    const auto up = torch::conv_transpose2d(torch::constant_pad_nd(wide, {1, 1}, 0), of("up"), {}, 2);
    const auto shifted = up.slice(2, 0, 4).permute({0, 2, 3, 1}) + of("shift");
    return torch::linear(shifted.mean({1, 2}), of("fc"));
  });
  net.register_parameter("a", torch::randn({4, 3, 1, 1}));
  net.register_parameter("b", torch::randn({8, 3, 1, 1}));
  net.register_parameter("scale", torch::randn({8, 1, 1}));
  net.register_parameter("gamma", torch::randn({12}));
  net.register_parameter("wide", torch::randn({24, 1, 3, 3}));
  net.register_parameter("up", torch::randn({24, 5, 2, 2}));
  net.register_parameter("shift", torch::randn({5}));
  net.register_parameter("fc", torch::randn({2, 5}));
  CHECK(texts(spaces_of(net, images())) ==
        Strings{"3: > a:1 b:1 ! an input of the network", "4: a:0 gamma:0 wide:0*2 > up:0*2",
                "8: b:0 scale:0 gamma:0+4 wide:0+8*2 > up:0+8*2", "5: up:1 shift:0 > fc:1",
                "2: fc:0 ! an output of the network"});
}

TEST_CASE("what cannot be followed is fixed, with the reason", "[channels]") {
  const auto reason_of = [](auto run) {
    Lambda net([run](auto& self, const at::Tensor& x) {
      const auto of = [&](const char* name) { return self.named_parameters()[name]; };
      return torch::conv2d(run(torch::conv2d(x, of("a")), of), of("b"));
    });
    net.register_parameter("a", torch::randn({4, 3, 1, 1}));
    net.register_parameter("b", torch::randn({5, 4, 1, 1}));
    net.register_parameter("c", torch::randn({4, 2, 1, 1}));
    net.register_parameter("d", torch::randn({4}));
    const auto graph = record(net, images());
    std::string reasons;
    for (const auto& space : channel_spaces(graph, {}))
      for (const auto& member : space.producers)
        if (member.name == "a") reasons += space.fixed;
    for (const auto& space : channel_spaces(graph, {}))
      for (const auto& member : space.consumers)
        if (member.name == "b") CHECK(space.fixed.empty() == reasons.empty());
    return reasons;
  };
  using T = const at::Tensor&;
  CHECK(reason_of([](T x, auto) { return x; }) == "");
  CHECK(reason_of([](T x, auto) { return x * 2; }) == "");
  CHECK(reason_of([](T x, auto) { return x.chunk(2, 0)[0]; }) == "");
  CHECK(reason_of([](T x, auto of) { return grouped(x, of("c"), 2); }) == "a grouped convolution, c");
  CHECK(reason_of([](T x, auto) { return x.softmax(1); }) ==
        "softmax (a/softmax#0) is not known to keep channels apart");
  CHECK(reason_of([](T x, auto) {
          const auto parts = x.chunk(2, 1);
          return torch::cat({parts[1], parts[0]}, 1);
        }) == "split (a/split#0) takes channels apart");
  CHECK_THAT(
      reason_of([](T x, auto) { return x.view({-1, 2, 2, 6, 6}).transpose(1, 2).reshape({-1, 4, 6, 6}); }),
      ContainsSubstring("view (a/view#0) takes channels apart"));
  CHECK_THAT(
      reason_of([](T x, auto) { return torch::constant_pad_nd(x, {0, 0, 0, 0, 1, 1}).slice(1, 0, 4); }),
      ContainsSubstring("adds channels"));
  CHECK_THAT(reason_of([](T x, auto) { return x + torch::arange(4.0).view({1, 4, 1, 1}); }),
             ContainsSubstring("constant"));
  CHECK_THAT(reason_of([](T x, auto) { return x * x.mean(1, true); }), ContainsSubstring("mixes channels"));
  CHECK_THAT(reason_of([](T x, auto of) { return x * of("d").softmax(0).view({4, 1, 1}); }),
             ContainsSubstring("softmax"));
  CHECK_THAT(
      reason_of([](T x, auto of) { return x + torch::mm(of("a").flatten(1), of("a").flatten(1).t())[0][0]; }),
      ContainsSubstring("a: "));
  CHECK_THAT(reason_of([](T x, auto) { return x.transpose(1, 2).contiguous().view({-1, 4, 6, 6}); }),
             ContainsSubstring("view"));
}

TEST_CASE("shared weights tie what they read, results that are read again and unused weights fix",
          "[channels]") {
  Lambda net([](auto& self, const at::Tensor& x) {
    const auto of = [&](const char* name) { return self.named_parameters()[name]; };
    const auto left = torch::conv2d(x, of("a")), right = torch::conv2d(x, of("b"));
    return torch::conv2d(left, of("shared")).relu() - torch::conv2d(right, of("shared"));
  });
  for (const auto* name : {"a", "b", "shared"}) net.register_parameter(name, torch::randn({3, 3, 1, 1}));
  CHECK(texts(spaces_of(net, images())) == Strings{"3: > a:1 b:1 ! an input of the network",
                                                   "3: a:0 b:0 > shared:1",
                                                   "3: shared:0 ! an output of the network"});
  const auto graph = record(net, images());
  net.register_parameter("aux", torch::randn({2}));
  CHECK(channel_spaces(graph, parameters_of(net))[1].fixed == "the recorded pass did not use aux");

  nn::Linear first(4, 6), second(6, 2);
  const Parameters parameters{{"first", first->weight}, {"second", second->weight}};
  std::vector<at::Tensor> results;
  const auto spaces = record_channel_spaces(parameters, {}, results, [&] {
    const auto features = torch::linear(torch::randn({3, 4}), first->weight);
    results = {torch::linear(features, second->weight), features};
  });
  CHECK(texts(*spaces)[1] == "6: first:0 > second:1 ! an output of the network");
}

TEST_CASE("channels in another order compute the same, and optimizer, gradients and masks follow",
          "[channels]") {
  torch::manual_seed(4);
  const auto optimizer_name = GENERATE("sgd", "adam", "rmsprop");
  const bool training = GENERATE(false, true);
  Coupled one, other;
  auto optimizer_of = [&](Coupled& net) -> std::unique_ptr<torch::optim::Optimizer> {
    if (optimizer_name == std::string("sgd"))
      return std::make_unique<torch::optim::SGD>(net.parameters(),
                                                 torch::optim::SGDOptions(0.01).momentum(0.9));
    if (optimizer_name == std::string("adam"))
      return std::make_unique<torch::optim::Adam>(net.parameters(), torch::optim::AdamOptions(1e-3));
    return std::make_unique<torch::optim::RMSprop>(net.parameters(),
                                                   torch::optim::RMSpropOptions(1e-3).momentum(0.9));
  };
  {
    torch::NoGradGuard no_grad;
    for (const auto& entry : one.named_parameters())
      other.named_parameters()[entry.key()].copy_(entry.value());
    for (const auto& entry : one.named_buffers()) other.named_buffers()[entry.key()].copy_(entry.value());
  }
  const auto one_optimizer = optimizer_of(one), other_optimizer = optimizer_of(other);
  const auto update = [&](Coupled& net, torch::optim::Optimizer& optimizer, const at::Tensor& x) {
    optimizer.zero_grad();
    net.forward(x).square().mean().backward();
    optimizer.step();
  };
  const auto x = images();
  update(one, *one_optimizer, x), update(other, *other_optimizer, x);
  auto state = state_of(one, *one_optimizer), plain = state_of(other, *other_optimizer);
  for (auto* each : {&state, &plain}) {
    const auto& weight = *find_named(each->parameters, "conv2.weight");
    each->masks.set(weight, n_of_m_mask(weight.tensor, {2, 4}));
  }
  for (const auto& space : spaces_of(one, x))
    if (space.fixed.empty()) permute_channels(state, space, shuffled(space.size));
  CHECK(state.rearrangements == 6);
  CHECK_FALSE(torch::equal(one.conv2->weight, other.conv2->weight));
  one.train(training), other.train(training);
  const auto y = images();
  CHECK(torch::allclose(one.forward(y), other.forward(y), 1e-4, 1e-5));
  for (int i = 0; i < 3; ++i) {
    update(one, *one_optimizer, y), update(other, *other_optimizer, y);
    state.masks.apply_to_weights(), plain.masks.apply_to_weights();
  }
  one.eval(), other.eval();
  CHECK(torch::allclose(one.forward(x), other.forward(x), 1e-3, 1e-4));
}

TEST_CASE("fixed channels and unknown optimizer state refuse to move", "[channels]") {
  Coupled net;
  torch::optim::SGD sgd(net.parameters(), 0.1);
  auto state = state_of(net, sgd);
  const auto spaces = spaces_of(net, images());
  CHECK_THROWS_WITH(permute_channels(state, spaces[0], shuffled(3)),
                    ContainsSubstring("an input of the network"));
  state.optimizer_access.each_state = [](const at::Tensor&, const auto&) { return false; };
  const auto before = net.conv1->weight.clone();
  CHECK_THROWS_WITH(permute_channels(state, spaces[2], shuffled(24)), ContainsSubstring("unknown kind"));
  CHECK(torch::equal(before, net.conv1->weight));
}

TEST_CASE("the search finds an order that keeps more, close to the best of a small case", "[channels]") {
  torch::manual_seed(2);
  const std::vector<std::int64_t> as_it_is = {0, 1, 2, 3, 4, 5, 6, 7};
  // Four large channels side by side: 2:4 loses half of them unless they are parted.
  auto lopsided = torch::ones({8, 30});
  lopsided.slice(0, 0, 4) *= 10;
  CHECK(kept_magnitude(lopsided, as_it_is, {2, 4}) == 30 * (20 + 2));
  CHECK(kept_magnitude(lopsided, better_channel_order(lopsided, {2, 4}, 1e9), {2, 4}) == 30 * 40);

  const auto pattern = GENERATE(NofM{2, 4}, NofM{1, 4}, NofM{3, 4}, NofM{4, 8}, NofM{1, 2}, NofM{2, 6});
  const auto values = torch::randn({48, 700}).abs() * torch::rand({48, 1});
  std::vector<std::int64_t> plain(48);
  std::iota(plain.begin(), plain.end(), 0);
  const auto order = better_channel_order(values, pattern, 1e9);
  CHECK(std::is_permutation(order.begin(), order.end(), plain.begin()));
  CHECK(order == better_channel_order(values, pattern, 1e9));
  CHECK(kept_magnitude(values, order, pattern) > 1.01 * kept_magnitude(values, plain, pattern));
  CHECK(better_channel_order(values, pattern, 1) == plain);  // no work, no change
  // On part of the rows: still something better.
  CHECK(kept_magnitude(values, better_channel_order(values, pattern, 4 * 48 * 48 * 300), pattern) >
        kept_magnitude(values, plain, pattern));
  // kept_magnitude means what masks do.
  const auto weight = values.t().contiguous();
  CHECK(std::abs(kept_magnitude(values, plain, pattern) / kept_by(weight, pattern) - 1) < 1e-5);
}

TEST_CASE("no single swap gains after the search", "[channels]") {
  torch::manual_seed(3);
  const auto values = torch::rand({16, 40});
  const auto order = better_channel_order(values, {2, 4}, 1e9);
  const double found = kept_magnitude(values, order, {2, 4});
  for (std::size_t i = 0; i < 16; ++i)
    for (std::size_t j = i + 1; j < 16; ++j) {
      auto swapped = order;
      std::swap(swapped[i], swapped[j]);
      CHECK(kept_magnitude(values, swapped, {2, 4}) < found * (1 + 2e-5));
    }
}

TEST_CASE("NMPruning with permute keeps more, once", "[channels]") {
  torch::manual_seed(5);
  Coupled net;
  torch::optim::SGD sgd(net.parameters(), 0.0);  // weights stay, only masks change them
  NMPruning::Options options;
  options.start_epoch = GENERATE(0, 1), options.permute = true;
  Recipe recipe;
  recipe.add<NMPruning>(options);
  Session session(recipe, net, sgd, 2);
  const auto forward = [&](const at::Tensor& image) { return net.forward(image); };
  const std::vector<std::string> names = {"conv1.weight", "conv2.weight", "down.weight", "join.weight",
                                          "squeeze.weight"};
  const auto kept = [&] {
    double all = 0;
    for (const auto& name : names) all += kept_by(net.named_parameters()[name], {2, 4});
    return all;
  };
  const double before = kept();
  if (options.start_epoch == 1) train(session, net, forward, sgd, 2);
  CHECK_FALSE(session.masks().find("conv2.weight").defined());
  CHECK_THROWS_WITH(session.finish(), ContainsSubstring("before start_epoch"));
  train(session, net, forward, sgd, 1);
  CHECK(session.state().rearrangements > 0);
  session.finish();
  for (const auto& name : names) CHECK(obeys(net.named_parameters()[name], {2, 4}));
  CHECK(kept() > 1.005 * before);
  CHECK_THAT(session.state().notes.back(), ContainsSubstring("changed places: N:M keeps"));
  INFO(session.state().notes.back());
  const auto first = session.masks().find("conv2.weight").clone();
  const auto moved = session.state().rearrangements;
  train(session, net, forward, sgd, 2);
  CHECK(torch::equal(first, session.masks().find("conv2.weight")));
  CHECK(session.state().rearrangements == moved);
  CHECK(session.state_dict().count("modifiers.0.is_permuted") == 1);
}

TEST_CASE("permutation and quantization in one recipe: both see a forward pass; N:M after it is refused",
          "[channels]") {
  torch::manual_seed(6);
  NMPruning::Options sparse;
  sparse.permute = true;
  const bool quantization_first = GENERATE(false, true);
  for (const double epoch : {1.0, 0.0}) {
    Coupled net;
    torch::optim::SGD sgd(net.parameters(), 0.01);
    const auto forward = [&](const at::Tensor& image) { return net.forward(image); };
    Quantization::Options quantize;
    quantize.start_epoch = epoch;
    Recipe recipe;
    if (quantization_first) recipe.add<Quantization>(quantize);
    recipe.add<NMPruning>(sparse);
    if (!quantization_first) recipe.add<Quantization>(quantize);
    if (epoch == 0) {
      CHECK_THROWS_WITH(Session(recipe, net, sgd, 3), ContainsSubstring("sets what operators see"));
      continue;
    }
    Session session(recipe, net, sgd, 3);
    train(session, net, forward, sgd, 6);
    session.finish();
    CHECK(session.state().rearrangements > 0);
  }
}

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
