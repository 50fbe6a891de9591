// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "command_line.hpp"
#include "number_text.hpp"
#include "sparsify/detection/boxes.hpp"

namespace sparsify {

/// Declares the options of non-maximum suppression; `with` says when they mean something.
inline void declare_nms_options(CommandLine& line, const std::string& group, const std::string& with = "") {
  line.option(group, "conf", with + "smallest score (default: 0.25)", "X");
  line.option(group, "iou", with + "boxes of a class that overlap more are one object (default: 0.45)", "X");
  line.option(group, "max-det", with + "boxes in an image at most (default: 300)", "N");
}

inline void read_fraction(const CommandLine& line, const std::string& name, double& value) {
  if (line.given(name))
    value = parse_number(line.text(name), "--" + name, "a number from 0 to 1",
                         [](double number) { return number >= 0 && number <= 1; });
}

/// What is given replaces what stands in `options`. Throws InputError.
inline void read_nms_options(const CommandLine& line, detection::NmsOptions& options) {
  read_fraction(line, "conf", options.confidence);
  read_fraction(line, "iou", options.iou);
  options.max_det = line.integer("max-det", options.max_det, 1, 100'000);
}

}  // namespace sparsify
