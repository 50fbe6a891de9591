// SPDX-License-Identifier: Apache-2.0
// Stages, extending, containers, lists as variables: what a recipe file can say beyond a list of modifiers.
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <filesystem>
#include <fstream>
#include <unistd.h>

#include "sparsify/modifiers/magnitude_pruning.hpp"
#include "sparsify/session.hpp"
#include "yaml_text.hpp"

using namespace sparsify;
using namespace sparsify::test;
using Catch::Matchers::ContainsSubstring;
namespace fs = std::filesystem;

namespace {

struct Folder {
  fs::path path = fs::temp_directory_path() / ("sparsify_grammar_" + std::to_string(::getpid()));
  Folder() { fs::create_directories(path); }
  ~Folder() { fs::remove_all(path); }
  std::string write(const std::string& name, const std::string& text) const {
    std::ofstream(path / name) << text;
    return (path / name).string();
  }
};

std::string file_error(const std::string& file) {
  try {
    load_recipe_file(file);
  } catch (const RecipeError& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("stages have variables of their own and follow each other") {
  const auto file = parse_recipe(
      "version: 1\n"
      "rate: 0.5\n"
      "dense_stage:\n"
      "  length: 3\n"
      "  training_modifiers:\n"
      "    - EpochRangeModifier: {start_epoch: 0, end_epoch: eval(length)}\n"
      "    - ProbeModifier: {rate: eval(rate)}\n"
      "sparse_stage:\n"
      "  after: dense_stage\n"
      "  length: 4\n"
      "  rate: 0.25\n"
      "  pruning_modifiers:\n"
      "    - MagnitudePruningModifier: {start_epoch: 0.5, end_epoch: eval(length), final_sparsity: "
      "eval(rate)}\n"
      "last_stage:\n"
      "  start_epoch: eval(2 * 10)\n"
      "  modifiers:\n"
      "    - ProbeModifier:\n",
      "r.yaml");
  const auto& entries = file.recipe.entries();
  REQUIRE(entries.size() == 4);
  CHECK(entries[0].window.end_epoch == 3);
  CHECK(number_of(entries[1], "rate") == 0.5);
  CHECK(entries[2].offset == 3);
  CHECK(entries[2].window.start_epoch == 3.5);
  CHECK(entries[2].window.end_epoch == 7);
  CHECK(number_of(entries[2], "start_epoch") == 0.5);
  CHECK(number_of(entries[2], "final_sparsity") == 0.25);
  CHECK(entries[3].offset == 20);
  CHECK(entries[3].window.start_epoch == 20);  // -1, from the beginning, is the stage's
  CHECK(file.recipe.epochs() == 20);

  const auto longer = parse_recipe(file.text, "r.yaml", {{"length", "10"}});  // in every stage that has it
  CHECK(longer.recipe.entries()[2].window.start_epoch == 10.5);
  CHECK(longer.recipe.entries()[2].window.end_epoch == 20);

  const auto again = parse_recipe(write_recipe(file.recipe), "again.yaml");
  REQUIRE(again.recipe.entries().size() == 4);
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK(fields_of(again.recipe.entries()[i]) == fields_of(entries[i]));
    CHECK(again.recipe.entries()[i].offset == entries[i].offset);
  }
}

TEST_CASE("a bound stage begins where it should") {
  const auto file = parse_recipe(
      "version: 1\n"
      "a_stage: {modifiers: [EpochRangeModifier: {end_epoch: 2}]}\n"
      "b_stage:\n"
      "  after: a_stage\n"
      "  modifiers:\n"
      "    - MagnitudePruningModifier: {start_epoch: 1, end_epoch: 3, final_sparsity: 0.5, update_frequency: "
      "1}\n",
      "r.yaml");
  torch::nn::Linear net(8, 4);
  torch::optim::SGD optimizer(net->parameters(), 0.1);
  const Session session(file.recipe, *net, optimizer, 10);
  const auto& schedule = session.schedules().at(1).at(0);
  CHECK(schedule.plan.start == 30);
  CHECK(schedule.plan.end == 50);
  CHECK(schedule.value(49) == 0.5);
  CHECK(schedule.parameters == std::vector<std::string>{"weight"});
}

TEST_CASE("a recipe extends another: variables, groups, run") {
  const Folder folder;
  folder.write("base.yaml",
               "version: 1\n"
               "epochs: &epochs 10\n"
               "level: 0.8\n"
               "run: {model: linear, epochs: eval(epochs)}\n"
               "training_modifiers:\n"
               "  - EpochRangeModifier: {end_epoch: *epochs}\n"
               "pruning_modifiers:\n"
               "  - MagnitudePruningModifier: {end_epoch: 5, final_sparsity: eval(level)}\n"
               "extra_modifiers:\n"
               "  - ProbeModifier:\n");
  const auto child = folder.write("child.yaml",
                                  "# keeps its comments\n"
                                  "extends: base.yaml\n"
                                  "epochs: 20\n"
                                  "level: 0.9\n"
                                  "run: {batch_size: 4}\n"
                                  "extra_modifiers:\n");
  const auto file = load_recipe_file(child);
  const auto& entries = file.recipe.entries();
  REQUIRE(entries.size() == 2);
  CHECK(number_of(entries[0], "end_epoch") == 20);  // through the anchor
  CHECK(number_of(entries[1], "final_sparsity") == 0.9);
  CHECK(file.run.at("model").value == "linear");
  CHECK(file.run.at("epochs").value == "20");
  CHECK(file.run.at("batch_size").value == "4");

  // The text says all: it is what a run keeps.
  CHECK_THAT(file.text, ContainsSubstring("# keeps its comments") && ContainsSubstring("level: 0.8"));
  const auto kept = parse_recipe(file.text, "elsewhere/recipe.yaml", {{"level", "0.7"}});
  REQUIRE(kept.recipe.entries().size() == 2);
  CHECK(number_of(kept.recipe.entries()[0], "end_epoch") == 20);
  CHECK(number_of(kept.recipe.entries()[1], "final_sparsity") == 0.7);
  CHECK(parse_recipe(kept.text, "again.yaml").text == kept.text);

  const auto grandchild = folder.write("grandchild.yaml", "extends: child.yaml\nlevel: 0.95\n");
  const auto third = load_recipe_file(grandchild);
  CHECK(number_of(third.recipe.entries()[1], "final_sparsity") == 0.95);
  CHECK(number_of(parse_recipe(third.text, "r.yaml").recipe.entries()[1], "final_sparsity") == 0.95);
}

TEST_CASE("a recipe extends another: stages key by key") {
  const Folder folder;
  folder.write("base.yaml",
               "version: 1\n"
               "first_stage:\n"
               "  length: 3\n"
               "  metadata: {author: a, extends: nothing}\n"
               "  modifiers:\n"
               "    - EpochRangeModifier: {end_epoch: eval(length)}\n"
               "second_stage: &second\n"
               "  after: first_stage\n"
               "  rate: 0.25\n"
               "  modifiers:\n"
               "    - ProbeModifier: {rate: eval(rate)}\n"
               "third_stage: *second\n");
  const auto file = load_recipe_file(folder.write("child.yaml",
                                                  "extends: base.yaml\n"
                                                  "first_stage: {length: 5, metadata: {year: 2025}}\n"
                                                  "third_stage:\n"
                                                  "  rate: 0.75\n"
                                                  "  more_modifiers:\n"
                                                  "    - ProbeModifier: {rate: 1}\n"));
  const auto check = [](const RecipeFile& one) {
    const auto& entries = one.recipe.entries();
    REQUIRE(entries.size() == 4);
    CHECK(number_of(entries[0], "end_epoch") == 5);
    CHECK(entries[1].offset == 5);
    CHECK(number_of(entries[1], "rate") == 0.25);  // another use of the same stage
    CHECK(number_of(entries[2], "rate") == 0.75);
    CHECK(entries[2].offset == 5);
    CHECK(number_of(entries[3], "rate") == 1);
    CHECK((one.metadata == std::map<std::string, Value>{{"first_stage.author", "a"},
                                                        {"first_stage.extends", "nothing"},
                                                        {"first_stage.year", 2025.0}}));
  };
  check(file);
  check(parse_recipe(file.text, "kept.yaml"));
}

TEST_CASE("mistakes in what is extended are shown where they are") {
  const Folder folder;
  folder.write("base.yaml", "version: 1\nmodifiers:\n  - ProbeModifier: {rat: 1}\n");
  CHECK_THAT(
      file_error(folder.write("child.yaml", "extends: base.yaml\n")),
      ContainsSubstring("base.yaml:3:21: unknown field 'rat'") && ContainsSubstring("did you mean 'rate'"));
  folder.write("loose.yaml", "version: 1\nlevel: 0.5\nmodifiers:\n  - !ProbeModifier {rate: eval(level)}\n");
  const std::string without = "extends: loose.yaml\nversion: 1\nmodifiers:\n  - !ProbeModifier\n";
  CHECK_THAT(file_error(folder.write("child.yaml", without)),
             ContainsSubstring("loose.yaml:2:1: variable 'level' is not used by what extends this recipe; "
                               "expected 'level:' there, without a value, which removes it"));
  CHECK(load_recipe(folder.write("child.yaml", without + "level:\n")).entries().size() == 1);
  CHECK_THAT(file_error(folder.write("missing.yaml", "extends: basis.yaml\n")),
             ContainsSubstring("missing.yaml:1:10: extends: basis.yaml: no such recipe"));
  folder.write("a.yaml", "extends: b.yaml\n");
  folder.write("b.yaml", "extends: a.yaml\n");
  CHECK_THAT(file_error((folder.path / "a.yaml").string()), ContainsSubstring("extends this recipe in turn"));
  CHECK_THAT(file_error(folder.write("list.yaml", "extends: [base.yaml]\n")),
             ContainsSubstring("list.yaml:1:10: extends: expected the name of a recipe, got a list"));
}

TEST_CASE("the front matter that holds modifiers is found, and lines count from the file's top") {
  const std::string markdown =
      "<!-- a licence -->\n"
      "---\n"
      "title: about something else\n"
      "---\n"
      "# Words\n"
      "---\n"
      "level: 0.5\n"
      "pruning_modifiers:\n"
      "  - !ProbeModifier\n"
      "    rate: eval(level)\n"
      "---\n"
      "More words: with colons\n";
  const auto file = parse_recipe(markdown, "r.md");
  CHECK(number_of(file.recipe.entries().at(0), "rate") == 0.5);
  CHECK(file.recipe.entries().at(0).where == "r.md:9:5");
  CHECK(parse_recipe(file.text, "recipe.yaml").recipe.entries().size() == 1);  // what is kept is YAML
  CHECK_THROWS_WITH(parse_recipe("# Words\n---\ntitle: x\n---\n", "r.md"),
                    ContainsSubstring("r.md: no recipe in this Markdown file"));
  // A sentence is no group.
  CHECK(number_of(parse_recipe("---\nThese are the modifiers: foo\n---\nwords\n---\nmodifiers:\n"
                               "  - ProbeModifier: {rate: 0.25}\n---\n",
                               "r.md")
                      .recipe.entries()
                      .at(0),
                  "rate") == 0.25);
  const Folder folder;
  CHECK_THAT(file_error(folder.write("bad.md", "words\n+++\nmodifiers:\n  - ProbeModifier: {rat: 1}\n+++\n")),
             ContainsSubstring("bad.md:4:21: unknown field 'rat'"));
}

TEST_CASE("JSON recipes are read") {
  const auto file = parse_recipe(
      "{\n\t\"version\": 1,\n\t\"modifiers\": [\n\t\t{\"ProbeModifier\": {\"rate\": 0.25, \"flag\": true, "
      "\"names\": [\"a\"]}}\n\t]\n}\n",
      "r.json");
  const auto fields = fields_of(file.recipe.entries().at(0));
  CHECK(fields.at("rate") == "0.25");
  CHECK(fields.at("flag") == "true");
  CHECK(fields.at("names") == "a");
}

TEST_CASE("characters that JSON escapes in two halves are read") {
  const auto label_of = [](const std::string& text) {
    const auto file =
        parse_recipe("{\"modifiers\": [{\"ProbeModifier\": {\"label\": \"" + text + "\"}}]}", "r.json");
    return fields_of(file.recipe.entries().at(0)).at("label");
  };
  CHECK(label_of("a \\ud83d\\ude00 \\uD83D\\uDE00\\u00e4") == "a \xF0\x9F\x98\x80 \xF0\x9F\x98\x80\xC3\xA4");
  CHECK(label_of("\\\\ud83d\\\\ude00") == "\\ud83d\\ude00");  // backslashes, no escapes
  CHECK(label_of("\\udbff\\udfff") == "\xF4\x8F\xBF\xBF");
  CHECK_THROWS_AS(label_of("\\ud83d"), RecipeError);
}

TEST_CASE("a variable may be a list") {
  const auto file = parse_recipe(
      "version: 1\n"
      "layers: [conv1, 'eval(second)']\n"
      "second: conv2\n"
      "modifiers:\n"
      "  - ProbeModifier: {names: eval(layers)}\n"
      "  - MagnitudePruningModifier:\n"
      "      end_epoch: 1\n"
      "      final_sparsity: {0.8: eval(layers), 0.9: ['fc.*']}\n",
      "r.yaml");
  CHECK(fields_of(file.recipe.entries()[0]).at("names") == "conv1,conv2");
  CHECK(fields_of(file.recipe.entries()[1]).at("final_sparsity") == "{0.8:[conv1,conv2],0.9:[fc.*]}");
}

TEST_CASE("an argument may be a list") {
  const std::string text =
      "version: 1\n"
      "layers: &layers [conv1, conv2]\n"
      "modifiers:\n"
      "  - ProbeModifier: {names: eval(layers)}\n"
      "  - ProbeModifier: {names: *layers}\n";
  const auto names_of = [&](const std::string& argument) {
    const auto file = parse_recipe(text, "r.yaml", {{"layers", argument}});
    const auto names = fields_of(file.recipe.entries().at(0)).at("names");
    CHECK(fields_of(file.recipe.entries().at(1)).at("names") == names);
    return names;
  };
  CHECK(names_of("[layer1, 'layer3.0, b', \"c\"]") == "layer1,layer3.0, b,c");
  CHECK(names_of("layer1") == "layer1");
  CHECK(names_of("[a-z]+[0-9]") == "[a-z]+[0-9]");  // a text
  CHECK(names_of("[a") == "[a");
  const std::string wrong =
      "version: 1\nn: 1\nmodifiers:\n  - SetLearningRateModifier: {learning_rate: 0.1, param_groups: "
      "eval(n)}\n";
  CHECK_THROWS_WITH(
      parse_recipe(wrong, "r.yaml", {{"n", "[0, x]"}}),
      ContainsSubstring(
          "r.yaml:2:4: param_groups: expected a whole number, got 'x' (from --recipe-arg n=[0, x])"));
}

TEST_CASE("arguments may hold colons and commas") {
  const auto file = parse_recipe("version: 1\nkind: x\nmodifiers:\n  - ProbeModifier: {label: eval(kind)}\n",
                                 "r.yaml", {{"kind", "2:4, and more"}});
  CHECK(fields_of(file.recipe.entries()[0]).at("label") == "2:4, and more");
}
