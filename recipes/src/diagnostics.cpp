// SPDX-License-Identifier: Apache-2.0
#include "diagnostics.hpp"

#include <algorithm>
#include <tuple>

namespace sparsify {
namespace {

constexpr std::size_t kShown = 20;
constexpr std::size_t kLineShown = 160;  // bytes of a source line quoted in a message

bool continues_character(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

std::int64_t characters(const std::string& line, std::int64_t bytes) {
  const auto end = line.begin() + std::clamp<std::int64_t>(bytes, 0, static_cast<std::int64_t>(line.size()));
  return std::count_if(line.begin(), end, [](char c) { return !continues_character(c); });
}

}  // namespace

Source::Source(int index, std::string file, const std::string& text) : index_(index), file_(std::move(file)) {
  std::string line;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool end = text[i] == '\n' || (text[i] == '\r' && (i + 1 == text.size() || text[i + 1] != '\n'));
    if (end)
      lines_.push_back(std::exchange(line, {}));
    else if (text[i] != '\r')
      line += text[i];
  }
  lines_.push_back(line);
}

RecipeProblem Source::problem(yaml::Mark mark, const std::string& message) const {
  const auto last = static_cast<std::int64_t>(lines_.size()) - 1;
  const auto line = std::clamp<std::int64_t>(mark.line, 0, last);
  return {line + 1, characters(lines_[static_cast<std::size_t>(line)], mark.column) + 1, message};
}

std::string Source::where(yaml::Mark mark) const {
  const auto at = problem(mark, "");
  return file_ + ":" + std::to_string(at.line) + ":" + std::to_string(at.column);
}

std::string Source::show(const RecipeProblem& problem) const {
  std::string shown = file_ + ":" + std::to_string(problem.line) + ":" + std::to_string(problem.column) +
                      ": " + problem.message;
  const auto& line = lines_[static_cast<std::size_t>(problem.line - 1)];
  std::string padding;
  std::size_t at = 0;
  for (std::int64_t seen = 1; at < line.size(); ++at) {
    if (continues_character(line[at])) continue;
    if (seen++ == problem.column) break;
    padding += line[at] == '\t' ? '\t' : ' ';
  }
  if (line.empty() || at > kLineShown) return shown;
  return shown + "\n    " + line.substr(0, kLineShown) + "\n    " + padding + "^";
}

const Source& Sources::add(const std::string& file, const std::string& text) {
  return all_.emplace_back(static_cast<int>(all_.size()), file, text);
}

void Diagnostics::add(yaml::Mark mark, const std::string& message) {
  problems_.push_back({mark.file, sources_.of(mark).problem(mark, message)});
}

void Diagnostics::warn(yaml::Mark mark, const std::string& message) {
  auto warning = sources_.where(mark) + ": " + message;
  if (std::find(warnings_.begin(), warnings_.end(), warning) == warnings_.end())
    warnings_.push_back(std::move(warning));
}

void Diagnostics::raise() {
  if (problems_.empty()) return;
  const auto place = [](const Found& found) {
    return std::tuple(found.file, found.problem.line, found.problem.column);
  };
  std::stable_sort(problems_.begin(), problems_.end(),
                   [&](const Found& a, const Found& b) { return place(a) < place(b); });
  const auto same = [&](const Found& a, const Found& b) {
    return place(a) == place(b) && a.problem.message == b.problem.message;
  };
  problems_.erase(std::unique(problems_.begin(), problems_.end(), same), problems_.end());
  std::string what;
  std::vector<RecipeProblem> all;
  for (const auto& [file, problem] : problems_) {
    if (all.size() < kShown) what += (all.empty() ? "" : "\n") + sources_.of({0, 0, file}).show(problem);
    all.push_back(problem);
  }
  if (all.size() > kShown) what += "\n... and " + std::to_string(all.size() - kShown) + " more";
  throw RecipeError(what, std::move(all));
}

void fail(const Source& source, yaml::Mark mark, const std::string& message) {
  const auto problem = source.problem(mark, message);
  throw RecipeError(source.show(problem), {problem});
}

}  // namespace sparsify
