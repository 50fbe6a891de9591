// SPDX-License-Identifier: Apache-2.0
#include <sparsify/trainers/image.hpp>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <fstream>
#include <memory>
#include <string_view>

#include <stb/stb_image.h>
#include <stb/stb_image_resize2.h>
#include <turbojpeg.h>

#include <sparsify/error.hpp>

namespace sparsify::trainers {
namespace {

// A header may claim any size; this bounds what we allocate before the data have proved it.
constexpr int64_t kMaxPixels = int64_t{1} << 28;

void check_size(int64_t height, int64_t width, const std::string& name) {
  if (height < 1 || width < 1 || height * width > kMaxPixels)
    throw Error(name + ": image of " + std::to_string(width) + " x " + std::to_string(height) +
                " pixels; expected 1 to " + std::to_string(kMaxPixels) + " pixels");
}

std::unique_ptr<void, int (*)(void*)>& thread_decoder() {
  thread_local std::unique_ptr<void, int (*)(void*)> handle(tjInitDecompress(), tjDestroy);
  return handle;
}

tjhandle jpeg_decoder() { return thread_decoder().get(); }

// A decoder that failed would go on in the broken file's header when given the next file.
[[noreturn]] void fail_and_renew_decoder(const std::string& message) {
  thread_decoder().reset(tjInitDecompress());
  throw Error(message);
}

// libjpeg warns about much that is harmless (odd metadata), but missing data show up as grey pixels.
bool is_damage(std::string_view message) {
  return message.find("remature end") != std::string_view::npos ||
         message.find("bad Huffman") != std::string_view::npos ||
         message.find("bad progression") != std::string_view::npos;
}

int reduction(int64_t shorter_side, int64_t at_least) {
  int divisor = 1;
  while (at_least > 0 && divisor < 8 && shorter_side / (divisor * 2) >= at_least) divisor *= 2;
  return divisor;
}

std::vector<uint8_t> cmyk_to_rgb(const std::vector<uint8_t>& cmyk) {
  std::vector<uint8_t> rgb(cmyk.size() / 4 * 3);
  for (size_t i = 0; i < cmyk.size() / 4; ++i)  // Adobe stores CMYK inverted: 255 is no ink
    for (size_t c = 0; c < 3; ++c)
      rgb[i * 3 + c] = static_cast<uint8_t>((cmyk[i * 4 + c] * cmyk[i * 4 + 3] + 127) / 255);
  return rgb;
}

struct JpegHeader {
  int width = 0, height = 0;
  bool cmyk = false;
};

JpegHeader read_jpeg_header(std::span<const std::byte> bytes, const std::string& name) {
  JpegHeader header;
  int subsampling = 0, colorspace = 0;
  tjhandle decoder = jpeg_decoder();
  const int status =
      tjDecompressHeader3(decoder, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(),
                          &header.width, &header.height, &subsampling, &colorspace);
  if (status != 0 && tjGetErrorCode(decoder) != TJERR_WARNING)
    fail_and_renew_decoder(name + ": broken JPEG header: " + tjGetErrorStr2(decoder));
  if (header.width < 1 || header.height < 1)  // at most a warning to libjpeg
    fail_and_renew_decoder(name + ": broken JPEG header: says no size, or is cut off");
  check_size(header.height, header.width, name);
  header.cmyk = colorspace == TJCS_CMYK || colorspace == TJCS_YCCK;
  return header;
}

Image decode_jpeg(std::span<const std::byte> bytes, const std::string& name, int64_t at_least) {
  const auto [width, height, cmyk] = read_jpeg_header(bytes, name);
  const auto* data = reinterpret_cast<const unsigned char*>(bytes.data());
  tjhandle decoder = jpeg_decoder();
  tjscalingfactor factor{1, reduction(std::min(height, width), at_least)};
  int out_width = TJSCALED(width, factor);
  int out_height = TJSCALED(height, factor);
  int format = cmyk ? TJPF_CMYK : TJPF_RGB;
  std::vector<uint8_t> pixels(static_cast<size_t>(out_width) * out_height * (cmyk ? 4 : 3));
  if (tjDecompress2(decoder, data, bytes.size(), pixels.data(), out_width, 0, out_height, format, 0) != 0) {
    std::string message = tjGetErrorStr2(decoder);
    if (tjGetErrorCode(decoder) != TJERR_WARNING || is_damage(message))
      fail_and_renew_decoder(name + ": broken JPEG: " + message);
  }
  return {out_height, out_width, cmyk ? cmyk_to_rgb(pixels) : std::move(pixels)};
}

std::pair<int, int> read_other_size(std::span<const std::byte> bytes, const std::string& name) {
  if (bytes.size() > INT_MAX) throw Error(name + ": larger than 2 GiB");
  int width = 0, height = 0, channels = 0;
  if (!stbi_info_from_memory(reinterpret_cast<const stbi_uc*>(bytes.data()), static_cast<int>(bytes.size()),
                             &width, &height, &channels))
    throw Error(name + ": not an image that can be read; expected JPEG, PNG or BMP");
  check_size(height, width, name);
  return {height, width};
}

Image decode_other(std::span<const std::byte> bytes, const std::string& name) {
  auto [height, width] = read_other_size(bytes, name);
  const auto* data = reinterpret_cast<const stbi_uc*>(bytes.data());
  const int size = static_cast<int>(bytes.size());
  int channels = 0;
  std::unique_ptr<stbi_uc, void (*)(void*)> pixels(
      stbi_load_from_memory(data, size, &width, &height, &channels, 3), stbi_image_free);
  if (!pixels) throw Error(name + ": broken image: " + stbi_failure_reason());
  return {height, width, std::vector<uint8_t>(pixels.get(), pixels.get() + int64_t{3} * height * width)};
}

STBIR_RESIZE prepare(const uint8_t* input, int64_t height, int64_t width, int64_t row_bytes, uint8_t* output,
                     int64_t out_height, int64_t out_width) {
  STBIR_RESIZE job;
  stbir_resize_init(&job, input, static_cast<int>(width), static_cast<int>(height),
                    static_cast<int>(row_bytes), output, static_cast<int>(out_width),
                    static_cast<int>(out_height), 0, STBIR_RGB, STBIR_TYPE_UINT8);
  stbir_set_filters(&job, STBIR_FILTER_TRIANGLE, STBIR_FILTER_TRIANGLE);
  return job;
}

void run(STBIR_RESIZE& job) {
  if (!stbir_resize_extended(&job)) throw Error("resizing an image failed: out of memory");
}

bool is_jpeg(std::span<const std::byte> bytes, const std::string& name) {
  if (bytes.empty()) throw Error(name + ": empty; expected a JPEG, PNG or BMP image");
  return bytes.size() > 2 && bytes[0] == std::byte{0xFF} && bytes[1] == std::byte{0xD8};
}

// Valid until the thread's next call.
std::span<const std::byte> read_file(const std::string& path) {
  thread_local std::vector<char> buffer;
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) throw Error(path + ": cannot be opened: " + std::strerror(errno));
  auto size = static_cast<std::streamoff>(file.tellg());
  if (size < 0) throw Error(path + ": cannot be read");
  buffer.resize(static_cast<size_t>(size));
  file.seekg(0);
  if (!file.read(buffer.data(), size)) throw Error(path + ": cannot be read");
  return std::as_bytes(std::span<const char>(buffer));
}

}  // namespace

Image::Image(int64_t height, int64_t width, std::vector<uint8_t> rgb)
    : height_(height), width_(width), storage_(std::move(rgb)) {
  if (static_cast<int64_t>(storage_.size()) != height * width * 3)
    throw Error("an image of " + std::to_string(width) + " x " + std::to_string(height) + " pixels needs " +
                std::to_string(height * width * 3) + " bytes, got " + std::to_string(storage_.size()));
  rgb_ = storage_.data();
}

Image Image::view(int64_t height, int64_t width, const uint8_t* rgb) {
  Image image;
  image.height_ = height;
  image.width_ = width;
  image.rgb_ = rgb;
  return image;
}

Image& Image::operator=(Image&& other) noexcept {
  height_ = std::exchange(other.height_, 0);
  width_ = std::exchange(other.width_, 0);
  rgb_ = std::exchange(other.rgb_, nullptr);
  storage_ = std::move(other.storage_);  // a moved vector keeps its address
  return *this;
}

Image decode_image(std::span<const std::byte> bytes, const std::string& name, int64_t at_least) {
  return is_jpeg(bytes, name) ? decode_jpeg(bytes, name, at_least) : decode_other(bytes, name);
}

std::pair<int64_t, int64_t> read_image_size(const std::string& path) {
  const auto bytes = read_file(path);
  if (!is_jpeg(bytes, path)) return read_other_size(bytes, path);
  const auto header = read_jpeg_header(bytes, path);
  return {header.height, header.width};
}

Image load_image(const std::string& path, int64_t at_least) {
  return decode_image(read_file(path), path, at_least);
}

Image resize(const Image& image, Box source, int64_t height, int64_t width) {
  std::vector<uint8_t> output(static_cast<size_t>(height * width * 3));
  auto job = prepare(image.pixel(source.top, source.left), source.height, source.width, image.width() * 3,
                     output.data(), height, width);
  run(job);
  return {height, width, std::move(output)};
}

Image resize_window(const Image& image, int64_t height, int64_t width, Box window) {
  std::vector<uint8_t> output(static_cast<size_t>(window.height * window.width * 3));
  auto job =
      prepare(image.rgb(), image.height(), image.width(), 0, output.data(), window.height, window.width);
  auto h = static_cast<double>(height);
  auto w = static_cast<double>(width);
  stbir_set_input_subrect(&job, window.left / w, window.top / h, (window.left + window.width) / w,
                          (window.top + window.height) / h);
  run(job);
  return {window.height, window.width, std::move(output)};
}

}  // namespace sparsify::trainers
