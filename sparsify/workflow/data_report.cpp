// SPDX-License-Identifier: Apache-2.0
#include "workflow/data_report.hpp"

#include <algorithm>
#include <cctype>
#include <map>

namespace sparsify {
namespace {

constexpr std::size_t kMostKinds = 10;

using detection::LabelFinding;

/// "says N x N pixels, the image has N x N": findings that differ in numbers alone are of one kind.
std::string without_numbers(const std::string& what) {
  std::string kind;
  for (const char letter : what) {
    const bool is_digit = std::isdigit(static_cast<unsigned char>(letter)) != 0;
    if (!is_digit) kind += letter;
    if (is_digit && (kind.empty() || kind.back() != 'N')) kind += 'N';
  }
  return kind;
}

struct FindingKind {
  std::string name;
  std::vector<const LabelFinding*> findings{};
};

std::vector<FindingKind> sorted_by_kind(const std::vector<LabelFinding>& findings) {
  std::vector<FindingKind> kinds;
  std::map<std::string, std::size_t> places;
  for (const auto& finding : findings) {
    const auto name = without_numbers(finding.what);
    const auto [place, is_new] = places.try_emplace(name, kinds.size());
    if (is_new) kinds.push_back({name});
    kinds[place->second].findings.push_back(&finding);
  }
  std::stable_sort(kinds.begin(), kinds.end(), [](const FindingKind& a, const FindingKind& b) {
    return a.findings.size() > b.findings.size();
  });
  return kinds;
}

std::string text_of(const LabelFinding& finding) { return finding.where + ": " + finding.what; }

}  // namespace

std::string data_report(const std::string& set, const std::vector<LabelFinding>& findings) {
  if (findings.empty()) return "";
  std::string text = "What is strange about the labels and images of " + set + "\n";
  for (const auto& kind : sorted_by_kind(findings)) {
    text += "\n" + std::to_string(kind.findings.size()) + " x " + kind.name + "\n";
    for (const auto* finding : kind.findings) text += "  " + text_of(*finding) + "\n";
  }
  return text;
}

void tell_findings(const std::vector<LabelFinding>& findings, bool run_keeps_all,
                   const std::function<void(const std::string&)>& note) {
  const auto kinds = sorted_by_kind(findings);
  const auto shown = std::min(kinds.size(), kMostKinds);
  std::size_t left_out = 0;
  for (auto i = shown; i < kinds.size(); ++i) left_out += kinds[i].findings.size();
  const std::string kept = run_keeps_all ? "; a run keeps all of them in data_report.txt" : "";
  for (std::size_t i = 0; i < shown; ++i) {
    const auto others = kinds[i].findings.size() - 1;
    note("warning: " + text_of(*kinds[i].findings.front()) +
         (others ? " (and " + std::to_string(others) + " more of this kind" +
                       (i == 0 && left_out == 0 ? kept : "") + ")"  // once; the first kind has the most
                 : ""));
  }
  if (left_out > 0) note("warning: and " + std::to_string(left_out) + " more about the labels" + kept);
}

void tell_classes(const std::vector<std::string>& names, const std::vector<std::int64_t>& objects,
                  const std::function<void(const std::string&)>& note) {
  std::string list;
  for (std::size_t i = 0; i < objects.size(); ++i)
    list += (i ? ", " : "") + names.at(i) + " (" + std::to_string(objects[i]) + ")";
  if (!list.empty()) note("classes that the annotations name, with their objects: " + list);
}

}  // namespace sparsify
