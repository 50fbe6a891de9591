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
#include "sparsify/trainers/loader.hpp"
#include "sparsify/trainers/weights.hpp"

namespace sparsify {
namespace {

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

std::unique_ptr<trainers::Loader> train_loader(const trainers::Datasets& data, const TrainOptions& options) {
  auto loader = trainers::in_order(data, options.batch_size, options.workers);
  loader.shuffle = true;
  loader.drop_last =
      data.train->size() >= options.batch_size;  // batch norm must not see a batch of one image
  loader.seed = options.seed;
  if (options.augment) loader.augmentation = data.augmentation;
  return std::make_unique<trainers::Loader>(data.train, loader);
}

void check(const TrainOptions& options) {
  const auto at_least_1 = [](const char* name, int64_t value) {
    if (value < 1) throw Error(std::string(name) + ": expected at least 1, got " + std::to_string(value));
  };
  at_least_1("epochs", options.epochs);
  at_least_1("batch_size", options.batch_size);
  if (!(options.label_smoothing >= 0 && options.label_smoothing < 1))
    throw Error("label_smoothing: expected a number from 0 to below 1");
  if (options.workers < 0) throw Error("workers: expected 0 or more");
  if (options.warmup_epochs < 0 || options.warmup_epochs > static_cast<double>(options.epochs))
    throw Error("warmup_epochs: expected a number from 0 to the number of epochs");
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
  Impl(std::shared_ptr<Model> model, trainers::Datasets data, const Recipe& recipe, TrainOptions options,
       TrainEvents events)
      : options_((check(options), std::move(options))),
        events_(std::move(events)),
        device_(parse_device(options_.device)),
        precision_(parse_precision(options_.precision, device_)),
        model_(std::move(model)),
        data_(std::move(data)),
        loader_(train_loader(data_, options_)),
        scaler_(precision_ == Precision::kFp16 && device_.is_cuda()) {
    if (recipe.epochs() > options_.epochs)
      throw Error("epochs: the recipe needs " + std::to_string(recipe.epochs()) + ", got " +
                  std::to_string(options_.epochs));
    model_->to(device_);
    use_channels_last(*model_);
    optimizer_ = make_optimizer(*model_, options_.optimizer);
    if (!sets_learning_rate(recipe)) {
      schedule_ =
          LearningRateSchedule{options_.lr_schedule, options_.optimizer.lr, 0, options_.epochs * steps()};
      schedule_->warmup_steps = std::llround(options_.warmup_epochs * static_cast<double>(steps()));
      schedule_->check();
    }
    if (options_.ema_decay > 0) ema_.emplace(*model_, options_.ema_decay);
    session_ = std::make_unique<Session>(recipe, *model_, *optimizer_, steps());
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
        sums_.seconds += seconds_since(epoch_started);
        save("last");
        result.seconds = seconds_since(started);
        return result;
      }
      with_averaged_weights([&] { row->val = evaluate_as_trained(); });
      row->seconds = sums_.seconds + seconds_since(epoch_started);
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
      ema_->copy_to(*model_);
    }
    result.finished = true;
    result.seconds = seconds_since(started);
    return result;
  }

  void apply_once(const CalibrationOptions& options) {
    model_->eval();
    loader_->start_epoch(0);
    const auto example = loader_->next()->images.slice(0, 0, 1).to(device_);
    session_->apply_once([&] { model_->forward(example); });
    if (session_->find<Quantization>())
      for (const auto& note : calibrate(*session_, *model_, data_, options)) tell(note);
    tell_notes();
    session_->finish();
    save("last");
  }

  Evaluation evaluate() {
    model_->eval();
    return sparsify::evaluate(data_, options_.batch_size, options_.workers, [&](const auto& images) {
      return session_->evaluate([&] { return model_->forward(images.to(device_)); });
    });
  }

  Model& model() { return *model_; }
  Session& session() { return *session_; }
  Precision precision() const { return precision_; }

 private:
  int64_t steps() const { return loader_->steps_per_epoch(); }
  bool stop_requested() const { return events_.stop_requested && events_.stop_requested(); }
  void tell(const std::string& note) const {
    if (events_.note) events_.note(note);
  }

  void prepare_teacher() {
    const bool distills = session_->find<Distillation>() != nullptr;
    if (distills && !options_.teacher)
      throw Error("distill_teacher: the recipe has a DistillationModifier; expected a teacher to learn from");
    if (!distills && options_.teacher)
      throw Error(
          "distill_teacher: the recipe has no DistillationModifier, so nothing would be learnt from it");
    if (!distills) return;
    options_.teacher->to(device_);
    use_channels_last(*options_.teacher);
    options_.teacher->eval();
  }

  /// Trains what is left of an epoch; nothing when a stop was asked for.
  std::optional<EpochMetrics> train_epoch(int64_t epoch) {
    model_->train();
    const int64_t first = session_->state().step - epoch * steps();
    if (first == 0) sums_ = {};
    loader_->start_epoch(epoch, first);
    const auto started = Clock::now();
    int64_t seen = 0;
    for (int64_t step = first; const auto batch = loader_->next(); ++step) {
      if (schedule_)
        for (auto& group : optimizer_->param_groups())
          group.options().set_lr(schedule_->at(session_->state().step));
      train_step(*batch);
      seen += batch->labels.size(0);
      const double rate = static_cast<double>(seen) / seconds_since(started);
      if (events_.progress)
        events_.progress(
            {epoch, options_.epochs, step + 1, steps(), sums_.loss / std::max(1.0, sums_.images), rate});
      if (step + 1 < steps() && stop_requested()) return std::nullopt;
    }
    EpochMetrics row;
    row.epoch = epoch;
    row.train_loss = sums_.loss / std::max(1.0, sums_.images);
    row.train_top1 = sums_.correct / std::max(1.0, sums_.images);
    row.lr = optimizer_->param_groups().front().options().get_lr();
    row.sparsity = prunable_sparsity();
    row.quantized = quantized();
    row.images_per_second = static_cast<double>(seen) / seconds_since(started);
    return row;
  }

  void train_step(const trainers::Batch& batch) {
    const auto images = batch.images.to(device_, /*non_blocking=*/true);
    const auto labels = batch.labels.to(device_, /*non_blocking=*/true);
    const auto step = session_->begin_step();
    optimizer_->zero_grad();
    torch::Tensor logits;
    {
      const Autocast autocast(precision_, device_);
      logits = step.forward([&] { return model_->forward(images); });
      step.teach([&] { return options_.teacher->forward(images); });
    }
    logits = logits.to(torch::kFloat);
    const auto loss = step.loss(torch::nn::functional::cross_entropy(
        logits, labels,
        torch::nn::functional::CrossEntropyFuncOptions().label_smoothing(options_.label_smoothing)));
    if (const auto value = loss.item<double>(); !std::isfinite(value))
      throw Error("the loss is " + std::to_string(value) + " at epoch " +
                  std::to_string(session_->state().epoch()) + ": training diverged; lower the learning rate");
    else
      sums_.loss += value * static_cast<double>(labels.size(0));
    scaler_.scale(loss).backward();
    const auto rearrangements = session_->state().rearrangements;
    const bool finite = scaler_.unscale(*optimizer_);
    if (!finite) optimizer_->zero_grad();  // a step in which nothing moves
    step.optimize();
    scaler_.update(finite);
    if (ema_ && session_->state().rearrangements != rearrangements) ema_.emplace(*model_, options_.ema_decay);
    if (ema_) ema_->update(*model_);
    tell_notes();
    sums_.correct += logits.detach().argmax(1).eq(labels).sum().item<double>();
    sums_.images += static_cast<double>(labels.size(0));
  }

  Evaluation evaluate_as_trained() {
    model_->eval();
    const auto precision = quantized() ? Precision::kFp32 : precision_;  // what the exported model computes
    return sparsify::evaluate(data_, options_.batch_size, options_.workers, [&](const auto& images) {
      const Autocast autocast(precision, device_);
      return session_->evaluate([&] { return model_->forward(images.to(device_)); });
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
    ema_->swap(*model_);
    const struct Back {
      ModelEma& ema;
      Model& model;
      ~Back() { ema.swap(model); }
    } back{*ema_, *model_};
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
    saved.model = state_dict(*model_);
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
    saved.session["trainer.sums"] =
        torch::tensor({sums_.loss, sums_.correct, sums_.images, sums_.seconds}, torch::kDouble);
    saved.session["trainer.best"] =
        torch::tensor({best_.top1, best_.sparsity, best_.quantized ? 1.0 : 0.0}, torch::kDouble);
    save_checkpoint(path(name), saved);
  }

  /// `best` holds what is deployed: the averaged weights where there are.
  void note_best(const EpochMetrics& row) {
    const bool comparable = row.sparsity == best_.sparsity && row.quantized == best_.quantized;
    if (comparable && row.val.top1 <= best_.top1) return;
    best_ = {row.val.top1, row.sparsity, row.quantized};
    if (options_.output.empty()) return;
    with_averaged_weights([&] {
      auto saved = checkpoint();
      saved.metadata["val_top1"] = std::to_string(row.val.top1);
      save_checkpoint(path("best"), saved);
    });
  }

  void resume() {
    auto saved = load_checkpoint(path("last"));
    load_weights(*model_, saved.model);
    restore(*optimizer_, saved.optimizer);
    if (ema_) ema_->load(saved.ema, std::stoll(saved.metadata.at("ema_updates")));
    session_->load_state_dict(saved.session);
    auto generator = at::detail::getDefaultCPUGenerator();
    generator.set_state(saved.generator);
    const auto sums = saved.session.at("trainer.sums"), best = saved.session.at("trainer.best");
    sums_ = {sums[0].item<double>(), sums[1].item<double>(), sums[2].item<double>(), sums[3].item<double>()};
    if (const auto scaler = saved.session.find("trainer.scaler"); scaler != saved.session.end())
      scaler_.load(scaler->second);
    best_ = {best[0].item<double>(), best[1].item<double>(), best[2].item<double>() != 0};
    tell("resumed at epoch " + std::to_string(session_->state().epoch()));
  }

  std::filesystem::path path(const std::string& name) const {
    return options_.output / "checkpoints" / (name + ".safetensors");
  }

  struct Sums {
    double loss = 0, correct = 0, images = 0;
    double seconds = 0;  // of earlier parts of the epoch, before interruptions
  };
  struct Best {
    double top1 = -1, sparsity = -1;
    bool quantized = false;
  };

  TrainOptions options_;
  TrainEvents events_;
  torch::Device device_;
  Precision precision_;
  std::shared_ptr<Model> model_;
  trainers::Datasets data_;
  std::unique_ptr<trainers::Loader> loader_;
  GradientScaler scaler_;
  std::unique_ptr<torch::optim::Optimizer> optimizer_;
  std::optional<LearningRateSchedule> schedule_;
  std::optional<ModelEma> ema_;
  std::size_t notes_told_ = 0;
  std::unique_ptr<Session> session_;
  Sums sums_;
  Best best_;
};

Trainer::Trainer(std::shared_ptr<Model> model, trainers::Datasets data, const Recipe& recipe,
                 TrainOptions options, TrainEvents events)
    : impl_(std::make_unique<Impl>(std::move(model), std::move(data), recipe, std::move(options),
                                   std::move(events))) {}
Trainer::~Trainer() = default;
TrainResult Trainer::run() { return impl_->run(); }
void Trainer::apply_once(const CalibrationOptions& options) { impl_->apply_once(options); }
Evaluation Trainer::evaluate() { return impl_->evaluate(); }
Model& Trainer::model() { return impl_->model(); }
Session& Trainer::session() { return impl_->session(); }
Precision Trainer::precision() const { return impl_->precision(); }

}  // namespace sparsify
