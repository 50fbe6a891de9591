// SPDX-License-Identifier: Apache-2.0
#include "workflow/data_report.hpp"

#include <catch2/catch_test_macros.hpp>

using namespace sparsify;
using detection::LabelFinding;

namespace {

const std::string kClipped = "a box reaches outside the image: clipped";

const std::vector<LabelFinding> kFindings = {{"a.txt:1", kClipped},
                                             {"b.xml", "says 60 x 30 pixels, the image has 40 x 20"},
                                             {"c.xml", "says 8 x 8 pixels, the image has 400 x 2"},
                                             {"images", "3 images without objects"},
                                             {"d.xml", "says 1 x 1 pixels, the image has 9 x 10"}};

std::vector<std::string> told(const std::vector<LabelFinding>& findings, bool run_keeps_all) {
  std::vector<std::string> notes;
  tell_findings(findings, run_keeps_all, [&](const std::string& note) { notes.push_back(note); });
  return notes;
}

}  // namespace

TEST_CASE("findings about labels are told by kind, and reported in full") {
  std::vector<std::string> expected = {
      "warning: b.xml: says 60 x 30 pixels, the image has 40 x 20 (and 2 more of this kind)",
      "warning: a.txt:1: " + kClipped, "warning: images: 3 images without objects"};
  CHECK(told(kFindings, false) == expected);
  expected.front().insert(expected.front().size() - 1, "; a run keeps all of them in data_report.txt");
  CHECK(told(kFindings, true) == expected);
  CHECK(data_report("pets", kFindings) ==
        "What is strange about the labels and images of pets\n"
        "\n3 x says N x N pixels, the image has N x N\n"
        "  b.xml: says 60 x 30 pixels, the image has 40 x 20\n"
        "  c.xml: says 8 x 8 pixels, the image has 400 x 2\n"
        "  d.xml: says 1 x 1 pixels, the image has 9 x 10\n"
        "\n1 x a box reaches outside the image: clipped\n"
        "  a.txt:1: a box reaches outside the image: clipped\n"
        "\n1 x N images without objects\n"
        "  images: 3 images without objects\n");
}

TEST_CASE("without findings about labels nothing is told; of many kinds ten are") {
  CHECK(told({}, true).empty());
  CHECK(data_report("pets", {}).empty());
  CHECK(told({{"a.txt:1", kClipped}}, true) == std::vector<std::string>{"warning: a.txt:1: " + kClipped});
  std::vector<LabelFinding> findings;
  for (char letter = 'a'; letter < 'm'; ++letter) findings.push_back({"x", std::string(1, letter)});
  findings.push_back({"y", "a"});
  const auto notes = told(findings, true);
  REQUIRE(notes.size() == 11);
  CHECK(notes.front() == "warning: x: a (and 1 more of this kind)");
  CHECK(notes.back() == "warning: and 2 more about the labels; a run keeps all of them in data_report.txt");
  CHECK(told(findings, false).back() == "warning: and 2 more about the labels");
}

TEST_CASE("classes are told where the annotations alone say them") {
  std::vector<std::string> notes;
  const auto hear = [&](const std::string& note) { notes.push_back(note); };
  tell_classes({"RBC", "RCB"}, {}, hear);
  CHECK(notes.empty());
  tell_classes({"RBC", "RCB"}, {4155, 1}, hear);
  CHECK(notes == std::vector<std::string>{
                     "classes that the annotations name, with their objects: RBC (4155), RCB (1)"});
}
