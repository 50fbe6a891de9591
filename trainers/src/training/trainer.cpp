// SPDX-License-Identifier: Apache-2.0
#include "sparsify/trainers/trainer.hpp"

#include <chrono>
#include <optional>

#include "sparsify/error.hpp"
#include "sparsify/modifiers/distillation.hpp"
#include "sparsify/modifiers/quantization.hpp"
#include "sparsify/session.hpp"
#include "sparsify/trainers/checkpoint.hpp"
#include "sparsify/trainers/ema.hpp"
#include "sparsify/trainers/gradient_scaler.hpp"
#include "sparsify/trainers/model.hpp"
#include "sparsify/trainers/weights.hpp"
#include "training/figure_sums.hpp"

namespace sparsify {
namespace {

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

void check(const TrainOptions& options) {
  if (options.epochs < 1) throw Error("epochs: expected at least 1, got " + std::to_string(options.epochs));
  if (options.warmup_epochs < 0 || options.warmup_epochs > static_cast<double>(options.epochs))
    throw Error("warmup_epochs: expected a number from 0 to the number of epochs");
}

LearningRateSchedule schedule_of(const TrainOptions& options, int64_t steps_per_epoch) {
  LearningRateSchedule schedule;
  schedule.name = options.lr_schedule;
  schedule.base = options.optimizer.lr, schedule.last = options.last_lr;
  schedule.warmup_steps = std::llround(options.warmup_epochs * static_cast<double>(steps_per_epoch));
  schedule.total_steps = options.epochs * steps_per_epoch;
  schedule.warmup_bias_lr = options.warmup_bias_lr;
  schedule.momentum = options.optimizer.momentum, schedule.warmup_momentum = options.warmup_momentum;
  schedule.check();
  return schedule;
}

}  // namespace

bool sets_learning_rate(const Recipe& recipe) {
  for (const auto& entry : recipe.entries())
    if (entry.type.find("LearningRate") != std::string::npos) return true;
  return false;
}

torch::Device parse_device(const std::string& name) {
  const bool cuda = torch::cuda::is_available();
  if (name == "auto") return cuda ? torch::kCUDA : torch::kCPU;
  if (name == "cpu") return torch::kCPU;
  if (name.rfind("cuda", 0) != 0)
    throw Error("device: expected auto, cpu, cuda or cuda:<i>, got '" + name + "'");
  if (!cuda) throw Error("device: '" + name + "' was asked for, but this LibTorch sees no CUDA device");
  return torch::Device(name);
}

class Trainer::Impl {
 public:
  Impl(std::shared_ptr<Task> task, const Recipe& recipe, TrainOptions options, TrainEvents events)
      : options_((check(options), std::move(options))),
        events_(std::move(events)),
        device_(parse_device(options_.device)),
        precision_(parse_precision(options_.precision, device_)),
        task_(std::move(task)),
        network_(task_->network()),
        scaler_(precision_ == Precision::kFp16 && device_.is_cuda()) {
    if (recipe.epochs() > options_.epochs)
      throw Error("epochs: the recipe needs " + std::to_string(recipe.epochs()) + ", got " +
                  std::to_string(options_.epochs));
    network_.to(device_);
    use_channels_last(network_);
    optimizer_ = make_optimizer(network_, options_.optimizer);
    if (!sets_learning_rate(recipe)) schedule_ = schedule_of(options_, steps());
    if (options_.ema_decay > 0) ema_.emplace(network_, options_.ema_decay);
    session_ = std::make_unique<Session>(recipe, network_, *optimizer_, steps());
    session_->check_length(options_.epochs * steps());
    prepare_teacher();
    if (const auto* quantization = session_->find<Quantization>();
        quantization && quantization->learns_scales() && scaler_.enabled())
      throw Error(
          "precision: fp16 scales the loss, and with it gradients of scales that observer lsq learns; "
          "expected "
          "bf16 or fp32");
    tell_notes();
    if (options_.resume) resume();
  }

  TrainResult run() {
    const auto started = Clock::now();
    TrainResult result;
    std::optional<MetricsFile> metrics;
    if (!options_.output.empty()) metrics.emplace(options_.output / "metrics.csv", session_->first_epoch());
    for (int64_t epoch = session_->first_epoch(); epoch < options_.epochs; ++epoch) {
      const auto epoch_started = Clock::now();
      auto row = train_epoch(epoch);
      if (!row) {
        seconds_before_ += seconds_since(epoch_started);
        save("last");
        result.seconds = seconds_since(started);
        return result;
      }
      with_averaged_weights([&] { row->val = evaluate_as_trained(); });
      row->seconds = seconds_before_ + seconds_since(epoch_started);
      result.last = *row;
      result.epochs_done = epoch + 1;
      note_best(*row);
      if (metrics) metrics->append(*row);  // before `last` says that the epoch is over
      save("last");
      if (events_.epoch) events_.epoch(*row);
      if (stop_requested() && result.epochs_done < options_.epochs) {
        result.seconds = seconds_since(started);
        return result;
      }
    }
    session_->finish();
    if (ema_) {
      mask_average();
      ema_->copy_to(network_);
    }
    result.finished = true;
    result.seconds = seconds_since(started);
    return result;
  }

  void apply_once(const CalibrationOptions& options) {
    network_.eval();
    const auto images = task_->calibration_images(options.batch_size, options.workers);
    const auto example = images->next().slice(0, 0, 1).to(device_);
    session_->apply_once([&] { network_.outputs(example); });
    if (session_->find<Quantization>())
      for (const auto& note : calibrate(*session_, network_, *images, options)) tell(note);
    tell_notes();
    session_->finish();
    save("last");
  }

  Evaluation evaluate() { return evaluate_in(Precision::kFp32); }

  Session& session() { return *session_; }
  Precision precision() const { return precision_; }

 private:
  // The last step of an epoch may have fewer batches than the others.
  int64_t steps() const {
    const auto each = task_->batches_per_step();
    return (task_->batches() + each - 1) / each;
  }
  bool stop_requested() const { return events_.stop_requested && events_.stop_requested(); }
  void tell(const std::string& note) const {
    if (events_.note) events_.note(note);
  }

  void prepare_teacher() {
    const auto distillations = session_->find_all<Distillation>();
    const bool distills = !distillations.empty();
    if (distills && !options_.teacher)
      throw Error("distill_teacher: the recipe has a DistillationModifier; expected a teacher to learn from");
    if (!distills && options_.teacher)
      throw Error(
          "distill_teacher: the recipe has no DistillationModifier, so nothing would be learnt from it");
    if (!distills) return;
    if (const auto divergence = task_->divergence())
      for (auto* distillation : distillations) distillation->set_divergence(divergence);
    options_.teacher->to(device_);
    use_channels_last(*options_.teacher);
    options_.teacher->eval();
  }

  /// Trains what is left of an epoch; nothing when a stop was asked for.
  std::optional<EpochMetrics> train_epoch(int64_t epoch) {
    network_.train();
    const int64_t first = session_->state().step - epoch * steps();
    if (first == 0) sums_ = {}, seconds_before_ = 0;
    task_->start_epoch(epoch, first * task_->batches_per_step());
    const auto started = Clock::now();
    const double before = sums_.images;
    const auto rate = [&] { return (sums_.images - before) / seconds_since(started); };
    for (int64_t step = first; step < steps(); ++step) {
      if (schedule_) schedule_->apply(session_->state().step, *optimizer_);
      train_step();
      if (events_.progress)
        events_.progress({epoch, options_.epochs, step + 1, steps(), sums_.mean("loss"), rate()});
      if (step + 1 < steps() && stop_requested()) return std::nullopt;
    }
    EpochMetrics row;
    row.epoch = epoch;
    row.train = sums_.means();
    row.lr = optimizer_->param_groups().front().options().get_lr();
    row.sparsity = prunable_sparsity();
    row.quantized = quantized();
    row.images_per_second = rate();
    return row;
  }

  void train_step() {
    const auto step = session_->begin_step();
    optimizer_->zero_grad();
    for (int64_t i = 0; i < task_->batches_per_step(); ++i)
      if (!learn_batch(step)) break;
    const auto rearrangements = session_->state().rearrangements;
    const bool finite = scaler_.unscale(*optimizer_);
    if (!finite) optimizer_->zero_grad();  // a step in which nothing moves
    step.optimize();
    scaler_.update(finite);
    if (ema_ && session_->state().rearrangements != rearrangements)
      ema_.emplace(network_, options_.ema_decay);
    if (ema_) ema_->update(network_);
    tell_notes();
  }

  /// Adds the gradients of the next batch; false when there is none.
  bool learn_batch(const Step& step) {
    const auto batch = task_->next_batch();
    if (!batch) return false;
    const auto images = batch->to(device_, /*non_blocking=*/true);
    Outputs outputs;
    {
      const Autocast autocast(precision_, device_);
      outputs = step.forward([&] { return network_.outputs(images); });
      step.teach([&] { return options_.teacher->outputs(images); });
    }
    const auto loss = step.loss(task_->loss(outputs));
    const auto value = loss.item<double>();
    if (!std::isfinite(value))
      throw Error("the loss is " + std::to_string(value) + " at epoch " +
                  std::to_string(session_->state().epoch()) + ": training diverged; lower the learning rate");
    auto figures = task_->loss_figures();
    figures.insert(figures.begin(), {"loss", value});
    sums_.add(figures, static_cast<double>(images.size(0)));
    scaler_.scale(loss * task_->loss_scale()).backward();
    return true;
  }

  Evaluation evaluate_as_trained() {
    return evaluate_in(quantized() ? Precision::kFp32 : precision_);  // what the exported model computes
  }

  Evaluation evaluate_in(Precision precision) {
    network_.eval();
    const auto validation = task_->validation();
    return sparsify::evaluate(*validation, [&](const torch::Tensor& images) {
      const Autocast autocast(precision, device_);
      return session_->evaluate([&] { return network_.outputs(images.to(device_)); });
    });
  }

  // Modifiers add some when they have seen the model run.
  void tell_notes() {
    const auto& notes = session_->state().notes;
    while (notes_told_ < notes.size()) tell(notes[notes_told_++]);
  }

  void mask_average() { session_->masks().apply_to(ema_->state_dict()); }

  template <class Act>
  void with_averaged_weights(Act&& act) {
    if (!ema_) return act();
    mask_average();
    ema_->swap(network_);
    const struct Back {
      ModelEma& ema;
      Network& network;
      ~Back() { ema.swap(network); }
    } back{*ema_, network_};
    act();
  }

  bool quantized() const {
    const auto* quantization = session_->find<Quantization>();
    return quantization && quantization->active();
  }

  double prunable_sparsity() const {
    double zeros = 0, total = 0;
    for (const auto& parameter : session_->state().parameters)
      if (parameter.prunable()) {
        total += static_cast<double>(parameter.tensor.numel());
        zeros += static_cast<double>(count_zeros(parameter.tensor));
      }
    return total > 0 ? zeros / total : 0;
  }

  Checkpoint checkpoint() const {
    Checkpoint saved;
    saved.model = state_dict(network_);
    saved.session = session_->state_dict();
    saved.metadata = options_.metadata;
    saved.metadata["epoch"] = std::to_string(session_->first_epoch());
    return saved;
  }

  void save(const std::string& name) {
    if (options_.output.empty()) return;
    auto saved = checkpoint();
    if (ema_) saved.ema = ema_->state_dict(), saved.metadata["ema_updates"] = std::to_string(ema_->updates());
    saved.optimizer = archive_bytes(*optimizer_);
    saved.generator = at::detail::getDefaultCPUGenerator().get_state();
    saved.session["trainer.scaler"] = scaler_.state();
    sums_.save(saved.session);
    saved.session["trainer.seconds"] = torch::tensor(seconds_before_, torch::kDouble);
    saved.session["trainer.best"] =
        torch::tensor({best_.metric, best_.sparsity, best_.quantized ? 1.0 : 0.0}, torch::kDouble);
    save_checkpoint(path(name), saved);
  }

  /// `best` holds what is deployed: the averaged weights where there are.
  void note_best(const EpochMetrics& row) {
    const bool comparable = row.sparsity == best_.sparsity && row.quantized == best_.quantized;
    const double reached = row.val[task_->metric()];
    if (comparable && reached <= best_.metric) return;
    best_ = {reached, row.sparsity, row.quantized};
    if (options_.output.empty()) return;
    with_averaged_weights([&] {
      auto saved = checkpoint();
      saved.metadata["val_" + task_->metric()] = std::to_string(reached);
      save_checkpoint(path("best"), saved);
    });
  }

  void resume() {
    auto saved = load_checkpoint(path("last"));
    load_weights(network_, saved.model);
    restore(*optimizer_, saved.optimizer);
    if (ema_) ema_->load(saved.ema, std::stoll(saved.metadata.at("ema_updates")));
    session_->load_state_dict(saved.session);
    auto generator = at::detail::getDefaultCPUGenerator();
    generator.set_state(saved.generator);
    const auto best = saved.session.at("trainer.best");
    sums_.load(saved.session);
    seconds_before_ = saved.session.at("trainer.seconds").item<double>();
    if (const auto scaler = saved.session.find("trainer.scaler"); scaler != saved.session.end())
      scaler_.load(scaler->second);
    best_ = {best[0].item<double>(), best[1].item<double>(), best[2].item<double>() != 0};
    tell("resumed at epoch " + std::to_string(session_->state().epoch()));
  }

  std::filesystem::path path(const std::string& name) const {
    return options_.output / "checkpoints" / (name + ".safetensors");
  }

  struct Best {
    double metric = -1, sparsity = -1;
    bool quantized = false;
  };

  TrainOptions options_;
  TrainEvents events_;
  torch::Device device_;
  Precision precision_;
  std::shared_ptr<Task> task_;
  Network& network_;
  GradientScaler scaler_;
  std::unique_ptr<torch::optim::Optimizer> optimizer_;
  std::optional<LearningRateSchedule> schedule_;
  std::optional<ModelEma> ema_;
  std::size_t notes_told_ = 0;
  std::unique_ptr<Session> session_;
  FigureSums sums_;
  double seconds_before_ = 0;  ///< of earlier parts of the epoch, before interruptions
  Best best_;
};

Trainer::Trainer(std::shared_ptr<Task> task, const Recipe& recipe, TrainOptions options, TrainEvents events)
    : impl_(std::make_unique<Impl>(std::move(task), recipe, std::move(options), std::move(events))) {}
Trainer::~Trainer() = default;
TrainResult Trainer::run() { return impl_->run(); }
void Trainer::apply_once(const CalibrationOptions& options) { impl_->apply_once(options); }
Evaluation Trainer::evaluate() { return impl_->evaluate(); }
Session& Trainer::session() { return impl_->session(); }
Precision Trainer::precision() const { return impl_->precision(); }

}  // namespace sparsify
