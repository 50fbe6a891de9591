// SPDX-License-Identifier: Apache-2.0
// Each mistake gives one clear message at the right place.
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "malformed.hpp"
#include "yaml_text.hpp"

using namespace sparsify;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::EndsWith;
using Catch::Matchers::StartsWith;

namespace {

struct Case {
  const char* name;
  std::string text;
  const char* place;    // "line:column"
  const char* message;  // a part of it
};

RecipeError error_of(const std::string& text, const RecipeArguments& arguments = {}) {
  try {
    parse_recipe(text, "r.yaml", arguments);
  } catch (const RecipeError& error) {
    return error;
  }
  FAIL_CHECK("no error for:\n" << text);
  return RecipeError("");
}

std::string probe(const std::string& fields) { return "modifiers:\n  - !ProbeModifier\n" + fields; }

std::string gmp(const std::string& fields) {
  return "modifiers:\n  - !GMPruningModifier\n    end_epoch: 4\n    final_sparsity: 0.8\n" + fields;
}

/// In our own dialect, in which nothing is overlooked.
std::string ours(const std::string& text) { return text + "version: 1\n"; }

std::string repeat(const std::string& text, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) all += text;
  return all;
}

std::string alias_bomb() {
  std::string text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 9; ++i) {
    const auto previous = "*a" + std::to_string(i - 1);
    text += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + repeat(previous + ", ", 9) +
            previous + "]\n";
  }
  return text + "modifiers: []\n";
}

std::string chain_of_variables(int length) {
  std::string text;
  for (int i = 0; i < length; ++i)
    text += "v" + std::to_string(i) + ": eval(v" + std::to_string(i + 1) + ")\n";
  return text + "v" + std::to_string(length) + ": 1\n" + probe("    count: eval(v0)\n");
}

const std::vector<Case>& cases() {
  static const std::vector<Case> all{
      // The file as a whole.
      {"empty file", "", "1:1", "the recipe is empty; expected 'modifiers:'"},
      {"only comments", "# nothing\n\n", "1:1", "the recipe is empty"},
      {"a list at the top", "- !ProbeModifier\n", "1:1",
       "expected a mapping at the top ('modifiers:' with a list below), got a list"},
      {"text at the top", "pruned\n", "1:1", "got 'pruned'"},
      {"no modifiers", "run:\n  epochs: 3\n", "1:1", "the recipe has no modifiers"},
      {"two documents", probe("") + "---\nmodifiers: []\n", "3:1", "a second YAML document begins here"},
      // YAML itself.
      {"tab as indentation", "modifiers:\n  - !ProbeModifier\n\tcount: 1\n", "3:1",
       "a tab is used as indentation"},
      {"unclosed bracket", probe("    names: [a, b\n"), "4:1", "a '[' is not closed"},
      {"unclosed quote", probe("    label: \"abc\n"), "3:5", "a quote opened here or after it is not closed"},
      {"unclosed quote over the next keys", probe("    label: 'abc\n    count: 3\n") + "run: {}\n", "3:5",
       "a quote opened here or after it is not closed"},
      {"fields beside the dash", "modifiers:\n  - !ProbeModifier\n  count: 1\n", "3:3",
       "check the indentation"},
      {"a colon in plain text", probe("    label: a: b\n"), "3:13", "a ':' is not allowed here"},
      {"undefined alias", probe("    count: *nowhere\n"), "3:12", "alias refers to no anchor"},
      {"alias of itself", "modifiers: &m\n  - *m\n", "2:5",
       "this alias stands inside the value it refers to"},
      {"merge key", "base: &b {count: 1}\nmodifiers:\n  - !ProbeModifier\n    <<: *b\n", "4:5",
       "merge keys ('<<') are not part of recipes"},
      {"list as key", "? [a, b]\n: 1\n", "1:3", "a key must be a plain name, got a list"},
      {"duplicate field", probe("    count: 1\n    count: 2\n"), "4:5",
       "'count' is given twice; the first is on line 3"},
      {"duplicate group", probe("") + "modifiers: []\n", "3:1",
       "'modifiers' is given twice; the first is on line 1"},
      {"deep nesting", "modifiers: " + repeat("[", 40) + repeat("]", 40), "1:43",
       "nested more than 32 levels deep"},
      {"alias bomb", alias_bomb(), "5:55", "more than 100000 values once aliases are followed"},
      // The top level.
      {"modifiers under another key", "pruning:\n  - !ProbeModifier\n", "1:1",
       "its name does not end in 'modifiers'; expected e.g. 'pruning_modifiers'"},
      {"modifiers in the middle of a key", ours("pruning_modifiers_list:\n  - ProbeModifier: {}\n"), "1:1",
       "its name does not end in 'modifiers'; expected e.g. 'pruning_modifiers'"},
      {"a stage without modifiers", "first_stage:\n  length: 3\n" + ours(probe("")), "1:1",
       "stage 'first_stage': expected a mapping with 'modifiers:' in it, got a mapping"},
      {"a stage that is a list", "first_stage: [1]\n" + ours(probe("")), "1:1",
       "variable 'first_stage' is not used"},
      {"after nothing known",
       ours("b_stage: {after: a_stag, modifiers: [ProbeModifier: {}]}\n"
            "a_stage: {modifiers: [ProbeModifier: {}]}\n"),
       "1:18", "after: there is no stage 'a_stag'; did you mean 'a_stage'?"},
      {"stages in a circle",
       ours("a_stage: {after: b_stage, modifiers: [ProbeModifier: {}]}\n"
            "b_stage: {after: a_stage, modifiers: [ProbeModifier: {}]}\n"),
       "2:18", "after: stages come after each other in a circle"},
      {"a stage after itself", ours("a_stage: {after: a_stage, modifiers: [ProbeModifier: {}]}\n"), "1:18",
       "after: stages come after each other in a circle"},
      {"a stage with two beginnings",
       ours("a_stage: {modifiers: [ProbeModifier: {}]}\n"
            "b_stage: {after: a_stage, start_epoch: 3, modifiers: [ProbeModifier: {}]}\n"),
       "2:40", "a stage has either 'after' or 'start_epoch'"},
      {"a stage before the beginning", ours("a_stage: {start_epoch: -2, modifiers: [ProbeModifier: {}]}\n"),
       "1:24", "start_epoch: expected an epoch >= 0"},
      {"a stage at no number", ours("a_stage: {start_epoch: soon, modifiers: [ProbeModifier: {}]}\n"), "1:24",
       "start_epoch: expected a number, got 'soon'"},
      {"unused variable of a stage", ours("a_stage: {length: 3, modifiers: [ProbeModifier: {}]}\n"), "1:11",
       "variable 'length' is not used"},
      {"a variable of another stage",
       ours("a_stage: {length: 3, modifiers: [ProbeModifier: {rate: eval(length)}]}\n"
            "b_stage: {modifiers: [ProbeModifier: {rate: eval(length)}]}\n"),
       "2:50", "there is no variable 'length'"},
      {"list as variable, unused", "layers: [a, b]\n" + ours(probe("")), "1:1",
       "variable 'layers' is not used"},
      {"list as variable where a number is wanted", "layers: [a, b]\n" + probe("    rate: eval(layers)\n"),
       "4:16", "variable 'layers' holds a list; expected a single value here"},
      {"mapping as variable", "layers: {a: b}\n" + ours(probe("")), "1:1",
       "variable 'layers': expected a single value, or a list of them, got a mapping"},
      {"variable without value", "epochs:\n" + ours(probe("")), "1:1",
       "variable 'epochs': expected a single value, or a list of them, got nothing"},
      {"extends nothing", "extends:\n" + ours(probe("")), "1:1",
       "extends: expected the name of a recipe, got nothing"},
      {"extends what is not there", "extends: no_such_recipe_anywhere\n" + ours(probe("")), "1:10",
       "extends: no_such_recipe_anywhere: no such recipe"},
      {"unused variable", "num_epochs: 3\n" + ours(probe("")), "1:1", "variable 'num_epochs' is not used"},
      {"mistyped section", "desciption: abc\n" + ours(probe("")), "1:1", "did you mean 'description'?"},
      {"metadata as text", "metadata: me\n" + probe(""), "1:11",
       "metadata: expected a mapping ('author: name'), got 'me'"},
      {"version as list", "version: [1]\n" + probe(""), "1:10", "version: expected text, got a list"},
      {"a later version", "version: 2\nmodifiers:\n  - ProbeModifier:\n", "1:10",
       "version: expected 1, the only one there is, got '2'"},
      {"SparseML's version without its marks", "version: 1.1.0\nmodifiers:\n  - ProbeModifier:\n", "1:10",
       "version: expected 1, the only one there is, got '1.1.0'"},
      {"a version that is computed", "one: 1\nversion: eval(one)\n" + probe(""), "2:10",
       "version: expected 1, the only one there is, got 'eval(one)'"},
      {"stages below a key", "stages:\n  a_stage:\n    modifiers: {ProbeModifier: {}}\n", "1:1",
       "'stages' of SparseML's recipes is not supported: each stage is a key of its own that ends in "
       "'stage'"},
      {"variables below a key", "args: {num_epochs: 3}\n" + ours(probe("")), "1:1",
       "'args' of SparseML's recipes is not supported: each variable is a key of its own"},
      {"stages below a key, beside modifiers", probe("") + "stages:\n  a_stage: {modifiers: []}\n", "3:1",
       "'stages' of SparseML's recipes is not supported"},
      {"metadata of a stage as text", ours("a_stage: {metadata: me, modifiers: [ProbeModifier: {}]}\n"),
       "1:21", "metadata: expected a mapping ('author: name'), got 'me'"},
      // Groups and entries.
      {"empty group", "modifiers: []\n", "1:12",
       "modifiers: the list is empty; expected at least one modifier"},
      {"group without value", "modifiers:\nrun: {}\n", "1:1",
       "modifiers: expected a list of modifiers ('- !NameOfModifier'), got nothing"},
      {"empty mapping as group", "modifiers: {}\n", "1:12",
       "modifiers: the list is empty; expected at least one modifier"},
      {"text in a group that is a mapping", "modifiers:\n  ProbeModifier: fast\n", "2:18",
       "expected fields ('name: value') of ProbeModifier, got 'fast'"},
      {"unknown name in a group that is a mapping", "modifiers:\n  ProbModifier: {}\n", "2:3",
       "unknown modifier 'ProbModifier'"},
      {"unknown modifier", "modifiers:\n  - !GMPruningModifer\n", "2:5",
       "unknown modifier 'GMPruningModifer'; expected one of ACDCPruningModifier, "},
      {"its suggestion", "modifiers:\n  - !GMPruningModifer\n", "2:5", "did you mean 'GMPruningModifier'?"},
      {"short modifier name", "modifiers:\n  - !Probe\n", "2:5", "did you mean 'ProbeModifier'?"},
      {"name without tag", "modifiers:\n  - ProbeModifier\n", "2:5",
       "expected '- !NameOfModifier' with its fields below, got 'ProbeModifier'"},
      {"empty entry", "modifiers:\n  -  # nothing\n  - !ProbeModifier\n", "2:3",
       "expected '- !NameOfModifier' with its fields below, got nothing"},
      {"list below a modifier", "modifiers:\n  - !ProbeModifier\n    - count: 1\n", "2:5",
       "expected fields ('name: value') below !ProbeModifier, got a list"},
      {"value beside a modifier", "modifiers:\n  - !ProbeModifier 3\n", "2:5",
       "expected fields ('name: value') below !ProbeModifier, got '3'"},
      {"flat plain entry", "modifiers:\n  - ProbeModifier:\n    count: 1\n", "3:5",
       "the fields of ProbeModifier must be indented deeper than its name"},
      {"two modifiers in one entry", "modifiers:\n  - ProbeModifier: {}\n    GMPruningModifier: {}\n", "3:5",
       "one list entry holds one modifier"},
      {"plain entry with a list", "modifiers:\n  - ProbeModifier: [1]\n", "2:20",
       "expected fields ('name: value') of ProbeModifier, got a list"},
      // Fields.
      {"unknown field", probe("    coutn: 3\n"), "3:5",
       "unknown field 'coutn'; expected one of flag, count, rate, label, names in ProbeModifier; did you "
       "mean 'count'?"},
      {"text for a number", probe("    rate: fast\n"), "3:11", "rate: expected a number, got 'fast'"},
      {"quoted number", probe("    rate: \"0.5\"\n"), "3:11", "rate: expected a number, got the text '0.5'"},
      {"list for a number", probe("    rate: [0.5]\n"), "3:11", "rate: expected a number, got a list"},
      {"mapping for a number", probe("    rate: {a: 1}\n"), "3:11", "rate: expected a number, got a mapping"},
      {"no value", ours(probe("    rate:\n    count: 1\n")), "3:5", "rate: expected a number, got nothing"},
      {"not a number", probe("    rate: .nan\n"), "3:11", "rate: expected a number, got '.nan'"},
      {"infinity", probe("    rate: inf\n"), "3:11", "rate: expected a number, got 'inf'"},
      {"beyond the range", probe("    rate: 1e999\n"), "3:11", "rate: expected a number, got '1e999'"},
      {"comma as point", probe("    rate: 0,5\n"), "3:11", "rate: expected a number, got '0,5'"},
      {"fraction for an integer", probe("    count: 1.5\n"), "3:12",
       "count: expected a whole number, got '1.5'"},
      {"integer too large", probe("    count: 99999999999999999999\n"), "3:12",
       "count: expected a whole number"},
      {"yes for a boolean", probe("    flag: yes\n"), "3:11", "flag: expected true or false, got 'yes'"},
      {"list for text", probe("    label: [a]\n"), "3:12", "label: expected text, got a list"},
      {"mapping for a list", probe("    names: {a: b}\n"), "3:12",
       "names: expected a list of texts, got a mapping"},
      {"nested list", probe("    names: [a, [b]]\n"), "3:16", "names: expected text, got a list"},
      {"tag on a value", probe("    rate: !!float 3\n"), "3:11", "has no meaning here; expected a number"},
      {"out of range", probe("    rate: 1\n    count: -1\n"), "4:12", "count: expected at least 0"},
      {"modifier refuses", probe("    label: trouble\n"), "2:5", "ProbeModifier: cannot be built"},
      {"sparsity in percent",
       "modifiers:\n  - !GMPruningModifier\n    end_epoch: 4\n    final_sparsity: 85\n", "4:21",
       "final_sparsity: expected a fraction from 0 to 1, got 85"},
      {"required field missing", "modifiers:\n  - !GMPruningModifier\n    end_epoch: 4\n", "2:5",
       "final_sparsity: is required"},
      {"end before start", gmp("    start_epoch: 9\n"), "3:16", "end_epoch: must lie after start_epoch"},
      {"unknown interpolation", gmp("    inter_func: quartic\n"), "5:17",
       "inter_func: expected linear, cubic or inverse_cubic, got 'quartic'"},
      {"through an alias", "s: &s 85\n" + probe("    count: 1\n    rate: 2\n    label: *s\n    flag: *s\n"),
       "7:11", "flag: expected true or false, got '85'"},
      // Variables and expressions.
      {"unknown variable",
       "num_epochs: 4\n" + probe("    rate: eval(num_epoch / 2)\n    count: eval(num_epochs)\n"), "4:16",
       "there is no variable 'num_epoch'; did you mean 'num_epochs'?"},
      {"expression ends early", probe("    rate: eval(1 +)\n"), "3:19",
       "expected a number, a name or '(' before the end"},
      {"operator missing", probe("    rate: eval(1 2)\n"), "3:18",
       "expected an operator or the end, got '2'"},
      {"parenthesis missing", probe("    rate: eval((1 + 2)\n"), "3:22", "expected ')'"},
      {"not closed", probe("    rate: eval(1 + 2\n"), "3:11", "'eval(' is not closed"},
      {"division by zero", probe("    rate: eval(1 / (2 - 2))\n"), "3:18", "division by zero"},
      {"overflow", probe("    rate: eval(10 ** 400)\n"), "3:19", "the result is not a finite number"},
      {"unknown function", probe("    rate: eval(pow(2, 3))\n"), "3:16",
       "unknown function 'pow'; expected abs, float, int, max, min or round"},
      {"code in an expression", probe("    rate: \"eval(__import__('os'))\"\n"), "3:17",
       "unknown function '__import__'"},
      {"too many operands", probe("    rate: eval(abs(1, 2))\n"), "3:16", "abs() takes one operand, got 2"},
      {"text in arithmetic", "kind: fast\n" + probe("    rate: eval(2 * kind)\n"), "4:20",
       "'kind' is 'fast', not a number"},
      {"expression gives a fraction", probe("    count: eval(3 / 2)\n"), "3:12",
       "count: expected a whole number, got 'eval(3 / 2)', which is '1.5'"},
      {"two expressions with one value as keys",
       "a: 0.5\nb: 0.5\nmodifiers:\n  - !GMPruningModifier\n    end_epoch: 4\n"
       "    final_sparsity: {eval(a): [x], eval(b): [y]}\n",
       "6:36", "final_sparsity: '0.5' is given twice"},
      {"circle", "a: eval(b)\nb: eval(a + 1)\n" + probe("    rate: eval(a)\n"), "2:9",
       "in a circle: a -> b -> a"},
      {"long chain", chain_of_variables(100), "32:11", "more than 32 times in a row"},
      {"deep expression", probe("    rate: eval(" + repeat("(", 90) + "1" + repeat(")", 90) + ")\n"), "3:80",
       "nested more than 64 levels deep"},
      // run:
      {"unknown run key", "run:\n  batchsize: 3\n" + probe(""), "2:3", "did you mean 'batch_size'?"},
      {"run as list", "run: [epochs]\n" + probe(""), "1:6",
       "run: expected a mapping ('epochs: 12'), got a list"},
      {"run value of the wrong kind", "run:\n  epochs: twelve\n" + probe(""), "2:11",
       "run: epochs: expected a whole number, got 'twelve'"},
      {"run value as list", "run:\n  model: [a]\n" + probe(""), "2:10",
       "run: model: expected text, got a list"},
  };
  return all;
}

}  // namespace

TEST_CASE("every malformed recipe is refused with its place and what was expected") {
  REQUIRE(cases().size() + test::malformed_field_cases() >= 150);
  for (const auto& one : cases()) {
    INFO(one.name << "\n" << one.text.substr(0, 300));
    const auto error = error_of(one.text);
    CHECK_THAT(error.what(), StartsWith("r.yaml:" + std::string(one.place) + ": "));
    CHECK_THAT(error.what(), ContainsSubstring(one.message));
    CHECK(error.problems().size() == 1);
  }
}

TEST_CASE("a message shows the line and a caret below the mistake") {
  CHECK(std::string(error_of(probe("    count: 1\n    rate: fast  # really\n")).what()) ==
        "r.yaml:4:11: rate: expected a number, got 'fast'\n"
        "        rate: fast  # really\n"
        "              ^");
  // Columns count characters, not bytes; carriage returns are no part of the line.
  CHECK(std::string(
            error_of("modifiers:\r\n  - !ProbeModifier {label: \xC3\xA4\xC3\xB6, rate: x}\r\n").what()) ==
        "r.yaml:2:38: rate: expected a number, got 'x'\n"
        "      - !ProbeModifier {label: \xC3\xA4\xC3\xB6, rate: x}\n"
        "                                         ^");
  CHECK_THAT(error_of("\xEF\xBB\xBFmodifiers:\n  - !Nothing\n").what(),
             StartsWith("r.yaml:2:5: unknown modifier"));
}

TEST_CASE("all mistakes of a file are reported together, in the file's order") {
  const auto error = error_of(
      "run: {epochs: many}\n"
      "modifiers:\n"
      "  - !ProbeModifier\n"
      "    rate: fast\n"
      "    cuont: 1\n"
      "  - !NoSuchModifier\n"
      "  - !ProbeModifier\n"
      "    count: -3\n"
      "more:\n"
      "  - !ProbeModifier\n");
  REQUIRE(error.problems().size() == 6);
  const std::vector<std::pair<int, int>> places{{1, 15}, {4, 11}, {5, 5}, {6, 5}, {8, 12}, {9, 1}};
  for (std::size_t i = 0; i < places.size(); ++i) {
    CHECK(error.problems()[i].line == places[i].first);
    CHECK(error.problems()[i].column == places[i].second);
  }
  CHECK_THAT(error.what(), ContainsSubstring("\nr.yaml:5:5: unknown field 'cuont'"));

  std::string many = "modifiers:\n";
  for (int i = 0; i < 30; ++i) many += "  - !ProbeModifier {rate: x}\n";
  CHECK(error_of(many).problems().size() == 30);
  CHECK_THAT(error_of(many).what(), EndsWith("... and 10 more"));
}

TEST_CASE("wrong arguments are refused") {
  const auto text =
      "num_epochs: 4\nname: abc\n" + probe("    count: eval(num_epochs)\n    label: eval(name)\n");
  CHECK(std::string(error_of(text, {{"num_epoch", "3"}}).what()) ==
        "r.yaml: --recipe-arg num_epoch=3: the recipe has no variable 'num_epoch'; it has name, num_epochs; "
        "did you mean 'num_epochs'?");
  CHECK_THAT(error_of(probe(""), {{"x", "3"}}).what(), ContainsSubstring("no variable 'x'; it has none"));
  CHECK_THAT(error_of(text, {{"modifiers", "3"}}).what(), ContainsSubstring("no variable 'modifiers'"));
  CHECK_THAT(
      error_of(text, {{"num_epochs", "many"}}).what(),
      StartsWith("r.yaml:5:12: count: expected a whole number, got 'eval(num_epochs)', which is 'many'"));
  CHECK(std::string(error_of(text, {{"name", "[a, [b]]"}}).what()) ==
        "r.yaml: --recipe-arg name=[a, [b]]: expected a single value, or a list of them");
  const auto anchored = "n: &n 4\n" + probe("    count: *n\n");
  CHECK_THAT(
      error_of(anchored, {{"n", "many"}}).what(),
      StartsWith("r.yaml:4:12: count: expected a whole number, got 'many' (from --recipe-arg n=many)"));
}

TEST_CASE("files that are no text are refused") {
  CHECK_THAT(error_of(std::string("a: 1\0\n", 6)).what(), ContainsSubstring("not a text file"));
  CHECK_THAT(error_of(std::string((1 << 20) + 1, ' ')).what(), ContainsSubstring("larger than 1 MiB"));
}
