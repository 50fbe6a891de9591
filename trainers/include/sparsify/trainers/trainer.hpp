// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "sparsify/recipe.hpp"
#include "sparsify/trainers/calibrate.hpp"
#include "sparsify/trainers/metrics.hpp"
#include "sparsify/trainers/network.hpp"
#include "sparsify/trainers/optimizers.hpp"
#include "sparsify/trainers/precision.hpp"
#include "sparsify/trainers/task.hpp"

namespace sparsify {

class Session;

struct TrainOptions {
  int64_t epochs = 10;
  OptimizerOptions optimizer{};
  std::string lr_schedule = "cosine";  ///< used unless the recipe sets learning rates
  double last_lr = 0;                  ///< where that one ends, a part of the learning rate
  double warmup_epochs = 0;            ///< of that schedule
  double warmup_bias_lr = 0;           ///< where biases' learning rate begins; that of the others begins at 0
  double warmup_momentum = 0;          ///< where sgd's momentum begins; 0: it does not move
  double ema_decay = 0;                ///< 0: no averaged weights
  std::string precision = "auto";
  std::string device = "auto";         ///< auto, cpu, cuda, cuda:<i>
  std::shared_ptr<Network> teacher{};  ///< for recipes with a DistillationModifier; sees the same images
  std::filesystem::path output{};      ///< run directory; empty: nothing is written
  bool resume = false;                 ///< go on from output/checkpoints/last.safetensors
  std::map<std::string, std::string> metadata{};  ///< stored in checkpoints: model name, recipe text ...
};

/// Where a running epoch stands.
struct TrainProgress {
  int64_t epoch = 0, epochs = 0;
  int64_t step = 0, steps = 0;  ///< within the epoch
  double loss = 0;              ///< mean so far
  double images_per_second = 0;
};

/// What the caller wants to hear. All optional; called on the training thread.
struct TrainEvents {
  std::function<void(const TrainProgress&)> progress{};
  std::function<void(const EpochMetrics&)> epoch{};
  std::function<void(const std::string&)> note{};
  std::function<bool()> stop_requested{};  ///< true: save `last` after this step and return
};

struct TrainResult {
  bool finished = false;  ///< false: stopped early, resumable
  int64_t epochs_done = 0;
  double seconds = 0;
  EpochMetrics last{};
};

/// Whether a recipe sets learning rates: the options' own schedule is then not used.
bool sets_learning_rate(const Recipe& recipe);

/// "auto" (CUDA where there is one), "cpu", "cuda" or "cuda:1"; throws Error for what is not there.
torch::Device parse_device(const std::string& name);

/// Trains a network under a recipe.
class Trainer {
 public:
  /// Binds the recipe and, with `resume`, loads the last checkpoint. Throws Error before anything is written.
  Trainer(std::shared_ptr<Task> task, const Recipe& recipe, TrainOptions options, TrainEvents events = {});
  ~Trainer();

  /// Trains to the end, verifies that the recipe's targets were reached, and leaves the final weights in the
  /// model (the averaged ones when there are). Checkpoints: `last` after every epoch and when stopped, `best`
  /// by the task's metric among epochs of equal sparsity and precision, so that a dense model never counts as
  /// the best sparse one.
  TrainResult run();

  /// Applies the recipe once, without training: pruning by magnitude at its final sparsity, quantizers
  /// calibrated on training images. Writes the checkpoint `last`. Throws Error for modifiers that learn.
  void apply_once(const CalibrationOptions& options);

  /// The model as it stands over the validation set, fp32, quantizers active: what the export is compared
  /// with.
  Evaluation evaluate();

  Session& session();
  Precision precision() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sparsify
