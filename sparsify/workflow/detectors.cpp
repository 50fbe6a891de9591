// SPDX-License-Identifier: Apache-2.0
#include "workflow/detectors.hpp"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "sparsify/detection/change_classes.hpp"
#include "sparsify/detection/darknet.hpp"
#include "sparsify/detection/detection_task.hpp"
#include "sparsify/detection/ultralytics.hpp"
#include "sparsify/trainers/model.hpp"
#include "sparsify/trainers/weights.hpp"
#include "workflow/check_anchors.hpp"
#include "workflow/darknet_files.hpp"
#include "workflow/data_report.hpp"
#include "workflow/input_error.hpp"
#include "workflow/run_directory.hpp"
#include "workflow/saved_model.hpp"

namespace sparsify {
namespace {

namespace fs = std::filesystem;
using detection::Detector;

const trainers::Normalization kNoNormalization{{0, 0, 0}, {1, 1, 1}};
constexpr std::int64_t kUsualBatch = 16, kUsualSize = 640;

bool is_file(const std::string& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored);
}

std::string extension_of(const std::string& model) { return fs::path(model).extension().string(); }

// Empty for the models of our own, which the name alone describes.
std::string definition_of(const std::string& model) {
  if (!is_file(model)) return "";
  std::ostringstream text;
  text << std::ifstream(model).rdbuf();
  return text.str();
}

// Theirs are the layers of a .cfg, one after the other.
void load_darknet(Detector& detector, const std::string& model, const fs::path& weights) {
  if (extension_of(model) != ".cfg")
    throw Error(weights.string() + ": darknet's weights are read by the .cfg that they were trained with; " +
                "expected --model FILE.cfg, got '" + model + "'");
  detection::load_darknet_weights(detector, weights);
}

// With the classes of its description.
std::shared_ptr<Detector> parse(const std::string& model, const std::string& definition) {
  if (extension_of(model) == ".cfg") {
    if (definition.empty()) throw Error(model + ": no such file");
    return detection::parse_darknet(definition, model);
  }
  return definition.empty() ? detection::build_ultralytics(model)
                            : detection::parse_ultralytics(definition, model);
}

std::int64_t classes_of(const Detector& detector) { return detector.heads().front().classes; }

void fit_classes(Detector& detector, std::int64_t classes) {
  if (classes_of(detector) != classes) detection::change_classes(detector, classes);
}

// The heads of a detector for other classes do not fit: those, and only those, keep their fresh weights.
std::vector<std::string> leave_out_heads(const Detector& detector, StateDict& weights) {
  std::set<std::int64_t> of_heads;
  for (const auto& head : detector.heads())
    of_heads.insert(static_cast<std::int64_t>(head.anchors.size()) * (5 + head.classes));
  std::vector<std::string> left;
  for (const auto& [name, value] : state_dict(detector)) {
    const auto found = weights.find(name);
    if (found == weights.end() || value.dim() == 0 || !of_heads.count(value.size(0)) ||
        found->second.sizes() == value.sizes())
      continue;
    found->second = value;
    left.push_back(name);
  }
  return left;
}

// A .cfg says its anchors apart from the weights: those that these were trained with come from their card.
void use_anchors_of(const fs::path& weights, Detector& detector) {
  if (const auto card = card_of_weights(weights); card && !card->anchors.empty())
    detector.set_anchors(card->anchors);
}

// Gives how many convolutions there are in the file.
std::int64_t load_darknet_layers(Detector& detector, const Settings& settings) {
  try {
    return detection::load_darknet_backbone(detector, settings.weights);
  } catch (const Error& error) {
    // The layers of other models follow another order after the backbone.
    const bool may_be_whole = is_darknet_file(settings.weights) && is_file(settings.weights);
    if (!may_be_whole || extension_of(settings.model) == ".cfg") throw;
    throw Error(std::string(error.what()) +
                "; .weights of a whole network are read by their .cfg: --model FILE.cfg");
  }
}

/// Darknet's, of the whole network or of its first layers. Gives whether the heads are theirs, too.
bool load_darknet_start(Detector& detector, const Settings& settings, std::int64_t classes,
                        const std::function<void(const std::string&)>& note) {
  const auto before = classes_of(detector), all = detection::darknet_convolutions(detector),
             loaded = load_darknet_layers(detector, settings);
  const bool is_whole = loaded == all && extension_of(settings.model) == ".cfg";  // others have more in heads
  fit_classes(detector, classes);
  if (!is_whole) {
    note("loaded the first " + std::to_string(loaded) + " of " + std::to_string(all) + " convolutions from " +
         settings.weights + "; the rest begins at random");
    return false;
  }
  note("loaded " + settings.weights);
  if (before != classes)
    note("the heads are new: the weights have " + std::to_string(before) + " classes, the data " +
         std::to_string(classes));
  return before == classes;
}

/// Gives whether the heads are the weights', too.
bool load_start_weights(Detector& detector, const Settings& settings, std::int64_t classes,
                        const std::function<void(const std::string&)>& note) {
  const auto& path = settings.weights;
  try {
    if (may_be_darknet_backbone(path)) return load_darknet_start(detector, settings, classes, note);
    fit_classes(detector, classes);
    auto weights = read_model_weights(path);
    const auto fresh = leave_out_heads(detector, weights);
    const auto report = load_weights(detector, weights);
    note("loaded " + std::to_string(report.loaded - static_cast<std::int64_t>(fresh.size())) +
         " tensors of " + path);
    if (fresh.empty())
      use_anchors_of(path, detector);
    else
      note("the heads are new, as the weights' have other classes");
    return fresh.empty();
  } catch (const Error& error) {
    throw InputError("--weights " + path + " for " + settings.model + ": " + error.what());
  }
}

detection::Hyperparameters hyperparameters(const Settings& settings,
                                           const std::function<void(const std::string&)>& note = {}) {
  return settings.hyp == "none" ? detection::Hyperparameters()
                                : detection::load_hyperparameters(settings.hyp, note);
}

detection::DetectionOptions options_from(const Settings& settings, std::int64_t image_size,
                                         const std::function<void(const std::string&)>& note) {
  detection::DetectionOptions options;
  options.batch_size = settings.batch_size;
  options.nominal_batch_size = settings.nbs;
  options.image_size = image_size;
  options.workers = settings.workers;
  options.seed = static_cast<std::uint64_t>(settings.seed);
  options.augment = settings.augment != "none";
  options.multi_scale = settings.multi_scale;
  options.hyp = hyperparameters(settings, note);
  return options;
}

// Where nothing else is asked for.
std::int64_t usual_size_of(const std::string& model, const Detector& detector) {
  if (extension_of(model) != ".cfg") return kUsualSize;
  if (detector.image_width == detector.image_height) return detector.image_width;
  throw InputError(model + ": width=" + std::to_string(detector.image_width) +
                   " and height=" + std::to_string(detector.image_height) +
                   ": expected square images, as others are not supported; --image-size overrides both");
}

// Between other multiples, maps that are joined would differ in size.
std::int64_t image_size_of(const Settings& settings, const Detector& detector) {
  const bool given = settings.image_size > 0;
  const auto size = given ? settings.image_size : usual_size_of(settings.model, detector);
  if (size % detector.largest_stride == 0) return size;
  throw InputError((given ? place_of(settings, "image_size") : settings.model + ": size of images") +
                   ": expected a multiple of " + std::to_string(detector.largest_stride) +
                   " (the network's largest stride), got " + std::to_string(size) +
                   (given ? "" : "; --image-size overrides it"));
}

// Weights, or none, and anchors: other ones than heads were trained with would spoil them.
void start_new(Detector& detector, const detection::DetectionDataset& images, std::int64_t image_size,
               const Settings& settings, const std::function<void(const std::string&)>& note) {
  bool brings_heads = false;
  if (settings.weights.empty())
    fit_classes(detector, images.classes());
  else
    brings_heads = load_start_weights(detector, settings, images.classes(), note);
  detection::AutoAnchorOptions options;
  options.anchor_t = hyperparameters(settings).anchor_t;
  options.seed = static_cast<std::uint64_t>(settings.seed);
  const std::string why_kept = brings_heads           ? "the heads were trained with them"
                               : !settings.autoanchor ? "autoanchor is false"
                                                      : "";
  check_anchors(detector, images, image_size, options, why_kept, note);
}

// The weights themselves follow when the checkpoint is loaded.
void go_on(Detector& detector, const detection::DetectionDataset& images, const Settings& settings) {
  fit_classes(detector, images.classes());
  use_anchors_of(RunDirectory(settings.output).last(), detector);
}

}  // namespace

bool is_detector(const std::string& model) {
  const auto extension = extension_of(model);
  if (extension == ".cfg" || extension == ".yaml" || extension == ".yml") return true;
  const auto ours = detection::builtin_ultralytics_models();
  return std::find(ours.begin(), ours.end(), model) != ours.end();
}

void use_detector_defaults(Settings& settings) {
  const auto hyp = as_input([&] { return hyperparameters(settings); });
  const auto usual = [&](const char* name, auto& setting, auto value) {
    if (!settings.places.count(name)) setting = value;
  };
  usual("batch_size", settings.batch_size, kUsualBatch);
  usual("lr", settings.lr, hyp.lr0);
  usual("lrf", settings.lrf, hyp.lrf);
  usual("momentum", settings.momentum, hyp.momentum);
  usual("weight_decay", settings.weight_decay, hyp.weight_decay);
  usual("lr_schedule", settings.lr_schedule, "linear");
  usual("ema_decay", settings.ema_decay, 0.9999);
  const double tenth = std::max(1.0, static_cast<double>(settings.epochs)) / 10;
  usual("warmup_bias_lr", settings.warmup_bias_lr, hyp.warmup_bias_lr);
  usual("warmup_momentum", settings.warmup_momentum, hyp.warmup_momentum);
  usual("warmup_epochs", settings.warmup_epochs, std::min(hyp.warmup_epochs, tenth));
}

OpenedTask open_detection(const Settings& settings, bool load,
                          const std::function<void(const std::string&)>& note) {
  OpenedTask opened;
  const auto definition = definition_of(settings.model);
  torch::manual_seed(static_cast<std::uint64_t>(settings.seed));
  const auto detector = parse(settings.model, definition);
  const auto image_size = image_size_of(settings, *detector);
  const auto data = detection::open_detection_datasets(settings.data);
  tell_findings(data.findings, true, note);
  tell_classes(data.train->class_names(), data.found_objects, note);
  load ? start_new(*detector, *data.train, image_size, settings, note)
       : go_on(*detector, *data.train, settings);
  opened.data_report = data_report(settings.data, data.findings);
  opened.card.model = settings.model;
  opened.card.definition = definition;
  opened.card.num_classes = data.train->classes();
  opened.card.image_size = image_size;
  opened.card.normalization = kNoNormalization;
  opened.card.class_names = data.train->class_names();
  opened.card.anchors = detector->anchors();
  opened.card.data = settings.data;
  opened.data = std::make_shared<ObjectData>(
      data, detection::BoxReader{detector->heads(), detection::BoxOutput::kDecoded}, image_size,
      detector->largest_stride);
  opened.describe = describe_data(data.train->size(), data.val->size(), opened.card);
  opened.task =
      std::make_shared<detection::DetectionTask>(detector, data, options_from(settings, image_size, note));
  return opened;
}

std::shared_ptr<Detector> build_detector(const ModelCard& card) {
  const auto detector = parse(card.model, card.definition);
  fit_classes(*detector, card.num_classes);
  if (!card.anchors.empty()) detector->set_anchors(card.anchors);
  return detector;
}

std::shared_ptr<Detector> build_detector(const std::string& model) {
  return parse(model, definition_of(model));
}

std::shared_ptr<Detector> open_detector_weights(const std::string& model, const fs::path& weights,
                                                std::int64_t image_size, ModelCard& card) {
  card.model = model;
  card.definition = definition_of(model);
  const auto detector = parse(model, card.definition);
  Settings settings;
  settings.model = model, settings.image_size = image_size;
  card.image_size = image_size_of(settings, *detector);
  if (may_be_darknet_backbone(weights) && !is_darknet_file(weights))
    throw Error(weights.string() + ": holds a backbone alone; expected weights of the whole network");
  if (is_darknet_file(weights)) {
    load_darknet(*detector, model, weights);
  } else {
    load_weights(*detector, read_model_weights(weights));
    use_anchors_of(weights, *detector);
  }
  card.num_classes = classes_of(*detector);
  card.anchors = detector->anchors();
  card.normalization = kNoNormalization;
  use_channels_last(*detector);
  detector->eval();
  return detector;
}

detection::BoxReader reader_of(const Network& network) {
  return {dynamic_cast<const Detector&>(network).heads()};
}

detection::BoxReader reader_of(const ModelCard& card) { return {build_detector(card)->heads(), card.boxes}; }

std::shared_ptr<const DataSource> open_objects_for(const ModelCard& card, const std::string& spec,
                                                   const std::function<void(const std::string&)>& note) {
  auto data = detection::open_detection_datasets(spec);
  if (data.val->classes() != card.num_classes)
    throw Error("data '" + spec + "' has " + std::to_string(data.val->classes()) + " classes, the detector " +
                std::to_string(card.num_classes));
  tell_findings(data.findings, false, note);
  const auto detector = build_detector(card);
  return std::make_shared<ObjectData>(std::move(data), detection::BoxReader{detector->heads(), card.boxes},
                                      card.image_size, detector->largest_stride);
}

}  // namespace sparsify
