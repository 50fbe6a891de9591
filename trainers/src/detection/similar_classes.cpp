// SPDX-License-Identifier: Apache-2.0
#include "detection/similar_classes.hpp"

#include <algorithm>
#include <cctype>

#include "sparsify/suggest.hpp"

namespace sparsify::detection {
namespace {

constexpr std::int64_t kRare = 100;         // less than one object in so many
constexpr std::int64_t kMoreFrequent = 20;  // times
constexpr std::size_t kFewestLetters = 3;   // of a name that is compared
constexpr std::size_t kLettersForTwo = 5;   // of a name in which two may differ

std::string in_small_letters(std::string name) {
  for (auto& letter : name) letter = static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
  return name;
}

// speed_limit_20 and speed_limit_30 are two classes, no slip of the pen.
std::string without_digits(std::string name) {
  std::erase_if(name, [](unsigned char letter) { return std::isdigit(letter) != 0; });
  return name;
}

bool is_transposed(const std::string& a, const std::string& b) {
  if (a.size() != b.size()) return false;
  const auto [one, other] = std::mismatch(a.begin(), a.end(), b.begin());
  if (a.end() - one < 2 || one[0] != other[1] || one[1] != other[0]) return false;
  return std::equal(one + 2, a.end(), other + 2);
}

bool is_similar(const std::string& some, const std::string& other) {
  const auto a = in_small_letters(some), b = in_small_letters(other);
  const auto length = std::min(a.size(), b.size());
  const auto distance = edit_distance(a, b);
  if (distance == 0) return true;
  if (length < kFewestLetters || without_digits(a) == without_digits(b)) return false;
  return distance == 1 || is_transposed(a, b) || (distance == 2 && length >= kLettersForTwo);
}

std::string with_objects(const std::string& name, std::int64_t count) {
  return name + " (" + std::to_string(count) + (count == 1 ? " object)" : " objects)");
}

}  // namespace

void tell_similar_classes(const std::string& where, const std::map<std::string, std::int64_t>& objects,
                          LabelReport& report) {
  std::int64_t all = 0;
  for (const auto& [_, count] : objects) all += count;
  for (const auto& [rare, few] : objects)
    for (const auto& [frequent, many] : objects)
      if (few * kRare < all && few * kMoreFrequent <= many && is_similar(rare, frequent) && rare != frequent)
        report.findings.push_back(
            {where, "class " + with_objects(rare, few) + " looks like " + with_objects(frequent, many)});
}

}  // namespace sparsify::detection
