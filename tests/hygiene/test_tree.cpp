// SPDX-License-Identifier: Apache-2.0
// Reads the source tree as text: which way dependencies point, what public headers may include, how long
// files are.
#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace fs = std::filesystem;
using Lines = std::vector<std::string>;

namespace {

const fs::path kTree = SPARSIFY_TREE;
const std::vector<std::string> kParts = {"modifiers", "recipes",  "trainers", "export",
                                         "sparsify",  "examples", "tests"};

Lines read(const fs::path& path) {
  std::ifstream file(path);
  Lines lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

std::vector<fs::path> sources(const fs::path& folder) {
  std::vector<fs::path> found;
  if (!fs::exists(kTree / folder)) return found;
  for (const auto& entry : fs::recursive_directory_iterator(kTree / folder)) {
    const auto ending = entry.path().extension();
    if (ending == ".hpp" || ending == ".cpp" || ending == ".cu") found.push_back(entry.path());
  }
  std::sort(found.begin(), found.end());
  return found;
}

/// The text between the quotes or brackets of every #include.
Lines includes(const fs::path& source) {
  Lines found;
  for (const auto& line : read(source)) {
    if (line.rfind("#include", 0) != 0) continue;
    const auto first = line.find_first_of("<\"");
    found.push_back(line.substr(first + 1, line.find_first_of(">\"", first + 1) - first - 1));
  }
  return found;
}

/// The file of this project that an include means, relative to the tree; empty for everybody else's headers.
fs::path resolve(const fs::path& source, const std::string& include) {
  std::vector<fs::path> folders = {source.parent_path(), kTree};
  for (const auto& part : kParts) {
    folders.push_back(kTree / part / "include");
    folders.push_back(kTree / part / "src");
  }
  // A part's own private headers come before another part's of the same name.
  const auto own = kTree / *fs::relative(source, kTree).begin();
  folders.insert(folders.begin() + 1, own / "src");
  for (const auto& folder : folders)
    if (fs::is_regular_file(folder / include))
      return fs::relative(folder / include, kTree).lexically_normal();
  return {};
}

std::string part_of(const fs::path& relative) { return relative.begin()->string(); }
std::string shown(const fs::path& path) { return fs::relative(path, kTree).string(); }

}  // namespace

TEST_CASE("dependencies between the parts point one way") {
  const std::map<std::string, std::set<std::string>> may_include = {
      {"modifiers", {"modifiers"}},
      {"recipes", {"modifiers", "recipes"}},
      {"trainers", {"modifiers", "trainers"}},
      {"export", {"modifiers", "export"}},
      {"sparsify", {"modifiers", "recipes", "trainers", "export", "sparsify"}},
      {"examples", {"modifiers", "recipes", "trainers", "export", "examples"}},
  };
  int checked = 0;
  for (const auto& [part, allowed] : may_include)
    for (const auto& source : sources(part))
      for (const auto& include : includes(source)) {
        const auto meant = resolve(source, include);
        if (meant.empty()) continue;
        INFO(shown(source) << " includes " << meant.string());
        CHECK(allowed.count(part_of(meant)) == 1);
        if (part_of(meant) != part) CHECK(std::next(meant.begin())->string() == "include");
        ++checked;
      }
  CHECK(checked > 100);
}

TEST_CASE("only the program includes sparsify/workflow") {
  for (const auto& part : kParts)
    for (const auto& source : sources(part))
      for (const auto& include : includes(source)) {
        INFO(shown(source) << " includes " << include);
        if (part != "sparsify" && part != "tests")
          CHECK(resolve(source, include).string().rfind("sparsify/workflow", 0) != 0);
      }
}

TEST_CASE("includes make no cycle") {
  std::map<fs::path, int> visited;  // 1: on the way, 2: done
  const std::function<void(const fs::path&, const std::string&)> visit = [&](const fs::path& file,
                                                                             const std::string& way) {
    if (visited[file] == 1) FAIL("cycle: " + way);
    if (visited[file] == 2) return;
    visited[file] = 1;
    for (const auto& include : includes(kTree / file)) {
      const auto next = resolve(kTree / file, include);
      if (!next.empty()) visit(next, way + " -> " + next.string());
    }
    visited[file] = 2;
  };
  for (const auto& part : kParts)
    for (const auto& source : sources(part)) visit(fs::relative(source, kTree), shown(source));
  CHECK(visited.size() > 50);
}

TEST_CASE("public headers stay cheap to include") {
  const std::set<std::string> nowhere = {"iostream", "regex", "torch/extension.h"};
  const Lines not_in_modifiers = {"torch/torch.h", "torch/all.h", "torch/nn", "ATen/ATen.h", "spdlog/",
                                  "yaml-cpp/",     "onnx",        "cxxopts",  "nlohmann/"};
  for (const auto& part : {"modifiers", "recipes", "trainers", "export"})
    for (const auto& header : sources(fs::path(part) / "include"))
      for (const auto& include : includes(header)) {
        INFO(shown(header) << " includes " << include);
        CHECK(nowhere.count(include) == 0);
        CHECK(include.rfind("yaml-cpp/", 0) != 0);
        if (std::string(part) == "modifiers")
          for (const auto& refused : not_in_modifiers) CHECK(include.rfind(refused, 0) != 0);
      }
}

TEST_CASE("sparsify/modifiers.hpp names every modifier, the registry and the session, sorted") {
  Lines expected = {"sparsify/registry.hpp", "sparsify/session.hpp"};
  for (const auto& header : sources("modifiers/include/sparsify/modifiers"))
    expected.push_back("sparsify/modifiers/" + header.filename().string());
  std::sort(expected.begin(), expected.end());
  CHECK(includes(kTree / "modifiers/include/sparsify/modifiers.hpp") == expected);
}

TEST_CASE("recipes can name every modifier, and headers of modifiers register none") {
  std::string builtins;
  for (const auto& line : read(kTree / "recipes/src/builtins.cpp")) builtins += line + "\n";
  for (const auto& header : sources("modifiers/include/sparsify/modifiers")) {
    INFO(shown(header));
    std::string type;
    for (const auto& line : read(header)) {
      // Registering makes every source that includes a header compile the whole modifier.
      CHECK(line.find("SPARSIFY_REGISTER_MODIFIER") == std::string::npos);
      CHECK(line.find("registry()") == std::string::npos);
      if (line.rfind("class ", 0) == 0 && line.find(':') != std::string::npos)
        type = line.substr(6, line.find(' ', 6) - 6);
      if (line.find("kName =") != std::string::npos)
        CHECK(builtins.find("known.add<" + type + ">(") != std::string::npos);
    }
  }
}

TEST_CASE("every source is short and says its licence; headers guard themselves and open no namespace") {
  int files = 0;
  for (const auto& part : kParts)
    for (const auto& source : sources(part)) {
      const auto lines = read(source);
      INFO(shown(source));
      REQUIRE(!lines.empty());
      CHECK(lines.front() == "// SPDX-License-Identifier: Apache-2.0");
      // Tests may be longer: every test source more costs a compilation of LibTorch's headers.
      if (part != "tests") CHECK(lines.size() <= 400);
      if (source.extension() != ".hpp") continue;
      CHECK(std::count(lines.begin(), lines.end(), "#pragma once") == 1);
      for (const auto& line : lines) CHECK(line.rfind("using namespace", 0) != 0);
      ++files;
    }
  CHECK(files > 50);
}

TEST_CASE("the loop that README shows is the one that is compiled and run") {
  const auto dedented = [](const Lines& lines) {
    std::string text;
    for (const auto& line : lines)
      if (const auto first = line.find_first_not_of(' '); first != std::string::npos)
        text += line.substr(first) + "\n";
    return text;
  };
  Lines shown_loop;
  bool inside = false;
  for (const auto& line : read(kTree / "README.md")) {
    if (line == "```cpp")
      inside = true;
    else if (line == "```" && inside)
      break;
    else if (inside)
      shown_loop.push_back(line);
  }
  REQUIRE(shown_loop.size() >= 8);
  CHECK(dedented(read(kTree / "examples/train_your_own/main.cpp")).find(dedented(shown_loop)) !=
        std::string::npos);
}

TEST_CASE("a modifier of one's own takes under 30 lines in one header") {
  const auto lines = read(kTree / "examples/custom_modifier/gradient_noise.hpp");
  CHECK(lines.size() < 30);
  CHECK(lines.size() > 15);
}
