// SPDX-License-Identifier: Apache-2.0
#include <torch/torch.h>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <numeric>
#include <sstream>

#include "channel_nets.hpp"
#include "lambda_net.hpp"
#include "sparsify/graph/channel_spaces.hpp"
#include "sparsify/masks/channel_permutation.hpp"
#include "sparsify/modifiers/magnitude_pruning.hpp"
#include "sparsify/modifiers/nm_pruning.hpp"
#include "sparsify/modifiers/quantization.hpp"
#include "sparsify/session.hpp"

using namespace sparsify;
using namespace sparsify::test;
using Catch::Matchers::ContainsSubstring;

namespace {

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
  if (member.groups != 1) result += "/" + std::to_string(member.groups);
  return result;
}

// "8: conv1.weight:0 bn1.weight:0 > conv2.weight:1 ! an output"; batch norm's four are written as one.
std::string text(const ChannelSpace& space) {
  auto result = std::to_string(space.size) + ":";
  if (space.groups != 1)
    result = std::to_string(space.groups) + " groups of " + std::to_string(space.group_size()) + ":";
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

std::vector<std::int64_t> shuffled(std::int64_t size) {
  const auto order = torch::randperm(size);
  return {order.const_data_ptr<int64_t>(), order.const_data_ptr<int64_t>() + size};
}

double kept_by(const at::Tensor& weight, NofM pattern) {
  return (weight.detach().abs() * n_of_m_mask(weight, pattern)).sum().item<double>();
}

// State as a session has it, for functions that take one.
template <class Net>
State momentum_of(Net& net, torch::optim::Optimizer& optimizer) {
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
  LambdaNet net([](auto& self, const at::Tensor& x) {
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
    LambdaNet net([run](auto& self, const at::Tensor& x) {
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
  LambdaNet net([](auto& self, const at::Tensor& x) {
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

namespace {

std::vector<std::int64_t> shuffled_in_groups(const ChannelSpace& space) {
  std::vector<std::int64_t> order;
  for (std::int64_t first = 0; first < space.size; first += space.group_size())
    for (const auto channel : shuffled(space.group_size())) order.push_back(first + channel);
  return order;
}

}  // namespace

TEST_CASE("channel spaces on both sides of a grouped convolution fall into its groups", "[channels]") {
  Grouped net;
  CHECK(texts(spaces_of(net, images())) ==
        Strings{"3: > stem.weight:1 ! an input of the network",
                "16: stem.weight:0 conv3.weight:0 > conv1.weight:1 head.weight:1",
                "4 groups of 8: conv1.weight:0 bn1.weight:0 bn1.bias:0 > conv2.weight:1/4",
                "4 groups of 16: conv2.weight:0 conv2.bias:0 bn2.weight:0 bn2.bias:0 > conv3.weight:1",
                "4: head.weight:0 head.bias:0 ! an output of the network"});
  CHECK(spaces_of(net, images())[2].grouped == "a grouped convolution, conv2.weight");

  // Added, the outputs of 4 and of 6 groups have only parts of 2 channels in common; a concatenation has no
  // groups of its own, and neither have channels that a depthwise convolution doubled.
  LambdaNet other([](auto& self, const at::Tensor& x) {
    const auto of = [&](const char* name) { return self.named_parameters()[name]; };
    const auto a = torch::conv2d(x, of("a"));
    const auto four = grouped(a, of("four"), 4), sum = four + grouped(a, of("six"), 6);
    const auto joined = torch::cat({torch::conv2d(sum, of("b")), torch::conv2d(sum, of("c"))}, 1);
    const auto doubled = grouped(torch::conv2d(sum, of("d")), of("wide"), 4);
    const auto two = grouped(joined, of("two"), 2);
    return two + grouped(doubled, of("also"), 2);
  });
  other.register_parameter("a", torch::randn({24, 3, 1, 1}));
  other.register_parameter("four", torch::randn({24, 6, 1, 1}));
  other.register_parameter("six", torch::randn({24, 4, 1, 1}));
  for (const auto* name : {"b", "c", "d"}) other.register_parameter(name, torch::randn({4, 24, 1, 1}));
  other.register_parameter("wide", torch::randn({8, 1, 1, 1}));
  for (const auto* name : {"two", "also"}) other.register_parameter(name, torch::randn({2, 4, 1, 1}));
  CHECK(texts(spaces_of(other, images())) ==
        Strings{"3: > a:1 ! an input of the network", "12 groups of 2: a:0 > four:1/4 six:1/6",
                "12 groups of 2: four:0 six:0 > b:1 c:1 d:1", "4: b:0 ! a grouped convolution, two",
                "4: c:0 ! a grouped convolution, two", "4: d:0 wide:0*2 ! a grouped convolution, also",
                "2: two:0 also:0 ! a grouped convolution, two"});
}

TEST_CASE("channels change places within the groups of a convolution, never between them", "[channels]") {
  torch::manual_seed(14);
  Grouped one, other;
  for (auto& entry : other.named_parameters()) {
    const torch::NoGradGuard no_grad;
    entry.value().copy_(one.named_parameters()[entry.key()]);
  }
  const auto options = torch::optim::SGDOptions(0.01).momentum(0.9);
  torch::optim::SGD one_optimizer(one.parameters(), options), other_optimizer(other.parameters(), options);
  const auto update = [&](Grouped& net, torch::optim::Optimizer& optimizer, const at::Tensor& x) {
    optimizer.zero_grad();
    net.forward(x).square().mean().backward();
    optimizer.step();
  };
  const auto x = images();
  update(one, one_optimizer, x), update(other, other_optimizer, x);
  auto state = momentum_of(one, one_optimizer), plain = momentum_of(other, other_optimizer);
  for (auto* each : {&state, &plain}) {
    const auto& weight = *find_named(each->parameters, "conv2.weight");
    each->masks.set(weight, n_of_m_mask(weight.tensor, {2, 4}));
  }
  const auto spaces = spaces_of(one, x);
  for (const auto& space : spaces)
    if (space.fixed.empty()) permute_channels(state, space, shuffled_in_groups(space));
  CHECK(state.rearrangements == 3);
  CHECK_FALSE(torch::equal(one.conv2->weight, other.conv2->weight));
  CHECK(torch::allclose(one.forward(x), other.forward(x), 1e-4, 1e-5));
  for (int i = 0; i < 3; ++i) {
    update(one, one_optimizer, x), update(other, other_optimizer, x);
    state.masks.apply_to_weights(), plain.masks.apply_to_weights();
  }
  one.eval(), other.eval();
  CHECK(torch::allclose(one.forward(x), other.forward(x), 1e-3, 1e-4));

  auto order = shuffled_in_groups(spaces[2]);
  std::swap(order[7], order[8]);
  const auto before = one.conv1->weight.clone();
  CHECK_THROWS_WITH(permute_channels(state, spaces[2], order),
                    ContainsSubstring("within their groups: a grouped convolution, conv2.weight"));
  CHECK(torch::equal(before, one.conv1->weight));
}

TEST_CASE("N:M keeps more behind a grouped convolution, and in it: by hand", "[channels]") {
  torch::manual_seed(15);
  Grouped net;
  net.eval();
  {
    // Of the 16 channels of each group, the first four weigh 10 in conv3 and the others 1. In conv2, of the 8
    // channels of each group the last four weigh 6 and the others 2.
    const torch::NoGradGuard no_grad;
    net.conv3->weight.fill_(1);
    net.conv3->weight.view({16, 4, 16}).slice(2, 0, 4).fill_(10);
    net.conv2->weight.fill_(2);
    net.conv2->weight.slice(1, 4, 8).fill_(-6);
  }
  torch::optim::SGD sgd(net.parameters(), 0.1);
  auto state = momentum_of(net, sgd);
  const auto x = images();
  const auto before = net.forward(x);
  const auto spaces = spaces_of(net, x);
  const auto weights = [&](std::initializer_list<const char*> names) {
    Parameters chosen;
    for (const auto* name : names) chosen.push_back(*find_named(state.parameters, name));
    return chosen;
  };
  const auto gain = permute_for_n_of_m(state, spaces, weights({"conv3.weight"}), {2, 4}, 1e9);
  CHECK(gain.searched == 1);
  CHECK(gain.spaces == 1);
  CHECK(gain.magnitude == 16 * 4 * (4 * 10 + 12));
  CHECK(gain.kept_before == 16 * 4 * (20 + 3 * 2));
  CHECK(gain.kept_after == 16 * 4 * (40 + 2 * 2));  // parted two and two, or one in each: as good
  CHECK(kept_by(net.conv3->weight, {2, 4}) == gain.kept_after);
  const auto in_conv2 = permute_for_n_of_m(state, spaces, weights({"conv2.weight"}), {2, 4}, 1e9);
  CHECK(in_conv2.searched == 1);
  CHECK(in_conv2.kept_before == 64 * 9 * (2 * 2 + 2 * 6));
  CHECK(in_conv2.kept_after == 64 * 9 * 4 * 6);
  CHECK(kept_by(net.conv2->weight, {2, 4}) == in_conv2.kept_after);
  CHECK(torch::allclose(net.forward(x), before, 1e-4, 1e-3));
  // Groups of 8 hold no group of 16.
  CHECK(permute_for_n_of_m(state, spaces, weights({"conv2.weight"}), {8, 16}, 1e9).searched == 0);
}

TEST_CASE("channels in another order compute the same, and optimizer, gradients and masks follow",
          "[channels]") {
  torch::manual_seed(4);
  const auto optimizer_name = GENERATE("sgd", "adam", "rmsprop");
  const bool training = GENERATE(false, true);
  Coupled one, other;
  // Optimizers that divide by gradients' size make steps of the rounding of gradients that are really 0.
  one.to(torch::kDouble), other.to(torch::kDouble);
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
  const auto x = images().to(torch::kDouble);
  update(one, *one_optimizer, x), update(other, *other_optimizer, x);
  auto state = momentum_of(one, *one_optimizer), plain = momentum_of(other, *other_optimizer);
  for (auto* each : {&state, &plain}) {
    const auto& weight = *find_named(each->parameters, "conv2.weight");
    each->masks.set(weight, n_of_m_mask(weight.tensor, {2, 4}));
  }
  for (const auto& space : spaces_of(one, x))
    if (space.fixed.empty()) permute_channels(state, space, shuffled(space.size));
  CHECK(state.rearrangements == 6);
  CHECK_FALSE(torch::equal(one.conv2->weight, other.conv2->weight));
  one.train(training), other.train(training);
  const auto y = images().to(torch::kDouble);
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
  auto state = momentum_of(net, sgd);
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
