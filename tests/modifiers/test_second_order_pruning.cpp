// SPDX-License-Identifier: Apache-2.0
#include <torch/torch.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "sparsify/modifiers/mfac_pruning.hpp"
#include "sparsify/modifiers/obs_pruning.hpp"
#include "sparsify/session.hpp"
#include "training.hpp"

using namespace sparsify;
using namespace sparsify::test;

namespace {

struct OpenOBS : OBSPruning {
  using OBSPruning::add_gradient, OBSPruning::compensation, OBSPruning::inverse_diagonal,
      OBSPruning::OBSPruning;
};
struct OpenMFAC : MFACPruning {
  using MFACPruning::add_gradient, MFACPruning::compensation, MFACPruning::inverse_diagonal,
      MFACPruning::MFACPruning;
};

// F = damp I + G'G / m, written down.
at::Tensor fisher_of(const at::Tensor& gradients, double damp) {
  const auto g = gradients.to(torch::kDouble);
  return torch::eye(g.size(1), torch::kDouble) * damp + g.t().mm(g) / double(g.size(0));
}

}  // namespace

TEST_CASE("OBS: scores and compensation equal the textbook's formulas, block by block") {
  torch::manual_seed(31);
  OBSPruning::Options options;
  options.window = {0, 1}, options.final_sparsity = 0.5, options.damp = 1e-3, options.fisher_block_size = 4;
  OpenOBS obs(options);
  const Parameter weight{"w.weight", torch::randn({2, 5})};  // ten weights: blocks of 4, 4 and 2
  const auto gradients = torch::randn({6, 10});
  for (int64_t i = 0; i < 6; ++i) obs.add_gradient(weight, gradients[i]);
  const auto kept = torch::tensor({1, 0, 1, 1, 0, 0, 1, 1, 1, 0}).to(torch::kBool);
  const auto diagonal = obs.inverse_diagonal(weight, {});
  const auto change = obs.compensation(weight, kept);
  const auto flat = weight.tensor.reshape(-1).to(torch::kDouble);
  for (const auto& [first, size] : std::vector<std::pair<int64_t, int64_t>>{{0, 4}, {4, 4}, {8, 2}}) {
    const auto part = [&, first = first, size = size](const at::Tensor& t) {
      return t.slice(-1, first, first + size);
    };
    const auto inverse = fisher_of(part(gradients), 1e-3).inverse();
    CHECK(torch::allclose(part(diagonal).to(torch::kDouble), inverse.diagonal(), 1e-3));
    // delta = -F^-1[:, Q] (F^-1[Q, Q])^-1 w_Q
    const auto q = part(kept).logical_not().nonzero().squeeze(1);
    const auto columns = inverse.index_select(1, q);
    const auto delta =
        -columns.mm(columns.index_select(0, q).inverse().mm(part(flat).index_select(0, q).unsqueeze(1)));
    CHECK(torch::allclose(part(change).to(torch::kDouble), delta.squeeze(1) * part(kept), 1e-3, 1e-4));
  }
}

TEST_CASE("M-FAC: Woodbury's identity equals the inverse written down") {
  torch::manual_seed(32);
  MFACPruning::Options options;
  options.window = {0, 1}, options.final_sparsity = 0.5, options.damp = 1e-2;
  OpenMFAC mfac(options);
  const Parameter weight{"w.weight", torch::randn({3, 4})};
  const auto gradients = torch::randn({5, 12});
  for (int64_t i = 0; i < 5; ++i) mfac.add_gradient(weight, gradients[i]);
  const auto inverse = fisher_of(gradients, 1e-2).inverse();
  CHECK(torch::allclose(mfac.inverse_diagonal(weight, {}).to(torch::kDouble), inverse.diagonal(), 1e-3));
  const auto kept = torch::rand({12}) > 0.5;
  const auto removed = weight.tensor.reshape(-1).to(torch::kDouble) / inverse.diagonal() * kept.logical_not();
  const auto expected = -inverse.mv(removed) * kept;
  CHECK(torch::allclose(mfac.compensation(weight, kept).to(torch::kDouble), expected, 1e-3, 1e-4));
}

TEST_CASE("M-FAC uses the last gradients, also those from before an update") {
  torch::manual_seed(34);
  MFACPruning::Options options;
  options.window = {0, 1}, options.final_sparsity = 0.5, options.damp = 1e-2, options.num_grads = 3;
  OpenMFAC mfac(options);
  const Parameter weight{"w.weight", torch::randn({2, 3})};
  const auto gradients = torch::randn({5, 6});
  for (int64_t i = 0; i < 5; ++i) mfac.add_gradient(weight, gradients[i]);
  const auto inverse = fisher_of(gradients.slice(0, 2), 1e-2).inverse();
  CHECK(torch::allclose(mfac.inverse_diagonal(weight, {}).to(torch::kDouble), inverse.diagonal(), 1e-3));
}

TEST_CASE("second-order pruning prefers what matters least, not what is smallest") {
  // The first weight is large but the loss does not depend on it; the last is small and matters.
  const auto method = GENERATE("OBS", "MFAC");
  OneWeight one(torch::tensor({{5.F, 4.F, 3.F, 0.5F}}), 1e-9);
  Recipe recipe;
  if (method == std::string("OBS")) {
    OBSPruning::Options options;
    options.window = {4, 6}, options.init_sparsity = 0.25, options.final_sparsity = 0.25,
    options.num_grads = 4, options.damp = 1e-4;
    recipe.add<OBSPruning>(options);
  } else {
    MFACPruning::Options options;
    options.window = {4, 6}, options.init_sparsity = 0.25, options.final_sparsity = 0.25,
    options.num_grads = 4, options.damp = 1e-4;
    recipe.add<MFACPruning>(options);
  }
  Session session(recipe, *one.net, one.sgd, 1);
  torch::manual_seed(33);
  for (int i = 0; i < 6; ++i)
    one.step(session, torch::randn({1, 4}) * torch::tensor({{0.F, 1.F, 1.F, 50.F}}));
  session.finish();
  CHECK(torch::equal(one.weight().eq(0), torch::tensor({{true, false, false, false}})));
}

namespace {

// Gradients that pull most weights up and down together.
at::Tensor correlated_gradients(int64_t count) {
  torch::manual_seed(35);
  const auto common = torch::tensor({1.F, -0.8F, 0.9F, 0.2F, -1.1F, 0.7F, 1.2F, -0.3F});
  return torch::randn({count, 1}) * common + 0.2 * torch::randn({count, 8});
}

// The textbook's pruning of a few weights, in double: F as given, which already keeps what is apart apart.
struct Textbook {
  void prune(const at::Tensor& fisher, int64_t count, bool jointly) {
    const auto inverse = fisher.inverse();
    const auto scores = weight.square() / inverse.diagonal();
    const auto alive = kept.clone();
    kept.index_fill_(0, scores.masked_fill(kept.logical_not(), -1).argsort().slice(0, 0, count), false);
    const auto gone = alive.logical_and(kept.logical_not()).nonzero().squeeze(1);
    const auto columns = inverse.index_select(1, gone), removed = weight.index_select(0, gone);
    const auto prices = jointly ? columns.index_select(0, gone).inverse().mv(removed)
                                : removed / inverse.diagonal().index_select(0, gone);
    change = -columns.mv(prices) * kept;
    weight = (weight + change) * kept;
  }
  at::Tensor weight, change, kept = torch::ones({8}, torch::kBool);
};

}  // namespace

TEST_CASE("OBS and M-FAC move the weights that remain, also at an update under a mask") {
  const std::string method = GENERATE("OBS", "M-FAC");
  CAPTURE(method);
  const auto start = torch::tensor({0.9F, 0.5F, -1.2F, 0.4F, 0.8F, -0.6F, 1.1F, 0.3F});
  OneWeight one(start.unsqueeze(0), 1e-9);
  Recipe recipe;
  const auto with = [](auto options, int64_t num_grads) {
    options.window = {4, 9}, options.update_frequency = 4, options.init_sparsity = 0.25,
    options.final_sparsity = 0.5, options.num_grads = num_grads, options.damp = 1e-2;
    return options;
  };
  auto obs = with(OBSPruning::Options(), 4);
  obs.fisher_block_size = 5;
  method == "OBS" ? recipe.add<OBSPruning>(obs) : recipe.add<MFACPruning>(with(MFACPruning::Options(), 6));
  Session session(recipe, *one.net, one.sgd, 1);
  const auto gradients = correlated_gradients(9);

  Textbook expected;
  expected.weight = start.to(torch::kDouble);
  const auto check = [&](const at::Tensor& used, int64_t count) {
    // Removed weights have no gradient: F keeps them apart from the others.
    auto fisher = fisher_of(used * expected.kept, 1e-2);
    if (method == "OBS") fisher.slice(0, 0, 5).slice(1, 5).zero_(), fisher.slice(0, 5).slice(1, 0, 5).zero_();
    expected.prune(fisher, count, method == "OBS");
    CHECK(expected.change.abs().max().item<double>() > 0.05);
    CHECK(torch::equal(session.masks().find("weight")[0], expected.kept));
    CHECK(torch::allclose(one.weight()[0].to(torch::kDouble), expected.weight, 1e-3, 1e-4));
  };
  for (int i = 0; i < 9; ++i) {
    one.step(session, gradients.slice(0, i, i + 1));
    // In the fifth step masks were made from the four gradients before it; in the ninth OBS has four new
    // ones, M-FAC the last six.
    if (i == 4) check(gradients.slice(0, 0, 4), 2);
    if (i == 8) check(gradients.slice(0, method == "OBS" ? 4 : 2, 8), 4);
  }
  session.finish();
}
