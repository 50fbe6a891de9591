// SPDX-License-Identifier: Apache-2.0
// sparsify analyze: what it writes, and what it refuses.
#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "run_program.hpp"

using Catch::Matchers::ContainsSubstring;
using cli::Folder;
using cli::sparsify;

namespace {

struct Row {
  std::string layer, what;
  double elements, multiply_adds, level, loss, increase;
};

std::vector<Row> rows_of(const cli::fs::path& path) {
  std::istringstream text(cli::read(path));
  std::string line;
  std::getline(text, line);
  REQUIRE(line == "layer,elements,multiply_adds,what,level,loss,loss_increase,top1");
  std::vector<Row> rows;
  while (std::getline(text, line)) {
    std::istringstream cells(line);
    std::vector<std::string> cell(8);
    for (auto& part : cell) std::getline(cells, part, ',');
    rows.push_back({cell[0], cell[3], std::stod(cell[1]), std::stod(cell[2]), std::stod(cell[4]),
                    std::stod(cell[5]), std::stod(cell[6])});
  }
  return rows;
}

/// What a proposed recipe removes, in the sizes given for each layer.
double removed_by(const std::string& recipe, const std::map<std::string, double>& sizes) {
  std::istringstream text(recipe);
  double tier = 0, removed = 0, total = 0;
  for (const auto& [layer, size] : sizes) total += size;
  for (std::string line; std::getline(text, line);) {
    const auto words = line.substr(std::min(line.size(), line.find_first_not_of(' ')));
    if (words.rfind("0.", 0) == 0 && words.back() == ':') tier = std::stod(words);
    if (words.rfind("- ", 0) == 0 && sizes.count(words.substr(2)))
      removed += tier * sizes.at(words.substr(2));
  }
  return removed / total;
}

}  // namespace

TEST_CASE("analyze measures every layer, plots it, and proposes a recipe that loads and reaches the target") {
  const Folder folder;
  cli::write(folder / "small.yaml", cli::small_recipe(2));
  REQUIRE(
      sparsify(folder.path(), {"train", "--recipe", "small.yaml", "--recipe-arg", "sparsity=0.05"}).code ==
      0);
  const auto analysed =
      sparsify(folder.path(), {"analyze", "runs/small", "--levels", "0.9,0.5,0.99", "--images", "128",
                               "--target-sparsity", "0.8", "--output", "here/analysis"});
  INFO(analysed.err << analysed.out);
  REQUIRE(analysed.code == 0);
  const auto output = folder / "here" / "analysis";
  const auto rows = rows_of(output / "sensitivity.csv");
  std::map<std::string, double> elements, work;
  std::map<std::string, int> integer, sparse;
  double worst = 0, rounded = 0;
  for (const auto& row : rows) {
    elements[row.layer] = row.elements;
    work[row.layer] = row.multiply_adds;
    (row.what == "int8" ? integer : sparse)[row.layer]++;
    if (row.what == "int8") CHECK(std::abs(row.increase) < 0.3);
    if (row.what == "int8") rounded = std::max(rounded, std::abs(row.increase));
    if (row.what == "sparsity" && row.level == 0.99) worst = std::max(worst, row.increase);
  }
  CHECK(elements.size() > 3);
  CHECK(rounded > 0);
  CHECK(worst > 0.05);  // nearly all of some layer cannot go unnoticed
  for (const auto& [layer, count] : sparse) {
    CHECK(count == 3);
    CHECK(integer[layer] == 1);
  }
  // What every layer at its highest level makes together is reached, though sums of fractions are not exact.
  const auto exact =
      sparsify(folder.path(), {"analyze", "runs/small", "--levels", "0.7", "--images", "32", "--scheme",
                               "none", "--target-sparsity", "0.7", "--output", "exact"});
  INFO(exact.err);
  CHECK(exact.code == 0);
  CHECK_THAT(sparsify(folder.path(), {"analyze", "runs/small", "--image-size", "32"}).err,
             ContainsSubstring("--image-size: runs/small knows the size"));
  CHECK_THAT(cli::read(output / "sensitivity.html"),
             ContainsSubstring("<svg") && ContainsSubstring("conv1.weight"));

  const auto plan = sparsify(folder.path(), {"recipe", "plan", "here/analysis/recipe.yaml"});
  INFO(plan.err << plan.out);
  REQUIRE(plan.code == 0);
  const auto removed = removed_by(cli::read(output / "recipe.yaml"), elements);
  CHECK(removed >= 0.8);
  CHECK(removed < 0.95);

  // Multiply-adds as a target: at 32 pixels the first layer uses each weight 1024 times, the last one once.
  CHECK(work.at("conv1.weight") == 1024 * elements.at("conv1.weight"));
  CHECK(work.at("fc.weight") == elements.at("fc.weight"));
  const auto faster =
      sparsify(folder.path(), {"analyze", "runs/small", "--levels", "0.5,0.9,0.99", "--images", "64",
                               "--scheme", "none", "--target-speedup", "3", "--output", "faster"});
  INFO(faster.err << faster.out);
  REQUIRE(faster.code == 0);
  const auto faster_recipe = cli::read(folder / "faster" / "recipe.yaml");
  CHECK(removed_by(faster_recipe, work) >= 1 - 1 / 3.0 - 1e-6);
  CHECK(removed_by(faster_recipe, work) < 0.85);

  const auto again = sparsify(folder.path(), {"analyze", "runs/small", "--output", "here/analysis"});
  CHECK(again.code == 2);
  CHECK_THAT(again.err, ContainsSubstring("exists; name another folder"));
}

namespace {

// "... 1.23 ms in floating point": what stands before those words.
double number_before(const std::string& text, const std::string& words) {
  const auto end = text.find(words);
  REQUIRE(end != std::string::npos);
  const auto begin = text.find_last_not_of("0123456789.", end - 1);
  return std::stod(text.substr(begin + 1));
}

}  // namespace

TEST_CASE("analyze proposes which layers to quantize for a latency, and says when there is no way") {
  const Folder folder;
  cli::write(folder / "small.yaml", cli::small_recipe(2));
  REQUIRE(
      sparsify(folder.path(), {"train", "--recipe", "small.yaml", "--recipe-arg", "sparsity=0.05"}).code ==
      0);
  const auto analysed = [&](const std::string& target, const std::string& output) {
    return sparsify(folder.path(), {"analyze", "runs/small", "--levels", "0.5", "--images", "32",
                                    "--target-latency", target, "--output", output});
  };
  const auto never = analysed("0.01", "never");
  CHECK(never.code == 1);
  CHECK_THAT(never.err, ContainsSubstring("a latency of 0.010 ms is not reached") &&
                            ContainsSubstring("ms are the least here"));
  CHECK_FALSE(cli::fs::exists(folder / "never"));

  const auto easy = analysed("1e6", "easy");
  INFO(easy.err << easy.out);
  REQUIRE(easy.code == 0);
  CHECK_THAT(easy.out, ContainsSubstring("nothing has to be quantized") && ContainsSubstring("ONNX Runtime"));
  CHECK(cli::fs::exists(folder / "easy" / "sensitivity.csv"));
  CHECK_FALSE(cli::fs::exists(folder / "easy" / "recipe.yaml"));

  // Half-way between both; what else the machine does may have changed the times since.
  double in_float = number_before(easy.out, " ms in floating point"),
         in_int8 = number_before(easy.out, " ms with");
  cli::Outcome between;
  for (int attempt = 0; attempt < 5 && !cli::fs::exists(folder / "between" / "recipe.yaml"); ++attempt) {
    cli::fs::remove_all(folder / "between");
    between = analysed(std::to_string((in_float + in_int8) / 2), "between");
    const auto text = between.code == 0 ? between.out : between.err;
    in_float = number_before(text, " ms in floating point");
    in_int8 = number_before(text, between.code == 0 ? " ms with" : " ms are the least");
  }
  INFO(between.err << between.out);
  if (between.code != 0 && in_int8 >= in_float) SKIP("INT8 is not faster than floating point on this CPU");
  REQUIRE(between.code == 0);
  const auto recipe = cli::read(folder / "between" / "recipe.yaml");
  std::set<std::string> ignored, quantized, measured;
  std::istringstream lines(recipe);
  for (std::string line; std::getline(lines, line);) {
    const auto at = line.find(".weight");
    if (line.rfind("      - ", 0) == 0) ignored.insert(line.substr(8, at + 7 - 8));
    if (line.rfind("    #   ", 0) == 0) quantized.insert(line.substr(8, at + 7 - 8));
  }
  for (const auto& row : rows_of(folder / "between" / "sensitivity.csv")) measured.insert(row.layer);
  CHECK_FALSE(quantized.empty());
  CHECK(ignored.size() + quantized.size() == measured.size());
  const auto plan = sparsify(folder.path(), {"recipe", "plan", "between/recipe.yaml"});
  INFO(plan.err << plan.out);
  CHECK(plan.code == 0);
  std::istringstream planned(plan.out);
  for (std::string line; std::getline(planned, line);) {
    const auto name = line.substr(0, line.find(' '));
    if (quantized.count(name)) CHECK_THAT(line, ContainsSubstring("quantization (QuantizationModifier)"));
    if (ignored.count(name)) CHECK_THAT(line, ContainsSubstring("dense"));
  }
}

TEST_CASE("analyze says what is wrong before it measures anything") {
  const Folder folder;
  const auto error = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "analyze");
    const auto outcome = sparsify(folder.path(), arguments);
    CHECK(outcome.code == 2);
    return outcome.err;
  };
  CHECK_THAT(error({}), ContainsSubstring("what is to be analysed?"));
  CHECK_THAT(error({"nowhere"}), ContainsSubstring("nowhere"));
  CHECK_THAT(error({"nowhere", "--levels", "0.5,85"}),
             ContainsSubstring("--levels: expected a fraction above 0"));
  CHECK_THAT(error({"nowhere", "--target-sparsity", "0.999"}), ContainsSubstring("is above every level"));
  CHECK_THAT(error({"nowhere", "--target-speedup", "0.5"}),
             ContainsSubstring("--target-speedup: expected a factor above 1, got '0.5'"));
  CHECK_THAT(error({"nowhere", "--target-speedup", "30", "--levels", "0.9"}),
             ContainsSubstring("with every layer at the highest of --levels it is 10.0"));
  CHECK_THAT(error({"nowhere", "--target-speedup", "3", "--target-sparsity", "0.5"}),
             ContainsSubstring("give one of --target-sparsity"));
  CHECK_THAT(error({"nowhere", "--target-latency", "3", "--target-speedup", "2"}),
             ContainsSubstring("give one of --target-sparsity"));
  CHECK_THAT(error({"nowhere", "--target-latency", "0"}),
             ContainsSubstring("--target-latency: expected milliseconds above 0, got '0'"));
  CHECK_THAT(error({"nowhere", "--target-latency", "3", "--scheme", "gpu"}),
             ContainsSubstring("is measured with --scheme cpu, got 'gpu'"));
  CHECK_THAT(error({"nowhere", "--scheme", "tpu"}), ContainsSubstring("--scheme: expected cpu, gpu or none"));
  CHECK(folder.listing().empty());
}
