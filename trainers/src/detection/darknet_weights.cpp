// SPDX-License-Identifier: Apache-2.0
#include "detection/blocks.hpp"
#include "sparsify/detection/darknet.hpp"
#include "sparsify/error.hpp"
#include "sparsify/trainers/atomic_file.hpp"
#include "weights/byte_reader.hpp"
#include "weights/read_whole.hpp"

namespace sparsify::detection {
namespace {

using Tensors = std::vector<torch::Tensor>;

// The tensors of a convolution in a file's order.
Tensors tensors_of(const ConvBlock& block) {
  if (const auto& bn = block.bn)
    return {bn->bias, bn->weight, bn->running_mean, bn->running_var, block.conv->weight};
  return {block.conv->bias, block.conv->weight};
}

// Convolutions, also those within blocks, in the order they are computed.
std::vector<Tensors> convolutions_of(const Detector& detector) {
  std::vector<Tensors> convolutions;
  for (const auto& block : detector.blocks())
    for (const auto& module : block->modules())
      if (const auto convolution = std::dynamic_pointer_cast<ConvBlock>(module))
        convolutions.push_back(tensors_of(*convolution));
  return convolutions;
}

// Of a network by a .cfg, whose blocks are those of the file.
std::vector<Tensors> all_convolutions_of(const Detector& detector, const std::filesystem::path& file) {
  for (const auto& block : detector.blocks())
    if (!block->parameters().empty() && !std::dynamic_pointer_cast<ConvBlock>(block))
      throw Error(file.string() +
                  ": darknet's weights need a network that was built from a .cfg; this one has other blocks");
  return convolutions_of(detector);
}

// "446 numbers", "446 numbers and 1 byte".
std::string amount(std::uint64_t bytes) {
  const auto rest = bytes % sizeof(float);
  return std::to_string(bytes / sizeof(float)) + " numbers" +
         (rest ? " and " + std::to_string(rest) + (rest == 1 ? " byte" : " bytes") : "");
}

// Why a file of `bytes` of numbers does not fit: no file that is whole ends within one.
std::string question(std::uint64_t bytes, const std::string& otherwise) {
  return bytes % sizeof(float) ? ": it was cut or is damaged" : otherwise;
}

std::uint64_t numbers_in(const Tensors& tensors) {
  std::uint64_t numbers = 0;
  for (const auto& tensor : tensors) numbers += static_cast<std::uint64_t>(tensor.numel());
  return numbers;
}

// Since version 0.2 the number of images has 64 bits.
bool has_long_counter(const DarknetHeader& header) { return header.major * 10 + header.minor >= 2; }

DarknetHeader read_header(weights::ByteReader& reader) {
  DarknetHeader header;
  header.major = reader.number<std::int32_t>();
  header.minor = reader.number<std::int32_t>();
  header.revision = reader.number<std::int32_t>();
  header.images_seen =
      has_long_counter(header) ? reader.number<std::uint64_t>() : reader.number<std::uint32_t>();
  return header;
}

void fill(const Tensors& tensors, weights::ByteReader& reader) {
  const torch::NoGradGuard no_grad;
  for (const auto& tensor : tensors) {
    const auto bytes = reader.take(static_cast<std::uint64_t>(tensor.numel()) * sizeof(float));
    auto values = torch::empty(tensor.sizes(), torch::kFloat);
    std::memcpy(values.data_ptr(), bytes.data(), bytes.size());
    tensor.copy_(values);
  }
}

}  // namespace

DarknetHeader load_darknet_weights(Detector& detector, const std::filesystem::path& file) {
  const auto convolutions = all_convolutions_of(detector, file);
  const auto content = weights::read_whole(file);
  weights::ByteReader reader(content, file.string());
  const auto header = read_header(reader);
  std::uint64_t expected = 0;
  for (const auto& tensors : convolutions) expected += numbers_in(tensors);
  if (const auto bytes = reader.remaining(); bytes != expected * sizeof(float))
    throw Error(file.string() + ": the network has " + std::to_string(expected) + " numbers, the file " +
                amount(bytes) + question(bytes, ": are they of the same configuration?"));
  for (const auto& tensors : convolutions) fill(tensors, reader);
  return header;
}

std::int64_t darknet_convolutions(const Detector& detector) {
  return static_cast<std::int64_t>(convolutions_of(detector).size());
}

std::int64_t load_darknet_backbone(Detector& detector, const std::filesystem::path& file) {
  const auto convolutions = convolutions_of(detector);
  const auto content = weights::read_whole(file);
  weights::ByteReader reader(content, file.string());
  read_header(reader);
  if (reader.remaining() == 0)
    throw Error(file.string() +
                ": holds a header and no weights; expected those of one convolution at least");
  std::size_t count = 0;
  std::uint64_t numbers = 0;
  while (count < convolutions.size() && numbers * sizeof(float) < reader.remaining())
    numbers += numbers_in(convolutions[count++]);
  if (const auto bytes = reader.remaining(); numbers * sizeof(float) != bytes)
    throw Error(file.string() + ": the file has " + amount(bytes) + ", the network up to its convolution " +
                std::to_string(count) + " has " + std::to_string(numbers) +
                question(bytes, ": is it of the same backbone?"));
  for (std::size_t i = 0; i < count; ++i) fill(convolutions[i], reader);
  return static_cast<std::int64_t>(count);
}

void save_darknet_weights(const Detector& detector, const std::filesystem::path& file,
                          const DarknetHeader& header) {
  const auto convolutions = all_convolutions_of(detector, file);
  AtomicFile out(file);
  out.write(&header.major, sizeof header.major);
  out.write(&header.minor, sizeof header.minor);
  out.write(&header.revision, sizeof header.revision);
  const auto short_counter = static_cast<std::uint32_t>(header.images_seen);
  if (has_long_counter(header))
    out.write(&header.images_seen, sizeof header.images_seen);
  else
    out.write(&short_counter, sizeof short_counter);
  for (const auto& tensors : convolutions)
    for (const auto& tensor : tensors) {
      const auto values = tensor.detach().to(torch::kCPU, torch::kFloat).contiguous();
      out.write(values.data_ptr(), values.nbytes());
    }
  out.commit();
}

}  // namespace sparsify::detection
