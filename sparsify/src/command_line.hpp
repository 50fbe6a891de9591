// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace sparsify {

/// One command's options: declared once, parsed strictly, shown by --help.
class CommandLine {
 public:
  /// `usage`: what follows the command's name; `purpose`: a sentence or two; `examples`: whole commands, one
  /// a line.
  CommandLine(std::string command, std::string usage, std::string purpose, std::string examples);
  ~CommandLine();

  /// `names`: "output" or "image-size,imgsz"; the first is the one to ask for.
  void option(const std::string& group, const std::string& names, const std::string& meaning,
              const std::string& placeholder);
  void repeated(const std::string& group, const std::string& name, const std::string& meaning,
                const std::string& placeholder);
  void flag(const std::string& group, const std::string& name, const std::string& meaning);

  /// False when help was asked for and printed. Throws InputError for unknown options and missing values.
  bool parse(const std::vector<std::string>& arguments);

  bool given(const std::string& name) const;
  /// The option's value, or `otherwise`.
  std::string text(const std::string& name, const std::string& otherwise = "") const;
  std::vector<std::string> texts(const std::string& name) const;
  /// Throws InputError unless it is a whole number from `lowest` to `highest`.
  std::int64_t integer(const std::string& name, std::int64_t otherwise, std::int64_t lowest,
                       std::int64_t highest) const;
  /// What is not an option.
  const std::vector<std::string>& operands() const;
  /// The only operand; throws InputError when there is none or more than one.
  std::string operand(const std::string& what) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace sparsify
