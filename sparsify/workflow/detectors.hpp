// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "sparsify/detection/box_output.hpp"
#include "sparsify/detection/detector.hpp"
#include "workflow/data_source.hpp"
#include "workflow/networks.hpp"
#include "workflow/object_data.hpp"

namespace sparsify {

/// Whether a model's name is one of a detector: a darknet .cfg, an Ultralytics .yaml, or one of ours
/// (yolov3).
bool is_detector(const std::string& model);

/// What training a detector begins with where nothing else is given: the values of the hyper-parameters, and
/// the batch and image size that are usual for it. Throws InputError for a file of hyper-parameters that
/// cannot be read.
void use_detector_defaults(Settings& settings);

/// See open_task, for a detector.
OpenedTask open_detection(const Settings& settings, bool load,
                          const std::function<void(const std::string&)>& note);

std::shared_ptr<detection::Detector> build_detector(const ModelCard& card);
/// By file or name, with the classes it says.
std::shared_ptr<detection::Detector> build_detector(const std::string& model);

/// A detector by its file with weights of another, in eval mode; fills its card. `image_size` 0: as the file
/// says. Throws Error, also for a size that is no multiple of the network's largest stride.
std::shared_ptr<detection::Detector> open_detector_weights(const std::string& model,
                                                           const std::filesystem::path& weights,
                                                           std::int64_t image_size, ModelCard& card);

/// How to read the raw maps of a detector. Throws std::bad_cast for any other network.
detection::BoxReader reader_of(const Network& network);
/// How to read what comes of a detector, by its card; builds one to ask it.
detection::BoxReader reader_of(const ModelCard& card);

/// Opens images with objects for a detector's card; see open_data_for.
std::shared_ptr<const DataSource> open_objects_for(const ModelCard& card, const std::string& spec,
                                                   const std::function<void(const std::string&)>& note);

}  // namespace sparsify
