// SPDX-License-Identifier: Apache-2.0
// A small detector by a .cfg, pictures for it to learn from, and what is said of its results.
#pragma once

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <cmath>
#include <cstdint>
#include <string>
#include <tuple>

#include <nlohmann/json.hpp>

#include "run_program.hpp"

namespace cli {

inline constexpr int kSide = 64;

inline constexpr const char* kDetector =
    "[net]\nwidth=64\nheight=64\nchannels=3\n"
    "[convolutional]\nbatch_normalize=1\nfilters=16\nsize=3\nstride=2\npad=1\nactivation=relu\n"
    "[convolutional]\nbatch_normalize=1\nfilters=32\nsize=3\nstride=2\npad=1\nactivation=relu\n"
    "[convolutional]\nbatch_normalize=1\nfilters=32\nsize=3\nstride=2\npad=1\nactivation=relu\n"
    "[convolutional]\nbatch_normalize=1\nfilters=32\nsize=3\nstride=1\npad=1\nactivation=relu\n"
    "[convolutional]\nfilters=14\nsize=1\nstride=1\npad=1\nactivation=linear\n"
    "[yolo]\nmask=0,1\nanchors=26,14, 14,26\nclasses=2\nnum=2\nscale_x_y=2.0\n";

inline constexpr const char* kRecipe =
    "version: 1\n"
    "num_epochs: 14\n"
    "run: {model: tiny.cfg, data: data, epochs: eval(num_epochs), batch_size: 8, nbs: 8, lr: 0.02, augment: "
    "none,\n"
    "      ema_decay: 0}\n"
    "pruning_modifiers:\n"
    "  - MagnitudePruningModifier: {params: __ALL_PRUNABLE__, exclude: [__FIRST__, __LAST__], init_sparsity: "
    "0.2,\n"
    "      final_sparsity: 0.6, start_epoch: 2, end_epoch: eval(0.5 * num_epochs), update_frequency: 0.5}\n"
    "quantization_modifiers:\n"
    "  - QuantizationModifier: {scheme: cpu, start_epoch: eval(0.7 * num_epochs)}\n";

struct Rectangle {
  int left, top, width, height;
};

struct Size {
  int width, height;
};

/// A 24-bit BMP, dark with a bright rectangle: red for class 0, blue for class 1. Its width is a multiple
/// of 4.
inline void write_picture(const fs::path& path, const Size& size, const Rectangle& object, int label) {
  const auto number = [](std::uint32_t value, int bytes) {
    std::string text;
    for (int i = 0; i < bytes; ++i) text += static_cast<char>(value >> (8 * i));
    return text;
  };
  const auto pixels = static_cast<std::uint32_t>(size.width * size.height * 3);
  std::string file = "BM" + number(54 + pixels, 4) + number(0, 4) + number(54, 4) + number(40, 4) +
                     number(static_cast<std::uint32_t>(size.width), 4) +
                     number(static_cast<std::uint32_t>(size.height), 4) + number(1, 2) + number(24, 2) +
                     number(0, 4) + number(pixels, 4) + number(2835, 4) + number(2835, 4) + number(0, 4) +
                     number(0, 4);
  for (int row = size.height - 1; row >= 0; --row)  // rows of a BMP go upwards
    for (int column = 0; column < size.width; ++column) {
      const bool inside = row >= object.top && row < object.top + object.height && column >= object.left &&
                          column < object.left + object.width;
      const char dark = static_cast<char>(40), bright = static_cast<char>(230);
      file += {inside && label == 1 ? bright : dark, dark, inside && label == 0 ? bright : dark};
    }
  fs::create_directories(path.parent_path());
  write(path, file);
}

inline std::string label_line(const Size& size, const Rectangle& object, int label) {
  const auto part = [](int value, int of) { return " " + std::to_string(value / double(of)); };
  return std::to_string(label) + part(object.left + object.width / 2, size.width) +
         part(object.top + object.height / 2, size.height) + part(object.width, size.width) +
         part(object.height, size.height) + "\n";
}

/// A picture with its label: images/<name>.bmp and labels/<name>.txt.
inline void write_example(const fs::path& folder, const std::string& name, const Size& size,
                          const Rectangle& object, int label) {
  write_picture(folder / "images" / (name + ".bmp"), size, object, label);
  const auto labels = folder / "labels" / (name + ".txt");
  fs::create_directories(labels.parent_path());
  write(labels, label_line(size, object, label));
}

/// One wide red or high blue rectangle in each picture.
inline void write_data(const fs::path& folder) {
  for (const auto& [part, count, seed] : {std::tuple{"train", 64, 5}, std::tuple{"val", 16, 3}})
    for (int i = 0; i < count; ++i) {
      const int label = i % 2, across = label == 0 ? 26 : 14, down = label == 0 ? 14 : 26;
      const int place = i * 37 * seed;
      const Rectangle object{place % (kSide - across), (place / 7) % (kSide - down), across, down};
      write_example(folder, part + ("/" + std::to_string(i)), {kSide, kSide}, object, label);
    }
  write(folder / "data.names", "wide\nhigh\n");
}

/// Pictures of many shapes, with red squares that are 8 pixels wide in an input of 64 and lie alike in
/// squares and in rectangles. In batches of two, rectangles have 3072 pixels an image, squares 4096.
inline void write_shapes(const fs::path& folder) {
  for (const std::string part : {"train/", "val/"}) {
    write_example(folder, part + "square", {64, 64}, {8, 16, 8, 8}, 0);
    write_example(folder, part + "lying", {64, 32}, {56, 24, 8, 8}, 0);
    write_example(folder, part + "standing", {32, 64}, {24, 8, 8, 8}, 0);
    write_example(folder, part + "large", {128, 64}, {32, 16, 16, 16}, 0);
  }
  write(folder / "data.names", "wide\nhigh\n");
}

/// Curves, confusion matrix and pictures of a detector of wide and high rectangles.
inline void check_plots(const fs::path& folder) {
  for (const char* plot : {"PR_curve.svg", "F1_curve.svg", "confusion_matrix.svg"}) {
    INFO(plot);
    CHECK_THAT(read(folder / plot), Catch::Matchers::ContainsSubstring("<svg xmlns=") &&
                                        Catch::Matchers::ContainsSubstring("wide") &&
                                        Catch::Matchers::ContainsSubstring("high") &&
                                        Catch::Matchers::ContainsSubstring("</svg>"));
  }
  CHECK_THAT(read(folder / "confusion_matrix.svg"), Catch::Matchers::ContainsSubstring("background"));
  for (const char* picture : {"labels.jpg", "predictions.jpg"}) {
    INFO(picture);
    REQUIRE(fs::exists(folder / picture));
    CHECK(fs::file_size(folder / picture) > 1000);
  }
}

/// By image: classes, and boxes to a hundredth of a pixel; engines compute a sigmoid each in their way.
inline bool are_same_objects(const nlohmann::json& some, const nlohmann::json& others) {
  if (some.size() != others.size()) return false;
  for (const auto& [image, objects] : some.items()) {
    const auto& there = others.at(image);
    if (objects.size() != there.size()) return false;
    for (std::size_t i = 0; i < objects.size(); ++i) {
      if (objects[i].at("class") != there[i].at("class")) return false;
      for (std::size_t side = 0; side < 4; ++side)
        if (std::abs(objects[i].at("box")[side].get<double>() - there[i].at("box")[side].get<double>()) >
            0.01)
          return false;
    }
  }
  return true;
}

}  // namespace cli
