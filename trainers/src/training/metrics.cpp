// SPDX-License-Identifier: Apache-2.0
#include "sparsify/trainers/metrics.hpp"

#include <cstdio>
#include <fstream>

#include "sparsify/trainers/atomic_file.hpp"

namespace sparsify {
namespace {

constexpr const char* kHeader =
    "epoch,train_loss,train_top1,val_loss,val_top1,val_top5,lr,sparsity,quantized,images_per_second,seconds";

}  // namespace

MetricsFile::MetricsFile(std::filesystem::path path, int64_t first_epoch)
    : path_(std::move(path)), lines_{kHeader} {
  std::ifstream file(path_);
  std::string line;
  if (first_epoch == 0 || !std::getline(file, line)) return;
  while (std::getline(file, line))
    if (std::atoll(line.c_str()) < first_epoch) lines_.push_back(line);
}

void MetricsFile::append(const EpochMetrics& row) {
  char line[256];
  std::snprintf(line, sizeof line, "%lld,%.5f,%.5f,%.5f,%.5f,%.5f,%.6g,%.5f,%d,%.1f,%.2f",
                static_cast<long long>(row.epoch), row.train_loss, row.train_top1, row.val.loss, row.val.top1,
                row.val.top5, row.lr, row.sparsity, row.quantized ? 1 : 0, row.images_per_second,
                row.seconds);
  lines_.emplace_back(line);
  write();
}

void MetricsFile::write() const {
  std::string text;
  for (const auto& line : lines_) text += line + "\n";
  write_file_atomically(path_, text);
}

}  // namespace sparsify
