// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "sparsify/modifiers/epoch_range.hpp"
#include "sparsify/modifiers/magnitude_pruning.hpp"
#include "yaml_text.hpp"

using namespace sparsify;
using namespace sparsify::test;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::StartsWith;
using Fields = std::map<std::string, std::string>;
namespace fs = std::filesystem;

namespace {

// A whole modifier of one's own: this class and its registration are all it takes to be named in YAML.
class WeightNoise : public Modifier {
 public:
  static constexpr const char* kName = "WeightNoiseModifier";
  struct Options {
    Window window{};
    double stddev = 0.01;
    template <class Visitor>
    void fields(Visitor& visit) {
      window.fields(visit);
      visit("stddev", stddev, "of the noise");
    }
  };
  explicit WeightNoise(const Options& options) : Modifier(options.window), stddev_(options.stddev) {
    check(window());
  }

 private:
  [[maybe_unused]] double stddev_;
};
SPARSIFY_REGISTER_MODIFIER(WeightNoise);

Recipe::Entry only_entry(const std::string& text, const RecipeArguments& arguments = {}) {
  const auto file = parse_recipe(text, "r.yaml", arguments);
  REQUIRE(file.recipe.entries().size() == 1);
  return file.recipe.entries().front();
}

double evaluated(const std::string& expression) {
  return number_of(
      only_entry(
          "n: 7\nhalf: 0.5\nunused: eval(n + half)\nmodifiers:\n  - !ProbeModifier\n    rate: \"eval(" +
          expression + ")\"\n    label: eval(unused)\n"),
      "rate");
}

/// A folder of its own, removed afterwards; the working directory and the environment come back too.
struct Sandbox {
  fs::path folder = fs::temp_directory_path() / ("sparsify_recipes_" + std::to_string(::getpid()));
  fs::path before = fs::current_path();
  Sandbox() {
    fs::create_directories(folder / "library");
    fs::create_directories(folder / "work");
    fs::current_path(folder / "work");
    ::setenv("SPARSIFY_RECIPES", (folder / "library").c_str(), 1);
  }
  ~Sandbox() {
    ::unsetenv("SPARSIFY_RECIPES");
    fs::current_path(before);
    fs::remove_all(folder);
  }
  static void write(const fs::path& path, const std::string& text) { std::ofstream(path) << text; }
};

const char* const kMinimal = "modifiers:\n  - !ProbeModifier\n";

}  // namespace

TEST_CASE("fields of every kind take exactly what is written") {
  const auto entry = only_entry(
      "modifiers:\n"
      "  - !ProbeModifier\n"
      "    flag: true\n"
      "    count: -0\n"
      "    rate: 1.5e-3\n"
      "    label: 2:4\n"
      "    names: [conv1.weight, 're:layer\\d+.*', \"a: b, c\"]\n");
  CHECK(entry.type == "ProbeModifier");
  CHECK(entry.where == "r.yaml:2:5");
  CHECK(fields_of(entry) == Fields{{"flag", "true"},
                                   {"count", "0"},
                                   {"rate", "0.0015"},
                                   {"label", "2:4"},
                                   {"names", "conv1.weight,re:layer\\d+.*,a: b, c"}});
  // Not written: defaults. A single text is a list of one. Numbers are text where text is asked for.
  const auto other =
      only_entry("modifiers: [!ProbeModifier {names: __ALL__, label: 0.10, rate: +.5, flag: False}]\n");
  CHECK(fields_of(other) ==
        Fields{{"flag", "false"}, {"count", "1"}, {"rate", "0.5"}, {"label", "0.10"}, {"names", "__ALL__"}});
  CHECK(fields_of(only_entry(kMinimal)).at("rate") == "0.5");
}

TEST_CASE("a pruning recipe gives a recipe with exact values") {
  const auto file = parse_recipe(
      "version: 1\n"
      "description: |\n"
      "  two lines\n"
      "  of text\n"
      "metadata: {author: somebody, year: 2025}\n"
      "pruning_modifiers:\n"
      "  - !GMPruningModifier\n"
      "    init_sparsity: 0.05\n"
      "    final_sparsity: 0.85\n"
      "    start_epoch: 0.5\n"
      "    end_epoch: 6\n"
      "    update_frequency: 0.1\n"
      "    params: ['re:.*conv.*', fc.weight]\n"
      "    inter_func: linear\n"
      "    mask_type: unstructured\n"
      "    leave_enabled: True\n"
      "modifiers:\n"
      "  - EpochRangeModifier:\n"
      "      start_epoch: 0\n"
      "      end_epoch: 9.5\n"
      "  - WeightNoiseModifier: {stddev: 0.25, end_epoch: 2}\n"
      "  - ProbeModifier:\n",
      "dir/r.yaml");
  CHECK(file.version == "1");
  CHECK(file.description == "two lines\nof text\n");
  CHECK((file.metadata == std::map<std::string, Value>{{"author", "somebody"}, {"year", 2025.0}}));
  CHECK(file.path == "dir/r.yaml");
  CHECK(file.run.empty());
  const auto& entries = file.recipe.entries();
  REQUIRE(entries.size() == 4);  // groups concatenated in the file's order
  CHECK(entries[0].type == "MagnitudePruningModifier");
  CHECK(entries[0].where == "dir/r.yaml:7:5");
  const auto fields = fields_of(entries[0]);
  CHECK(number_of(entries[0], "init_sparsity") == 0.05);
  CHECK(number_of(entries[0], "final_sparsity") == 0.85);
  CHECK(number_of(entries[0], "start_epoch") == 0.5);
  CHECK(number_of(entries[0], "end_epoch") == 6);
  CHECK(number_of(entries[0], "update_frequency") == 0.1);
  CHECK(fields.at("params") == "re:.*conv.*,fc.weight");
  CHECK(fields.at("inter_func") == "linear");
  CHECK(fields.at("leave_enabled") == "true");
  CHECK(entries[1].type == "EpochRangeModifier");
  CHECK(entries[1].where == "dir/r.yaml:18:5");
  CHECK(entries[2].type == "WeightNoiseModifier");
  CHECK(number_of(entries[2], "stddev") == 0.25);
  CHECK(entries[2].window.end_epoch == 2);
  CHECK(entries[3].type == "ProbeModifier");
  CHECK(file.recipe.epochs() == 10);
}

TEST_CASE("the run mapping keeps its values as text, with their places") {
  const auto file = parse_recipe(
      "num_epochs: 12\n"
      "run:\n"
      "  model: resnet20\n"
      "  data: generated:train=100,val=50\n"
      "  epochs: eval(num_epochs)\n"
      "  lr: 1e-1\n"
      "  nesterov: True\n" +
          std::string(kMinimal),
      "r.yaml");
  REQUIRE(file.run.size() == 5);
  CHECK(file.run.at("model").value == "resnet20");
  CHECK(file.run.at("model").where == "r.yaml:3:10");
  CHECK(file.run.at("data").value == "generated:train=100,val=50");
  CHECK(file.run.at("epochs").value == "12");
  CHECK(file.run.at("epochs").where == "r.yaml:5:11");
  CHECK(file.run.at("lr").value == "0.1");
  CHECK(file.run.at("nesterov").value == "true");
}

TEST_CASE("expressions follow Python's rules") {
  CHECK(evaluated("1 + 2 * 3") == 7);
  CHECK(evaluated("(1 + 2) * 3") == 9);
  CHECK(evaluated("7 / 2") == 3.5);
  CHECK(evaluated("-7 // 2") == -4);
  CHECK(evaluated("-7 % 3") == 2);
  CHECK(evaluated("7.5 % -2") == -0.5);
  CHECK(evaluated("-2 ** 2") == -4);
  CHECK(evaluated("2 ** 3 ** 2") == 512);
  CHECK(evaluated("2 ** -1") == 0.5);
  CHECK(evaluated("--3") == 3);
  CHECK(evaluated("1e-3 * 1E+3") == 1);
  CHECK(evaluated("10 - 4 - 3") == 3);
  CHECK(evaluated("100 / 10 / 2") == 5);
  CHECK(evaluated("min(n, 9, 3) + max(half)") == 3.5);
  CHECK(evaluated("abs(-2.5)") == 2.5);
  CHECK(evaluated("round(2.5) + round(3.5)") == 6);
  CHECK(evaluated("int(-2.9) + float(1)") == -1);
  CHECK(evaluated("round(0.55 * n)") == 4);
  CHECK(evaluated("unused * 2") == 15);
  CHECK(evaluated(" n ") == 7);
  CHECK(fields_of(only_entry("kind: 2:4\nmodifiers:\n  - !ProbeModifier\n    label: eval(kind)\n"))
            .at("label") == "2:4");
  CHECK(fields_of(only_entry("modifiers:\n  - !ProbeModifier\n    count: eval(10 / 2)\n")).at("count") ==
        "5");
  CHECK(fields_of(only_entry("modifiers:\n  - !ProbeModifier {names: [\"eval(1 + 1)\", b]}\n")).at("names") ==
        "2,b");
}

TEST_CASE("a value referred to many times over is evaluated once") {
  std::string text = "v30: 1\n";
  for (int i = 0; i < 30; ++i)  // 2^30 additions if every reference were followed
    text +=
        "v" + std::to_string(i) + ": eval(v" + std::to_string(i + 1) + " + v" + std::to_string(i + 1) + ")\n";
  CHECK(number_of(only_entry(text + "modifiers:\n  - !ProbeModifier\n    rate: eval(v0)\n"), "rate") ==
        1073741824.0);
}

TEST_CASE("arguments override variables, also where anchors were used") {
  const std::string text =
      "num_epochs: &epochs 10\n"
      "copy: *epochs\n"
      "kind: &kind unstructured\n"
      "half: eval(num_epochs / 2)\n"
      "modifiers:\n"
      "  - !ProbeModifier\n"
      "    count: *epochs\n"
      "    rate: eval(half)\n"
      "    label: *kind\n"
      "    names: [eval(copy), *kind]\n";
  CHECK(fields_of(only_entry(text)) == Fields{{"flag", "false"},
                                              {"count", "10"},
                                              {"rate", "5"},
                                              {"label", "unstructured"},
                                              {"names", "10,unstructured"}});
  const auto changed = fields_of(only_entry(text, {{"num_epochs", "30"}, {"kind", "2:4, a=b"}}));
  CHECK(changed.at("count") == "30");
  CHECK(changed.at("rate") == "15");
  CHECK(changed.at("label") == "2:4, a=b");
  CHECK(changed.at("names") == "30,2:4, a=b");
  // Overriding a variable that is itself an alias leaves the anchor alone.
  const auto copied = fields_of(only_entry(text, {{"copy", "3"}}));
  CHECK(copied.at("count") == "10");
  CHECK(copied.at("names") == "3,unstructured");
  CHECK(number_of(only_entry(text, {{"half", "eval(num_epochs + 1)"}}), "rate") == 11);
  CHECK(parse_recipe(text, "r.yaml", {{"num_epochs", "30"}}).text == text);
}

TEST_CASE("a written recipe loads back with equal fields") {
  Recipe recipe;
  GradualPruningOptions pruning;
  pruning.window = {0.1 + 0.2, 1e6 / 3};
  pruning.update_frequency = 1.0 / 3;
  pruning.final_sparsity = 5e-324;
  pruning.params = {"a \"quoted\" \\ name", "two\nlines\x01", "# no comment", "", "true", "re:.*[a-z]{2}: x"};
  recipe.add<MagnitudePruning>(pruning);
  Probe::Options probe;
  probe.flag = true;
  probe.count = std::numeric_limits<std::int64_t>::max();
  probe.rate = -1e300;
  probe.label = "\xC3\xA4 ~ null";
  recipe.add<Probe>(probe);
  recipe.add<EpochRange>({{0, 12}});
  const auto text = write_recipe(recipe);
  const auto loaded = parse_recipe(text, "written.yaml").recipe;
  REQUIRE(loaded.entries().size() == 3);
  for (std::size_t i = 0; i < 3; ++i) {
    INFO(text);
    CHECK(loaded.entries()[i].type == recipe.entries()[i].type);
    CHECK(fields_of(loaded.entries()[i]) == fields_of(recipe.entries()[i]));
  }
  CHECK(write_recipe(loaded) == text);

  probe.rate = std::numeric_limits<double>::quiet_NaN();
  CHECK_THROWS_AS(write_recipe(Recipe().add<Probe>(probe)), Error);
  probe.rate = 0;
  probe.label = "eval(1)";
  CHECK_THROWS_AS(write_recipe(Recipe().add<Probe>(probe)), Error);
}

TEST_CASE("a written file keeps its description, metadata and run") {
  const auto file = parse_recipe(
      "version: 1.0\n"
      "description: |\n"
      "  two \"lines\"\n"
      "  of text\n"
      "metadata: {author: 'yes, me', 'a key: with colon': 2025}\n"
      "run: {model: '20', epochs: 12, lr: 1e-1, nesterov: True, data: 'generated:train=100'}\n"
      "warm_stage:\n"
      "  metadata: {expected: 0.9}\n"
      "  modifiers:\n"
      "    - EpochRangeModifier: {end_epoch: 3}\n"
      "late_stage:\n"
      "  after: warm_stage\n"
      "  modifiers:\n"
      "    - ProbeModifier: {rate: 0.25}\n",
      "r.yaml");
  CHECK(file.version == "1");
  const auto text = write_recipe(file);
  CHECK_THAT(text, StartsWith("version: 1\n"
                              "description: \"two \\\"lines\\\"\\x0Aof text\\x0A\"\n"
                              "metadata:\n"
                              "  \"a key: with colon\": 2025\n"
                              "  \"author\": \"yes, me\"\n"
                              "  \"warm_stage.expected\": 0.9\n"
                              "run:\n"
                              "  data: \"generated:train=100\"\n"
                              "  epochs: 12\n"
                              "  lr: 0.1\n"
                              "  model: \"20\"\n"
                              "  nesterov: true\n"
                              "part_1_stage:\n"));
  const auto again = parse_recipe(text, "again.yaml");
  CHECK(again.description == file.description);
  CHECK((again.metadata == file.metadata));
  REQUIRE(again.run.size() == file.run.size());
  for (const auto& [key, value] : file.run) CHECK(again.run.at(key).value == value.value);
  REQUIRE(again.recipe.entries().size() == 2);
  CHECK(again.recipe.entries()[1].offset == 3);
  CHECK(write_recipe(again) == text);

  RecipeFile other;
  other.recipe = Recipe().add<Probe>();
  other.metadata = {{std::string(1001, 'x'), "y"}};
  CHECK_THROWS_WITH(write_recipe(other), ContainsSubstring("a key of more than 1000 characters"));
}

TEST_CASE("a stage's metadata is kept under its name") {
  const auto file = parse_recipe(
      "metadata: {author: a}\n"
      "first_stage:\n"
      "  length: 3\n"
      "  metadata: {author: b, epochs: eval(length)}\n"
      "  modifiers: [ProbeModifier: {}]\n",
      "r.yaml");
  CHECK((file.metadata == std::map<std::string, Value>{
                              {"author", "a"}, {"first_stage.author", "b"}, {"first_stage.epochs", 3.0}}));
}

TEST_CASE("recipes are found in the working directory first, then in the library") {
  const Sandbox sandbox;
  const auto library = sandbox.folder / "library";
  Sandbox::write(library / "mine.yaml", kMinimal);
  Sandbox::write(library / "other.yaml", kMinimal);
  REQUIRE_FALSE(recipe_library().empty());
  CHECK(recipe_library().front() == library);
  CHECK(find_recipe("mine") == library / "mine.yaml");
  CHECK(find_recipe("mine.yaml") == library / "mine.yaml");
  CHECK(find_recipe("pruned.yaml").filename() == "pruned.yaml");  // shipped
  Sandbox::write("mine.yaml", kMinimal);
  CHECK(find_recipe("mine") == "mine.yaml");
  CHECK(find_recipe("./mine") == "./mine.yaml");
  CHECK(load_recipe("mine").entries().size() == 1);
  CHECK(load_recipe_file((library / "other.yaml").string()).path == library / "other.yaml");
  CHECK(load_recipe_file("mine").text == kMinimal);
  CHECK_THROWS_WITH(find_recipe("./other"),
                    ContainsSubstring("./other: no such recipe"));  // a path is only a path
  CHECK_THROWS_WITH(find_recipe("prunned.yaml"),
                    ContainsSubstring("prunned.yaml: no such recipe; there are ") &&
                        ContainsSubstring("mine.yaml") && ContainsSubstring("other.yaml") &&
                        ContainsSubstring("did you mean 'pruned.yaml'?"));
  CHECK_THROWS_WITH(find_recipe("prunedquant"), ContainsSubstring("did you mean 'pruned_quant'?"));
  CHECK_THROWS_WITH(find_recipe(library.string()), ContainsSubstring("a folder; expected a recipe file"));
  CHECK_THROWS_WITH(find_recipe(""), ContainsSubstring("empty"));
  Sandbox::write("bad.yaml", "modifiers:\n  - !ProbeModifier {rate: x}\n");
  CHECK_THROWS_WITH(load_recipe("bad"), ContainsSubstring("bad.yaml:2:27: rate"));
}
