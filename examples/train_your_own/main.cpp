// SPDX-License-Identifier: Apache-2.0
// An ordinary LibTorch training program, made sparse and INT8 by a recipe: from a YAML file, or without one
// built in C++.
#include <torch/torch.h>
#include <sparsify/load_recipe.hpp>
#include <sparsify/modifiers.hpp>

#include <cstdio>
#include <exception>
#include <vector>

/// Anybody's model: it knows nothing of sparsify.
struct NetImpl : torch::nn::Module {
  NetImpl() {
    first = register_module("first", torch::nn::Conv2d(torch::nn::Conv2dOptions(1, 16, 3).padding(1)));
    second = register_module("second", torch::nn::Conv2d(torch::nn::Conv2dOptions(16, 16, 3).padding(1)));
    classifier = register_module("classifier", torch::nn::Linear(16 * 4 * 4, 4));
  }
  at::Tensor forward(at::Tensor x) {
    x = torch::max_pool2d(torch::relu(first(x)), 2);
    x = torch::max_pool2d(torch::relu(second(x)), 2);
    return classifier(x.flatten(1));
  }
  torch::nn::Conv2d first = nullptr, second = nullptr;
  torch::nn::Linear classifier = nullptr;
};
TORCH_MODULE(Net);

struct Batch {
  at::Tensor data, target;
};

/// Noisy images [32, 1, 16, 16] with one bright quadrant; the quadrant is the class.
std::vector<Batch> make_batches(int count) {
  std::vector<Batch> batches;
  for (int i = 0; i < count; ++i) {
    Batch batch{0.5 * torch::randn({32, 1, 16, 16}), torch::randint(0, 4, {32})};
    for (int n = 0; n < 32; ++n) {
      const auto quadrant = batch.target[n].item<int>();
      batch.data[n][0].narrow(0, quadrant / 2 * 8, 8).narrow(1, quadrant % 2 * 8, 8).add_(1);
    }
    batches.push_back(batch);
  }
  return batches;
}

sparsify::Recipe recipe_in_cpp() {
  sparsify::Recipe recipe;
  recipe.add<sparsify::SetLearningRate>({.start_epoch = 0, .learning_rate = 0.05});
  recipe.add<sparsify::MagnitudePruning>(
      {.window = {1, 6}, .init_sparsity = 0.05, .final_sparsity = 0.8, .params = {"*.weight"}});
  recipe.add<sparsify::Quantization>({.start_epoch = 6});
  return recipe;
}

/// Trains, and returns the accuracy on other images.
double train(const sparsify::Recipe& recipe, Net& net, std::vector<Batch>& batches, int epochs,
             const std::vector<Batch>& unseen) {
  torch::optim::SGD optimizer(net->parameters(), torch::optim::SGDOptions(0.1).momentum(0.9));
  sparsify::Session session(recipe, *net, optimizer, static_cast<std::int64_t>(batches.size()));
  for (auto epoch = session.first_epoch(); epoch < epochs; ++epoch)
    for (auto& batch : batches) {
      auto step = session.begin_step();  // schedules act
      optimizer.zero_grad();
      auto output = step.forward([&] { return net->forward(batch.data); });  // quantizers act in here only
      step.loss(torch::cross_entropy_loss(output, batch.target)).backward();
      step.optimize();  // was optimizer.step(); pruned weights stay zero
    }
  session.finish();  // throws unless every target was reached
  if (const auto* quantization = session.find<sparsify::Quantization>())
    std::printf("%s\n", quantization->summary().c_str());

  const torch::NoGradGuard no_grad;
  double right = 0;
  for (const auto& batch : unseen) {
    const auto output = session.evaluate([&] { return net->forward(batch.data); });  // rounded, as in INT8
    right += (output.argmax(1) == batch.target).to(at::kFloat).mean().item<double>();
  }
  return right / static_cast<double>(unseen.size());
}

int main(int argc, char** argv) try {
  torch::manual_seed(0);
  Net net;
  auto batches = make_batches(20);
  const auto recipe = argc > 1 ? sparsify::load_recipe(argv[1]) : recipe_in_cpp();
  const double accuracy = train(recipe, net, batches, 8, make_batches(10));

  for (const auto& parameter : net->named_parameters())
    if (parameter.value().dim() > 1)
      std::printf("%-18s %3.0f %% zero\n", parameter.key().c_str(),
                  100 * (parameter.value() == 0).to(at::kFloat).mean().item<double>());
  std::printf("accuracy on unseen images: %.3f\n", accuracy);
  return accuracy > 0.95 ? 0 : 1;
} catch (const std::exception& error) {
  std::fprintf(stderr, "train_your_own: %s\n", error.what());
  return 1;
}
