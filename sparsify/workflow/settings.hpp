// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "sparsify/fields.hpp"
#include "sparsify/load_recipe.hpp"
#include "sparsify/trainers/trainer.hpp"
#include "sparsify/window.hpp"

namespace sparsify {

/// What a training run is asked to do: each field is a command-line flag, a key of a recipe's `run:` mapping,
/// and an entry of config.json, all of one name (flags with '-' for '_').
struct Settings {
  std::string model, weights, data, hyp = "none", target, baseline = "none", distill_teacher = "none", output;
  std::int64_t epochs = 0, batch_size = 128, nbs = 64, image_size = 0, seed = 0, workers = 2;
  std::string optimizer = "sgd", lr_schedule = "cosine", augment = "auto", device = "auto",
              precision = "auto";
  double lr = 0.1, lrf = 0, momentum = 0.9, weight_decay = 5e-4, warmup_epochs = 0, warmup_bias_lr = 0,
         warmup_momentum = 0, label_smoothing = 0, ema_decay = 0, multi_scale = 0;
  bool nesterov = true, autoanchor = true;
  /// Where each value that was given stands: "--lr", or "my.yaml:3:7" for one of a recipe.
  std::map<std::string, std::string> places{};

  template <class Visitor>
  void fields(Visitor& visit) {
    visit("model", model, "network by name (see above), or a detector's .cfg or .yaml");
    visit(
        "weights", weights,
        "start from these: .safetensors, .pt, .pth, a checkpoint of a run, or darknet's .weights, also of a "
        "backbone alone (darknet53.conv.74)");
    visit(
        "data", data,
        "image folder, CIFAR archive, or generated[:train=N,val=N,seed=N]; for detectors a data.yaml, COCO's "
        "JSON, or a folder of YOLO or Pascal VOC labels");
    visit("hyp", hyp, "hyper-parameters of a detector: a hyp.yaml with lr0, box, mosaic ..., or none");
    visit("image_size", image_size, "side of the network's input in pixels; 0: usual for the data",
          at_least(0));
    visit("multi_scale", multi_scale,
          "of detectors: batches' image sizes differ from image_size by up to this part; 0: no",
          at_least(0).below(1));
    visit("autoanchor", autoanchor,
          "fit a detector's anchors to the training boxes where they do not fit and its heads are new");
    visit("epochs", epochs, "passes over the training images; 0: as many as the recipe needs",
          at_least(0).up_to(kMostEpochs));
    visit("batch_size", batch_size, "images per step; for detectors, images at once", at_least(1));
    visit("nbs", nbs, "nominal batch size of detectors: gradients of as many images make a step",
          at_least(1));
    visit("optimizer", optimizer, "sgd or adamw", one_of({"sgd", "adamw"}));
    visit("lr", lr, "highest learning rate; a recipe's learning-rate modifiers override it", above(0));
    visit("lrf", lrf, "where cosine and linear schedules end, a part of lr", at_least(0).up_to(1));
    visit("lr_schedule", lr_schedule, "cosine, linear or constant", one_of({"cosine", "linear", "constant"}));
    visit("warmup_epochs", warmup_epochs,
          "epochs over which the learning rate rises from 0; of detectors at most a tenth of all",
          at_least(0).up_to(kMostEpochs));
    visit("warmup_bias_lr", warmup_bias_lr,
          "where the learning rate of biases begins to warm up; default: 0, of detectors as hyp says",
          at_least(0));
    visit("warmup_momentum", warmup_momentum,
          "where the momentum begins to warm up, 0: not at all; default: 0, of detectors as hyp says",
          at_least(0).below(1));
    visit("momentum", momentum, "of sgd", at_least(0).below(1));
    visit("nesterov", nesterov, "Nesterov's momentum for sgd");
    visit("weight_decay", weight_decay, "on weights with two dimensions or more", at_least(0));
    visit("label_smoothing", label_smoothing, "0 to below 1", at_least(0).below(1));
    visit("ema_decay", ema_decay, "average the weights with this decay and deploy the average; 0: no",
          at_least(0).below(1));
    visit("augment", augment, "auto (usual for the data) or none", one_of({"auto", "none"}));
    visit("seed", seed, "of weights, order and augmentation", at_least(0));
    visit("device", device, "auto, cpu, cuda or cuda:<i>");
    visit("precision", precision, "auto, fp32, bf16 or fp16; auto is bf16 where the hardware has it",
          one_of({"auto", "fp32", "bf16", "fp16"}));
    visit("workers", workers, "threads that prepare images", at_least(0).up_to(256));
    visit("target", target,
          "engines the exported model is for: cpu or gpu; default: the recipe's scheme, else cpu",
          one_of({"cpu", "gpu"}));
    visit("baseline", baseline, "run directory of a dense run of equal budget to compare with, or none");
    visit("distill_teacher", distill_teacher,
          "run or checkpoint of a dense model, or darknet's .weights beside their .cfg, whose outputs the "
          "recipe's DistillationModifier learns from, or none");
    visit("output", output, "run directory; default: runs/<recipe>");
  }
};

/// Sets the fields named in `values`; throws InputError naming the place of every text that is not of its
/// field's type.
void read_texts(Settings& settings, const std::map<std::string, RunDefault>& values);

nlohmann::json to_json(Settings settings);
/// Throws InputError naming `where` for entries that are missing or of another type.
Settings settings_from_json(const nlohmann::json& entries, const std::string& where);

/// The flag of a setting, without its dashes: "batch-size" for batch_size.
std::string flag_of(std::string name);

/// For messages about a setting: "my.yaml:3:7: run: lr" for a value of a recipe, else its flag, "--lr".
std::string place_of(const Settings& settings, const std::string& name);

/// Throws InputError that names all values outside their range, each with its place. Files and devices, which
/// one machine has and another has not, are not looked for.
void check_ranges(const Settings& settings);
/// The same, and for what training cannot do without.
void check(const Settings& settings);

/// The part that the training loop takes.
TrainOptions train_options(const Settings& settings);

}  // namespace sparsify
