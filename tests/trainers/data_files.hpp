// SPDX-License-Identifier: Apache-2.0
// Files and pixels that the data tests make for themselves.
#pragma once

#include <turbojpeg.h>

#include <catch2/catch_test_macros.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sparsify/error.hpp>
#include <sparsify/trainers/counter_rng.hpp>
#include <sparsify/trainers/image.hpp>
#include <string>
#include <vector>

namespace data_test {

namespace fs = std::filesystem;
using sparsify::Error;
using sparsify::trainers::CounterRng;
using sparsify::trainers::Image;

/// A folder that exists as long as the test.
class Scratch {
 public:
  Scratch() {
    std::string pattern = (fs::temp_directory_path() / "sparsify-data-XXXXXX").string();
    root_ = mkdtemp(pattern.data());
  }
  ~Scratch() { fs::remove_all(root_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  std::string path(const std::string& name = "") const { return (root_ / name).string(); }
  void write(const std::string& name, const std::string& bytes) const {
    fs::create_directories((root_ / name).parent_path());
    std::ofstream(root_ / name, std::ios::binary) << bytes;
  }

 private:
  fs::path root_;
};

inline std::vector<uint8_t> noise(int64_t count, uint64_t seed) {
  CounterRng rng(seed);
  std::vector<uint8_t> bytes(static_cast<size_t>(count));
  for (auto& byte : bytes) byte = static_cast<uint8_t>(rng.below(256));
  return bytes;
}

/// Smooth content, which survives JPEG and reduced decoding.
inline std::vector<uint8_t> gradient(int64_t height, int64_t width) {
  std::vector<uint8_t> rgb;
  for (int64_t y = 0; y < height; ++y)
    for (int64_t x = 0; x < width; ++x)
      for (int64_t value : {255 * x / width, 255 * y / height, int64_t{90}})
        rgb.push_back(static_cast<uint8_t>(value));
  return rgb;
}

inline std::string bmp(int32_t height, int32_t width, const std::vector<uint8_t>& rgb) {
  int32_t row = (width * 3 + 3) / 4 * 4;
  auto word = [](int32_t value, int bytes) {
    std::string text;
    for (int i = 0; i < bytes; ++i) text += static_cast<char>(value >> (8 * i) & 255);
    return text;
  };
  std::string file = "BM" + word(54 + row * height, 4) + word(0, 4) + word(54, 4) + word(40, 4) +
                     word(width, 4) + word(height, 4) + word(1, 2) + word(24, 2) + std::string(24, '\0');
  for (int32_t y = height - 1; y >= 0; --y) {
    std::string line;
    for (int32_t x = 0; x < width; ++x)
      for (int32_t c = 2; c >= 0; --c)
        line += static_cast<char>(rgb[static_cast<size_t>((y * width + x) * 3 + c)]);
    line.resize(static_cast<size_t>(row));
    file += line;
  }
  return file;
}

inline std::string jpeg(int height, int width, const std::vector<uint8_t>& pixels, int format = TJPF_RGB) {
  tjhandle encoder = tjInitCompress();
  unsigned char* data = nullptr;
  unsigned long size = 0;
  int status = tjCompress2(encoder, pixels.data(), width, 0, height, format, &data, &size,
                           format == TJPF_GRAY ? TJSAMP_GRAY : TJSAMP_444, 95, 0);
  REQUIRE(status == 0);
  std::string bytes(reinterpret_cast<char*>(data), size);
  tjFree(data);
  tjDestroy(encoder);
  return bytes;
}

inline std::vector<uint8_t> pixels_of(const Image& image) {
  return {image.rgb(), image.rgb() + image.height() * image.width() * 3};
}

inline std::string message_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace data_test
