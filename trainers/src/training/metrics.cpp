// SPDX-License-Identifier: Apache-2.0
#include "sparsify/trainers/metrics.hpp"

#include <cstdio>
#include <fstream>
#include <stdexcept>

#include "sparsify/trainers/atomic_file.hpp"

namespace sparsify {
namespace {

template <class... Values>
std::string print(const char* format, Values... values) {
  char text[160];
  std::snprintf(text, sizeof text, format, values...);
  return text;
}

std::string header(const EpochMetrics& row) {
  std::string line = "epoch";
  for (const auto& figure : row.train) line += ",train_" + figure.name;
  for (const auto& figure : row.val.figures) line += ",val_" + figure.name;
  return line + ",lr,sparsity,quantized,images_per_second,seconds";
}

std::string cells(const EpochMetrics& row) {
  std::string line = std::to_string(row.epoch);
  for (const auto& figure : row.train) line += print(",%.5f", figure.value);
  for (const auto& figure : row.val.figures) line += print(",%.5f", figure.value);
  return line + print(",%.6g,%.5f,%d,%.1f,%.2f", row.lr, row.sparsity, row.quantized ? 1 : 0,
                      row.images_per_second, row.seconds);
}

}  // namespace

double value_of(const Figures& figures, const std::string& name) {
  for (const auto& figure : figures)
    if (figure.name == name) return figure.value;
  throw std::out_of_range("there is no figure '" + name + "'");
}

MetricsFile::MetricsFile(std::filesystem::path path, int64_t first_epoch) : path_(std::move(path)) {
  std::ifstream file(path_);
  std::string line;
  if (first_epoch == 0 || !std::getline(file, line)) return;
  lines_.push_back(line);
  while (std::getline(file, line))
    if (std::atoll(line.c_str()) < first_epoch) lines_.push_back(line);
}

void MetricsFile::append(const EpochMetrics& row) {
  if (lines_.empty()) lines_.push_back(header(row));
  lines_.push_back(cells(row));
  write();
}

void MetricsFile::write() const {
  std::string text;
  for (const auto& line : lines_) text += line + "\n";
  write_file_atomically(path_, text);
}

}  // namespace sparsify
