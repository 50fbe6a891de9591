// SPDX-License-Identifier: Apache-2.0
// sparsify recipe: what check, plan and list say of recipes that are wrong, and what the schema takes.
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <map>
#include <set>
#include <nlohmann/json.hpp>
#include <sstream>

#include "json_schema.hpp"
#include "run_program.hpp"

using Catch::Matchers::ContainsSubstring;
using cli::Folder;
using cli::sparsify;
using nlohmann::json;

namespace {

/// A recipe for a small network with these lines below `run:` and these modifiers.
std::string recipe(const std::string& run, const std::string& modifiers) {
  return "version: 1\nrun:\n  model: resnet8_cifar\n" + run + "modifiers:\n" + modifiers;
}

/// The recipes of the library whose names begin so.
std::vector<std::string> shipped(const std::string& family) {
  std::vector<std::string> names;
  for (const auto& file : cli::fs::directory_iterator(cli::fs::path(SPARSIFY_SOURCE) / "recipes"))
    if (const auto name = file.path().filename().string();
        name.starts_with(family) && name.ends_with(".yaml"))
      names.push_back(name);
  return names;
}

void must_bind(const std::string& family, const std::string& model, std::size_t recipes = 6) {
  const Folder folder;
  std::vector<std::string> check = {"recipe", "check", "--model", model};
  for (const auto& name : shipped(family)) check.push_back(name);
  REQUIRE(check.size() == 4 + recipes);
  const auto checked = sparsify(folder.path(), check);
  INFO(model << "\n" << checked.err);
  CHECK(checked.code == 0);
  CHECK_THAT(checked.out, ContainsSubstring("binds to " + model));
}

/// The flags of `train` that are settings, with the words that stand for their values.
std::map<std::string, std::string> setting_flags(const std::string& help) {
  std::map<std::string, std::string> flags;
  std::istringstream lines(help);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string flag, word;
    words >> flag >> word;
    if (flag.ends_with(",")) words >> word;  // "--image-size, --imgsz N"
    while (flag.ends_with(",")) flag.pop_back();
    if (!flag.starts_with("--") || (word != "N" && word != "X" && word != "TEXT" && word != "true|false"))
      continue;
    flag.erase(0, 2);
    for (auto& c : flag) c = c == '-' ? '_' : c;
    flags[flag] = word;
  }
  return flags;
}

/// The word for the values that the schema takes for a key of `run:`.
std::string kind_of(const json& schema) {
  if (cli::fits("text", schema)) return "TEXT";
  if (cli::fits(true, schema)) return "true|false";
  return cli::fits(0.5, schema) ? "X" : cli::fits(1, schema) ? "N" : "TEXT";  // the last: one of some texts
}

json schema_of(const Folder& folder) {
  const auto schema = sparsify(folder.path(), {"recipe", "schema"});
  REQUIRE(schema.code == 0);
  return json::parse(schema.out);
}

}  // namespace

TEST_CASE("recipe check finds every wrong value of run:, with its place, and what does not bind") {
  const Folder folder;
  cli::write(
      folder / "bad.yaml",
      recipe("  optimizer: sgdd\n  lr: -1\n  lr_schedule: foo\n  precision: fp17\n  device: xpu\n"
             "  momentum: 3\n  target: tpu\n  epochs: 5\n  batch_size: 0\n  workers: 257\n"
             "  warmup_epochs: 6\n  label_smoothing: 1\n  augment: some\n  distill_teacher: runs/dense\n",
             "  - EpochRangeModifier: {end_epoch: 8}\n  - ConstantPruningModifier: {params: [layer9]}\n"));
  const auto checked = sparsify(folder.path(), {"recipe", "check", "bad.yaml", "dense"});
  INFO(checked.err);
  CHECK(checked.code == 2);
  CHECK_THAT(checked.out, ContainsSubstring("dense.yaml: ok") && !ContainsSubstring("bad.yaml"));
  for (const std::string message :
       {"bad.yaml:4:14: run: optimizer: expected sgd or adamw, got 'sgdd'\n",
        "bad.yaml:5:7: run: lr: expected a number > 0, got -1\n",
        "bad.yaml:6:16: run: lr_schedule: expected cosine, linear or constant, got 'foo'\n",
        "bad.yaml:7:14: run: precision: expected auto, fp32, bf16 or fp16, got 'fp17'\n",
        "bad.yaml:8:11: run: device: expected auto, cpu, cuda or cuda:<i>, got 'xpu'\n",
        "bad.yaml:9:13: run: momentum: expected a number >= 0 and < 1, got 3\n",
        "bad.yaml:10:11: run: target: expected cpu or gpu, got 'tpu'\n",
        "bad.yaml:11:11: run: epochs: got 5, the recipe needs 8\n",
        "bad.yaml:12:15: run: batch_size: expected a number >= 1, got 0\n",
        "bad.yaml:13:12: run: workers: expected a number from 0 to 256, got 257\n",
        "bad.yaml:14:18: run: warmup_epochs: expected at most the number of epochs, got 6\n",
        "bad.yaml:15:20: run: label_smoothing: expected a number >= 0 and < 1, got 1\n",
        "bad.yaml:16:12: run: augment: expected auto or none, got 'some'\n",
        "bad.yaml:17:20: run: distill_teacher: the recipe has no DistillationModifier",
        "bad.yaml:20:5: ConstantPruningModifier: params: 'layer9' matches no parameter"})
    CHECK_THAT(checked.err, ContainsSubstring(message));

  // `train` says the same before it reads data; flags have their own names, and what they replace is not
  // judged.
  const auto trained =
      sparsify(folder.path(), {"train", "--recipe", "bad.yaml", "--weights", "w.pth", "--data", "nowhere",
                               "--optimizer", "sgd", "--momentum", "2"});
  CHECK(trained.code == 2);
  CHECK_THAT(trained.err, ContainsSubstring("bad.yaml:5:7: run: lr: expected a number > 0, got -1"));
  CHECK_THAT(trained.err, ContainsSubstring("--momentum: expected a number >= 0 and < 1, got 2"));
  CHECK_THAT(trained.err, !ContainsSubstring("run: optimizer") && !ContainsSubstring("run: momentum"));
}

TEST_CASE("recipe check compares run: with the recipe, and leaves to each machine which devices it has") {
  const Folder folder;
  cli::write(folder / "a.yaml",
             "version: 1\nrun:\n  model: resnet8_cifra\n  target: gpu\n  device: 'cuda:40'\n  weights: ''\n"
             "modifiers:\n  - QuantizationModifier: {scheme: cpu, start_epoch: 1}\n");
  const auto checked = sparsify(folder.path(), {"recipe", "check", "a.yaml"});
  CHECK(checked.code == 2);
  CHECK_THAT(checked.err, ContainsSubstring("a.yaml:3:10: run: model: model 'resnet8_cifra' is not known"));
  CHECK_THAT(checked.err,
             ContainsSubstring("a.yaml:4:11: run: target: expected cpu, which the recipe quantizes"));
  CHECK_THAT(checked.err, ContainsSubstring("a.yaml:6:12: run: weights: is empty, expected text"));
  CHECK_THAT(checked.err, !ContainsSubstring("run: device: expected"));
  cli::write(folder / "base.yaml", recipe("  device: cuda\n", "  - EpochRangeModifier: {end_epoch: 2}\n"));
  cli::write(folder / "b.yaml", "extends: base.yaml\nversion: 1\nrun: {seed: -1}\n");
  const auto extended = sparsify(folder.path(), {"recipe", "check", "b.yaml", "base.yaml"});
  CHECK(extended.code == 2);
  CHECK_THAT(extended.err, ContainsSubstring("b.yaml:3:13: run: seed: expected a number >= 0, got -1"));
  CHECK_THAT(extended.out, ContainsSubstring("base.yaml: ok"));
}

TEST_CASE("recipe plan refuses fewer epochs than the recipe needs, and plans very long ones") {
  const Folder folder;
  cli::write(folder / "short.yaml", recipe("  epochs: 5\n", "  - EpochRangeModifier: {end_epoch: 8}\n"));
  for (const std::string action : {"check", "plan", "plot"}) {
    const auto refused = sparsify(folder.path(), {"recipe", action, "short.yaml"});
    INFO(action);
    CHECK(refused.code == 2);
    CHECK_THAT(refused.err, ContainsSubstring("short.yaml:4:11: run: epochs: got 5, the recipe needs 8"));
  }
  cli::write(folder / "late.yaml", recipe("  epochs: 5\n", "  - QuantizationModifier: {start_epoch: 5}\n"));
  for (const std::string action : {"check", "plan", "plot"}) {
    const auto refused = sparsify(folder.path(), {"recipe", action, "late.yaml"});
    INFO(action);
    CHECK(refused.code == 2);
    CHECK_THAT(refused.err, ContainsSubstring("quantization would begin at step 500, but training ends"));
  }
  // A loop over all steps would not end.
  cli::write(folder / "long.yaml",
             recipe("",
                    "  - MagnitudePruningModifier: {params: [fc], final_sparsity: 0.5, start_epoch: 0, "
                    "end_epoch: 1000000, update_frequency: 1000}\n"
                    "  - LearningRateFunctionModifier: {init_lr: 0.1, final_lr: 0, end_epoch: 1000000}\n"));
  for (const std::string action : {"check", "plan", "plot"}) {
    const auto planned =
        sparsify(folder.path(), {"recipe", action, "long.yaml", "--steps-per-epoch", "1000000"});
    INFO(action << planned.err);
    CHECK(planned.code == 0);
  }
}

TEST_CASE("recipe plan shows every kind of sparsity in percent, in one chart") {
  const Folder folder;
  cli::write(folder / "a.yaml",
             recipe("",
                    "  - StructuredPruningModifier: {params: [layer1], final_sparsity: 0.5, end_epoch: 2}\n"
                    "  - MagnitudePruningModifier: {params: [layer2], final_sparsity: 0.9, end_epoch: 2}\n"));
  const auto plan = sparsify(folder.path(), {"recipe", "plan", "a.yaml"});
  INFO(plan.out << plan.err);
  CHECK_THAT(plan.out, ContainsSubstring("filter sparsity") && ContainsSubstring("5.0 % to 50.0 %") &&
                           ContainsSubstring("5.0 % to 90.0 %") && !ContainsSubstring("0.05"));
  REQUIRE(sparsify(folder.path(), {"recipe", "plot", "a.yaml", "--output", "a.html"}).code == 0);
  const auto page = cli::read(folder / "a.html");
  CHECK_THAT(page, ContainsSubstring("<h2>sparsity by epoch</h2>") &&
                       !ContainsSubstring("<h2>filter sparsity by epoch</h2>"));
}

TEST_CASE("recipe plan tells modifiers of one type apart by their lines") {
  const Folder folder;
  cli::write(folder / "base.yaml",
             "version: 1\nrun: {model: resnet8_cifar}\nlr_modifiers:\n"
             "  - LearningRateFunctionModifier: {init_lr: 0.1, final_lr: 0, end_epoch: 2}\n");
  cli::write(folder / "my.yaml",
             "extends: base.yaml\nversion: 1\nmodifiers:\n"
             "  - ConstantPruningModifier: {params: [fc]}\n"
             "  - ConstantPruningModifier: {params: [conv1]}\n");
  const auto plan = sparsify(folder.path(), {"recipe", "plan", "my.yaml"});
  INFO(plan.out << plan.err);
  REQUIRE(plan.code == 0);
  std::map<std::string, std::string> modifiers;  // by line of the recipe
  std::istringstream rows(plan.out);
  for (std::string row; std::getline(rows, row);) {
    std::istringstream cells(row);
    std::string modifier, line;
    cells >> modifier >> line;
    if (modifier.ends_with("Modifier")) modifiers[line] = modifier;
  }
  CHECK(modifiers == std::map<std::string, std::string>{{"4", "ConstantPruningModifier"},
                                                        {"5", "ConstantPruningModifier"},
                                                        {"base.yaml:4", "LearningRateFunctionModifier"}});
}

TEST_CASE("recipe list goes on after a bad file, and knows all containers of recipes") {
  const Folder folder;
  const std::string modifiers = "modifiers:\n  - !EpochRangeModifier {end_epoch: 1}\n";
  cli::write(folder / "mine/a.yaml", "version: 1\ndescription: first of mine\n" + modifiers);
  cli::write(folder / "mine/b.yml", "version: 1\ndescription: second of mine\n" + modifiers);
  cli::write(folder / "mine/c.md",
             "---\nversion: 1\ndescription: third of mine\n" + modifiers + "---\n# Text\n");
  cli::write(folder / "mine/d.json", R"({"version": 1, "description": "fourth of mine",
                                         "modifiers": [{"EpochRangeModifier": {"end_epoch": 1}}]})");
  cli::write(folder / "mine/bad.yaml", "version: 1\nmodifiers:\n  - EpochRangeModifier: {end_epoc: 3}\n");
  cli::write(folder / "mine/README.md", "# What is here\n\nRecipes.\n");
  const auto list = cli::run(
      folder.path(), "env", {"SPARSIFY_RECIPES=" + (folder / "mine").string(), "sparsify", "recipe", "list"});
  INFO(list.out << list.err);
  CHECK(list.code == 0);
  CHECK_THAT(list.out, ContainsSubstring("first of mine") && ContainsSubstring("second of mine") &&
                           ContainsSubstring("third of mine") && ContainsSubstring("fourth of mine"));
  CHECK_THAT(list.err, ContainsSubstring("warning: ") &&
                           ContainsSubstring("bad.yaml:3:26: unknown field 'end_epoc'") &&
                           !ContainsSubstring("README.md"));
  CHECK_THAT(list.out, ContainsSubstring("pruned_quant.yaml") && !ContainsSubstring("bad.yaml"));
}

TEST_CASE("every ready-made recipe says what to expect") {
  const Folder folder;
  const auto list = sparsify(folder.path(), {"recipe", "list"});
  std::istringstream rows(list.out);
  std::string header;
  std::getline(rows, header);
  const auto column = header.find("expected");
  REQUIRE(column != std::string::npos);
  int recipes = 0;
  for (std::string row; std::getline(rows, row);) {
    INFO(row);
    CHECK(row.size() > column);
    if (!row.starts_with("-")) ++recipes;
    if (row.starts_with("resnet_two_four_quant") || row.starts_with("resnet_transfer_quant"))
      CHECK(row.substr(column) == "not measured here");
  }
  CHECK(recipes >= 16);
}

TEST_CASE("the recipes of detectors bind to YOLOv3, -SPP and -tiny") {
  for (const std::string model : {"yolov3", "yolov3-spp", "yolov3-tiny"}) must_bind("yolov3", model, 2);
}

TEST_CASE("the recipes for ResNets bind to ResNet-18 and ResNet-34") {
  for (const std::string model : {"resnet18", "resnet34"}) must_bind("resnet_", model);
}

TEST_CASE("the recipes for ResNeXts bind to ResNeXt-101", "[long]") {
  must_bind("resnext_", "resnext101_32x8d");
}

TEST_CASE("run: has a key for every setting of train, of the same kind, and it reaches the run") {
  const Folder folder;
  const auto flags = setting_flags(sparsify(folder.path(), {"train", "--help"}).out);
  std::map<std::string, std::string> keys;
  const auto schema = schema_of(folder);
  for (const auto& [name, key] : schema.at("properties").at("run").at("anyOf")[0].at("properties").items())
    keys[name] = kind_of(key);
  CHECK(keys == flags);

  // None of these is the default.
  json run = {{"model", "resnet8_cifar"},
              {"data", "generated:train=32,val=16"},
              {"image_size", 32},
              {"multi_scale", 0.5},
              {"autoanchor", false},
              {"epochs", 1},
              {"batch_size", 16},
              {"nbs", 32},
              {"optimizer", "adamw"},
              {"lr", 0.25},
              {"lrf", 0.5},
              {"lr_schedule", "linear"},
              {"warmup_epochs", 0.5},
              {"warmup_bias_lr", 0.25},
              {"warmup_momentum", 0.75},
              {"momentum", 0.5},
              {"nesterov", false},
              {"weight_decay", 0.125},
              {"label_smoothing", 0.25},
              {"ema_decay", 0.5},
              {"augment", "none"},
              {"seed", 7},
              {"device", "cpu"},
              {"precision", "fp32"},
              {"workers", 1},
              {"target", "gpu"},
              {"output", "there"}};
  const json rest = {{"modifiers", {{{"ConstantPruningModifier", {{"params", "fc"}}}}}}, {"version", 1}};
  const auto write = [&](json recipe) {
    recipe.update(rest);
    cli::write(folder / "all.json", recipe.dump());
  };
  write({{"run", run}});
  const auto trained = sparsify(folder.path(), {"train", "--recipe", "all.json", "--no-export"});
  INFO(trained.err);
  REQUIRE(trained.code == 0);
  const auto settings = cli::read_json(folder / "there" / "config.json").at("settings");
  for (const auto& [name, value] : run.items()) {
    INFO(name);
    CHECK(settings.at(name) == value);
  }
  for (const auto& [name, word] : flags) CHECK(settings.contains(name));

  // The others name files, which are looked for.
  run["output"] = "elsewhere";
  const std::vector<std::string> files = {"weights", "hyp", "baseline", "distill_teacher"};
  for (const auto& name : files) {
    auto with = run;
    with[name] = "nowhere";
    write({{"run", with}});
    const auto refused = sparsify(folder.path(), {"train", "--recipe", "all.json"});
    CHECK(refused.code == 2);
    CHECK_THAT(refused.err, ContainsSubstring("nowhere"));
  }
  CHECK(run.size() + files.size() == flags.size());
}

TEST_CASE("ranges of run: are those of the schema, and of recipe check") {
  const Folder folder;
  const auto schema = schema_of(folder);
  const auto& keys = schema.at("properties").at("run").at("anyOf")[0].at("properties");
  struct Try {
    const char* key;
    json value;
    bool good;
  };
  const std::vector<Try> tries = {{"optimizer", "sgd", true},
                                  {"optimizer", "sgdd", false},
                                  {"lr", 0.1, true},
                                  {"lr", 0, false},
                                  {"lr_schedule", "foo", false},
                                  {"momentum", 0, true},
                                  {"momentum", 1, false},
                                  {"epochs", 0, true},
                                  {"epochs", -1, false},
                                  {"epochs", 1000001, false},
                                  {"batch_size", 0, false},
                                  {"workers", 256, true},
                                  {"workers", 257, false},
                                  {"warmup_epochs", -1, false},
                                  {"warmup_bias_lr", -1, false},
                                  {"warmup_momentum", 1, false},
                                  {"multi_scale", 0.5, true},
                                  {"multi_scale", 1, false},
                                  {"label_smoothing", 1, false},
                                  {"ema_decay", 0.5, true},
                                  {"ema_decay", -0.5, false},
                                  {"augment", "some", false},
                                  {"precision", "bf16", true},
                                  {"precision", "fp17", false},
                                  {"target", "gpu", true},
                                  {"target", "tpu", false},
                                  {"seed", -1, false},
                                  {"weight_decay", -1, false},
                                  {"image_size", -32, false},
                                  {"model", "resnet8_cifar", true}};
  std::vector<std::string> check = {"recipe", "check"};
  for (std::size_t i = 0; i < tries.size(); ++i) {
    const auto& [key, value, good] = tries[i];
    INFO(key << ": " << value);
    CHECK(cli::fits(value, keys.at(key)) == good);
    const auto file = "run" + std::to_string(i) + ".json";
    const json recipe = {{"version", 1},
                         {"run", {{key, value}}},
                         {"modifiers", {{{"EpochRangeModifier", {{"end_epoch", 1}}}}}}};
    // 0 epochs are as many as the recipe needs.
    cli::write(folder / file, recipe.dump());
    check.push_back(file);
  }
  const auto checked = sparsify(folder.path(), check);
  for (std::size_t i = 0; i < tries.size(); ++i) {
    INFO(tries[i].key << ": " << tries[i].value << "\n" << checked.err);
    const auto file = "run" + std::to_string(i) + ".json:";
    CHECK((checked.err.find(file) == std::string::npos) == tries[i].good);
  }
}

TEST_CASE("without any one field, the loader and the schema say the same") {
  const Folder folder;
  const auto schema = schema_of(folder);
  const json good = {{"start_epoch", 0},
                     {"end_epoch", 4},
                     {"final_sparsity", 0.5},
                     {"compression_sparsity", 0.5},
                     {"forward_sparsity", 0.5},
                     {"backward_sparsity", 0.5},
                     {"params", {"fc"}},
                     {"layers", {"layer1"}},
                     {"lr_class", "ExponentialLR"},
                     {"lr_kwargs", {{"gamma", 0.5}}},
                     {"init_lr", 0.1},
                     {"final_lr", 0.01},
                     {"learning_rate", 0.1},
                     {"weight_decay", 0.1},
                     {"val", 1},
                     {"trainable", false}};
  std::vector<std::string> check = {"recipe", "check"};
  std::map<std::string, bool> fits;  // by file
  std::set<std::string> required;
  const auto attempt = [&](const std::string& name, const std::string& modifier, const json& fields) {
    const json recipe = {{"version", 1}, {"modifiers", {{{modifier, fields}}}}};
    cli::write(folder / (name + ".json"), recipe.dump());
    check.push_back(name + ".json");
    return fits[name + ".json"] = cli::fits(recipe, schema);
  };
  for (const auto& [modifier, fields] : schema.at("definitions").at("named").at("properties").items()) {
    json whole = json::object();
    for (const auto& [field, one] : fields.at("properties").items()) {
      if (good.contains(field)) whole[field] = good[field];
      // A field at its default is a field written.
      else if (one.contains("default") && !one["default"].is_array() && one["default"] != "")
        whole[field] = one["default"];
    }
    INFO(whole.dump());
    CHECK(attempt(modifier, modifier, whole));
    for (const auto& [field, value] : whole.items()) {
      auto without = whole;
      without.erase(field);
      if (!attempt(modifier + "-" + field, modifier, without)) required.insert(modifier + "." + field);
    }
  }
  const auto checked = sparsify(folder.path(), check);
  for (const auto& [file, is_good] : fits) {
    INFO(cli::read(folder / file) << "\n" << checked.err);
    CHECK((checked.out.find(file + ": ok") != std::string::npos) == is_good);
  }
  for (const char* name :
       {"MagnitudePruningModifier.final_sparsity", "ACDCPruningModifier.compression_sparsity",
        "TopKASTPruningModifier.forward_sparsity", "TopKASTPruningModifier.backward_sparsity",
        "RigLPruningModifier.end_epoch", "LearningRateFunctionModifier.end_epoch",
        "EpochRangeModifier.end_epoch", "GradualParamModifier.params", "GradualParamModifier.end_epoch",
        "SetParamModifier.params", "TrainableParamsModifier.params", "LayerPruningModifier.layers",
        "LearningRateModifier.lr_kwargs"})
    CHECK(required.count(name) == 1);
  CHECK(required.count("MagnitudePruningModifier.params") == 0);
}

TEST_CASE("limits of fields are those of the schema, and the loader's") {
  const Folder folder;
  const auto schema = schema_of(folder);
  struct Try {
    std::string file, field;
    bool good;
  };
  std::vector<Try> tries;
  std::vector<std::string> check = {"recipe", "check"};
  std::set<std::string> limited;
  const auto attempt = [&](const std::string& modifier, const std::string& field, const json& value,
                           bool good) {
    const json recipe = {{"version", 1}, {"modifiers", {{{modifier, {{field, value}}}}}}};
    INFO(recipe.dump());
    const auto of_field =
        schema.at("definitions").at("named").at("properties").at(modifier).at("properties").at(field);
    CHECK(cli::fits(value, of_field) == good);
    tries.push_back({"try" + std::to_string(tries.size()) + ".json", field, good});
    cli::write(folder / tries.back().file, recipe.dump());
    check.push_back(tries.back().file);
    limited.insert(modifier + "." + field);
  };
  for (const auto& [modifier, fields] : schema.at("definitions").at("named").at("properties").items())
    for (const auto& [field, whole] : fields.at("properties").items()) {
      const auto forms = whole.value("anyOf", json::array({whole}));
      const bool minus_one = std::find(forms.begin(), forms.end(), json{{"const", -1}}) != forms.end();
      for (const auto& form : forms) {
        for (const auto& text : form.value("enum", json::array())) attempt(modifier, field, text, true);
        if (form.contains("enum")) attempt(modifier, field, "other", false);
        if (form.contains("minimum")) {
          attempt(modifier, field, form["minimum"], true);
          attempt(modifier, field, form["minimum"].get<double>() - 2, false);
          attempt(modifier, field, form["minimum"].get<double>() - 1, minus_one);
        }
        if (form.contains("exclusiveMinimum")) attempt(modifier, field, form["exclusiveMinimum"], false);
        if (form.contains("maximum")) {
          attempt(modifier, field, form["maximum"], true);
          attempt(modifier, field, form["maximum"].get<double>() + 1, false);
        }
        if (form.contains("exclusiveMaximum")) attempt(modifier, field, form["exclusiveMaximum"], false);
        if (form == json{{"const", -1}}) attempt(modifier, field, -1, true);
      }
    }
  CHECK(limited.size() >= 90);
  for (const char* name : {"QuantizationModifier.scheme", "QuantizationModifier.observer",
                           "StructuredPruningModifier.mask_type", "GMPruningModifier.inter_func",
                           "LearningRateFunctionModifier.lr_func", "LearningRateModifier.lr_class",
                           "MagnitudePruningModifier.final_sparsity", "EpochRangeModifier.end_epoch"})
    CHECK(limited.count(name) == 1);

  const auto checked = sparsify(folder.path(), check);
  for (const auto& [file, field, good] : tries) {
    std::string messages;  // what is missing is said too
    std::istringstream lines(checked.err);
    for (std::string line; std::getline(lines, line);)
      if (line.starts_with(file + ":")) messages += line + "\n";
    INFO(cli::read(folder / file) << "\n" << messages);
    CHECK((messages.find(": " + field + ": expected ") == std::string::npos) == good);
  }
}

TEST_CASE("the schema takes what the loader takes, and refuses what it refuses") {
  const Folder folder;
  const auto schema = schema_of(folder);
  const std::string end = R"_("modifiers": [{"EpochRangeModifier": {"end_epoch": 1}}])_";
  const std::vector<std::string> good = {
      end,
      R"_("n": 1, "modifiers": [{"EpochRangeModifier": {"end_epoch": "eval(n)"}}])_",
      R"_("which": "fc", "modifiers": [{"ConstantPruningModifier": {"params": ["eval(which)"]}}])_",
      R"_("which": ["fc"], "modifiers": [{"ConstantPruningModifier": {"params": "eval(which)"}}])_",
      R"_("__metadata__": {"author": "me"}, )_" + end,
      R"_("modifiers": {"EpochRangeModifier": {"end_epoch": 1}, "DistillationModifier": null})_",
      R"_("first": {)_" + end + R"_(}, "second": {"after": "first", )_" + end + "}",
      R"_("warm_stage": {"n": 2, "start_epoch": "eval(n)", )_" + end + "}",
      R"_("extends": "base.json", "pruning_modifiers": null)_",
      R"_("extends": "base.json", "run": {"target": null}, "description": null)_",
      R"_("run": {"lr": "eval(2 / 10)", "epochs": 3, "nesterov": false}, )_" + end};
  const std::vector<std::string> wrong = {
      R"_("modifiers": [{"EpochRangeModifier": {"end_epoc": 1}}])_",
      R"_("modifiers": [{"EpochRangeModifier": {"end_epoch": "late"}}])_",
      R"_("modifiers": [{"EpochRangeModifer": {"end_epoch": 1}}])_",
      R"_("modifiers": [{"EpochRangeModifier": null, "TrainableParamsModifier": null}])_",
      R"_("modifiers": {"EpochRangeModifier": {"end_epoch": true}})_",
      R"_("modifiers": [])_",
      R"_("pruning_modifiers": null, )_" + end,
      R"_("run": {"target": null}, )_" + end,
      R"_("run": {"epochs": 1.5}, )_" + end,
      R"_("run": {"epoch": 1}, )_" + end,
      R"_("list": [[1]], )_" + end,
      R"_("warm_stage": {"run_type": "oneshot", )_" + end + "}"};
  const auto whole = [](const std::string& text) { return "{\"version\": 1, " + text + "}"; };
  const std::string base = R"_("description": "base", "run": {"target": "cpu"},
                               "pruning_modifiers": [{"ConstantPruningModifier": {"params": "fc"}}], )_";
  cli::write(folder / "base.json", whole(base + end));
  const auto name = [](bool is_good, std::size_t i) {
    return (is_good ? "good" : "wrong") + std::to_string(i) + ".json";
  };
  std::vector<std::string> check = {"recipe", "check"};
  for (const bool is_good : {true, false})
    for (std::size_t i = 0; i < (is_good ? good : wrong).size(); ++i) {
      const auto text = whole((is_good ? good : wrong)[i]);
      INFO(text);
      CHECK(cli::fits(json::parse(text), schema) == is_good);
      cli::write(folder / name(is_good, i), text);
      check.push_back(name(is_good, i));
    }
  const auto checked = sparsify(folder.path(), check);
  INFO(checked.err);
  for (std::size_t i = 0; i < good.size(); ++i)
    CHECK_THAT(checked.out, ContainsSubstring(name(true, i) + ": ok"));
  for (std::size_t i = 0; i < wrong.size(); ++i)
    CHECK_THAT(checked.err, ContainsSubstring(name(false, i) + ":"));
  CHECK_THAT(checked.out, !ContainsSubstring("wrong"));

  // Editors drop tags: fields that are of one kind in all modifiers keep it.
  const auto tagged = [&](const char* fields) {
    return cli::fits({{"version", 1}, {"modifiers", json::array({json::parse(fields)})}}, schema);
  };
  CHECK(tagged(R"_({"params": ["fc", "eval(which)"], "start_epoch": "eval(n)", "leave_enabled": true})_"));
  CHECK(tagged(R"_({"params": "fc", "final_sparsity": {"0.5": ["fc"]}})_"));
  CHECK_FALSE(tagged(R"_({"params": {"fc": 1}})_"));
  CHECK_FALSE(tagged(R"_({"start_epoch": "soon"})_"));
  CHECK_FALSE(tagged(R"_({"leave_enabled": 3})_"));
  CHECK_FALSE(tagged(R"_({"end_epoc": 3})_"));
}
