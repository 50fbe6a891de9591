// SPDX-License-Identifier: Apache-2.0
#include "detection/blocks.hpp"
#include "sparsify/detection/darknet.hpp"
#include "sparsify/error.hpp"
#include "sparsify/trainers/atomic_file.hpp"
#include "weights/byte_reader.hpp"
#include "weights/read_whole.hpp"

namespace sparsify::detection {
namespace {

// The tensors of a file in its order.
std::vector<torch::Tensor> tensors_of(const Detector& detector) {
  std::vector<torch::Tensor> tensors;
  for (const auto& block : detector.blocks()) {
    const auto convolution = std::dynamic_pointer_cast<ConvBlock>(block);
    if (!convolution) continue;
    if (const auto& bn = convolution->bn)
      tensors.insert(tensors.end(), {bn->bias, bn->weight, bn->running_mean, bn->running_var});
    else
      tensors.push_back(convolution->conv->bias);
    tensors.push_back(convolution->conv->weight);
  }
  return tensors;
}

// Since version 0.2 the number of images has 64 bits.
bool has_long_counter(const DarknetHeader& header) { return header.major * 10 + header.minor >= 2; }

}  // namespace

DarknetHeader load_darknet_weights(Detector& detector, const std::filesystem::path& file) {
  const auto content = weights::read_whole(file);
  weights::ByteReader reader(content, file.string());
  DarknetHeader header;
  header.major = reader.number<std::int32_t>();
  header.minor = reader.number<std::int32_t>();
  header.revision = reader.number<std::int32_t>();
  header.images_seen =
      has_long_counter(header) ? reader.number<std::uint64_t>() : reader.number<std::uint32_t>();
  const auto tensors = tensors_of(detector);
  std::uint64_t expected = 0;
  for (const auto& tensor : tensors) expected += static_cast<std::uint64_t>(tensor.numel());
  if (reader.remaining() != expected * sizeof(float))
    throw Error(file.string() + ": the network has " + std::to_string(expected) + " numbers, the file " +
                std::to_string(reader.remaining() / sizeof(float)) + ": are they of the same configuration?");
  const torch::NoGradGuard no_grad;
  for (auto tensor : tensors) {
    const auto bytes = reader.take(static_cast<std::uint64_t>(tensor.numel()) * sizeof(float));
    auto values = torch::empty(tensor.sizes(), torch::kFloat);
    std::memcpy(values.data_ptr(), bytes.data(), bytes.size());
    tensor.copy_(values);
  }
  return header;
}

void save_darknet_weights(const Detector& detector, const std::filesystem::path& file,
                          const DarknetHeader& header) {
  AtomicFile out(file);
  out.write(&header.major, sizeof header.major);
  out.write(&header.minor, sizeof header.minor);
  out.write(&header.revision, sizeof header.revision);
  const auto short_counter = static_cast<std::uint32_t>(header.images_seen);
  if (has_long_counter(header))
    out.write(&header.images_seen, sizeof header.images_seen);
  else
    out.write(&short_counter, sizeof short_counter);
  for (const auto& tensor : tensors_of(detector)) {
    const auto values = tensor.detach().to(torch::kCPU, torch::kFloat).contiguous();
    out.write(values.data_ptr(), values.nbytes());
  }
  out.commit();
}

}  // namespace sparsify::detection
