// SPDX-License-Identifier: Apache-2.0
// What users get wrong: each mistake has its exit code, says what it is, and leaves nothing behind.
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <functional>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "run_program.hpp"

using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::StartsWith;
using cli::Folder;
using cli::sparsify;
using Arguments = std::vector<std::string>;

namespace {

/// Runs a command that must fail: with this code, a message that holds all the fragments, and no file more
/// than before.
void must_fail(const Folder& folder, const Arguments& arguments, int code, const Arguments& fragments,
               const cli::RunOptions& options = {}) {
  std::string shown = "sparsify";
  for (const auto& argument : arguments) shown += " " + argument;
  const auto before = folder.listing();
  const auto failed = sparsify(folder.path(), arguments, options);
  INFO(shown << "\n" << failed.err << failed.out);
  CHECK(failed.code == code);
  CHECK_THAT(failed.err, ContainsSubstring("sparsify"));
  for (const auto& fragment : fragments) CHECK_THAT(failed.err, ContainsSubstring(fragment));
  CHECK_THAT(failed.err,
             !ContainsSubstring("Exception raised from") && !ContainsSubstring("terminate called"));
  CHECK(folder.listing() == before);
}

std::string replaced(std::string text, const std::string& what, const std::string& by) {
  const auto at = text.find(what);
  REQUIRE(at != std::string::npos);
  return text.replace(at, what.size(), by);
}

void must_refuse_recipe(const std::string& text, const Arguments& fragments) {
  const Folder folder;
  cli::write(folder / "bad.yaml", text);
  must_fail(folder, {"train", "--recipe", "bad.yaml"}, 2, fragments);
}

/// Two classes, `count` images each in train and val.
void write_image_folder(const Folder& folder, int count) {
  for (const std::string part : {"train", "val"})
    for (const std::string name : {"cat", "dog"})
      for (int i = 0; i < count; ++i)
        cli::write_image(folder / "images" / part / name / (std::to_string(i) + ".bmp"), 32, 9, 90, 200);
}

const Arguments kOnImages = {"train",        "--recipe", "small.yaml",   "--data", "images",
                             "--image-size", "32",       "--batch-size", "4"};

}  // namespace

TEST_CASE("usage errors") {
  const Folder folder;
  CHECK(sparsify(folder.path(), {}).code == 2);
  must_fail(folder, {"trian"}, 2, {"unknown command 'trian'", "did you mean 'train'"});
  must_fail(folder, {"--verison"}, 2, {"unknown option"});
  must_fail(folder, {"train", "--epoch", "3"}, 2,
            {"sparsify train: unknown option '--epoch'", "did you mean '--epochs'"});
  must_fail(folder, {"train", "--recipe"}, 2, {"recipe", "missing an argument"});
  must_fail(folder, {"train"}, 2, {"no recipe is given"});
  must_fail(folder, {"train", "pruned.yaml"}, 2, {"unexpected argument 'pruned.yaml'", "--recipe"});
  must_fail(folder, {"train", "--recipe", "nosuch.yaml"}, 2, {"nosuch.yaml: no such recipe"});
  must_fail(folder, {"train", "--recipe", "pruned_quant.yaml", "--recipe-arg", "sparsity"}, 2,
            {"--recipe-arg 'sparsity'", "name=value"});
  must_fail(folder, {"train", "--recipe", "dense.yaml", "--recipe-arg", "sparsty=0.9"}, 2, {"sparsty"});
  must_fail(folder, {"train", "--resume"}, 2, {"--resume", "--output"});
  must_fail(folder, {"train", "--resume", "--output", "nowhere"}, 2, {"nowhere: no such run directory"});
  must_fail(folder, {"validate"}, 2, {"what is to be validated"});
  must_fail(folder, {"validate", "nowhere"}, 2, {"nowhere: no such"});
  must_fail(folder, {"export", "nowhere", "--output", "m.onnx"}, 2, {"nowhere: no such"});
  must_fail(folder, {"export", "nowhere"}, 2, {"--output"});
  must_fail(folder, {"inspect"}, 2, {"missing argument"});
  must_fail(folder, {"recipe", "chek", "dense.yaml"}, 2, {"unknown action 'chek'", "did you mean 'check'"});
}

TEST_CASE("settings of the wrong type or out of range") {
  const Folder folder;
  const auto with = [](const Arguments& more) {
    Arguments arguments = {"train", "--recipe", "dense.yaml"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  };
  must_fail(folder, with({"--epochs", "many"}), 2, {"--epochs: got 'many', expected a whole number"});
  must_fail(folder, with({"--epochs", "2"}), 2, {"the recipe needs 12"});
  must_fail(folder, with({"--batch-size", "0"}), 2, {"--batch-size: expected a number >= 1"});
  must_fail(folder, with({"--momentum", "0.9x"}), 2, {"--momentum: got '0.9x', expected a number"});
  must_fail(folder, with({"--label-smoothing", "1.5"}), 2,
            {"--label-smoothing: expected a number >= 0 and < 1"});
  must_fail(folder, with({"--optimizer", "sdg"}), 2, {"sdg"});
  must_fail(folder, with({"--model", "resnet8_cifra"}), 2, {"resnet8_cifra", "did you mean 'resnet8_cifar'"});
  must_fail(folder, with({"--device", "tpu"}), 2, {"device", "tpu"});
  must_fail(folder, with({"--precision", "fp8"}), 2, {"precision", "fp8"});
  must_fail(folder, with({"--target", "npu"}), 2, {"--target", "npu"});
  must_fail(folder, with({"--baseline", "nowhere"}), 2, {"--baseline nowhere"});
  must_fail(folder, with({"--data", "generated:train=x"}), 2, {"train=x"});
  must_fail(folder, with({"--json", "no/such/folder.json"}), 2, {"--json"});
  must_fail(folder, {"train", "--recipe", "pruned_quant.yaml", "--target", "gpu"}, 2,
            {"--target gpu", "quantizes for cpu"});
  must_fail(folder, with({"--resume=false"}), 2, {"--resume takes no value, got 'false'"});
  must_fail(folder, {"recipe", "list", "more"}, 2, {"unexpected argument 'more'"});
  cli::write(folder / "trt.yaml", replaced(cli::small_recipe(2), "scheme: cpu", "scheme: tensorrt"));
  must_fail(folder, {"train", "--recipe", "trt.yaml", "--target", "cpu"}, 2,
            {"--target cpu", "quantizes for gpu"});
  cli::write(folder / "late.yaml", replaced(cli::small_recipe(2), "start_epoch: 1}", "start_epoch: 2}"));
  must_fail(folder, {"train", "--recipe", "late.yaml"}, 2,
            {"quantization would begin at step", "ends after"});
  const auto late = sparsify(folder.path(), {"recipe", "check", "late.yaml"});
  CHECK(late.code == 2);
  CHECK_THAT(late.err, ContainsSubstring("quantization would begin at step"));
}

TEST_CASE("recipes with mistakes are refused with the place and the reason") {
  const auto good = cli::small_recipe(2);
  must_refuse_recipe(replaced(good, "params: __ALL_PRUNABLE__", "params: [__ALL_PRUNABLE__"), {"bad.yaml:"});
  must_refuse_recipe(replaced(good, "final_sparsity", "final_sparisty"),
                     {"bad.yaml:10:", "final_sparisty", "did you mean 'final_sparsity'"});
  must_refuse_recipe(replaced(good, "!GMPruningModifier", "!GMPrunningModifier"),
                     {"bad.yaml:7:", "GMPrunningModifier", "GMPruningModifier"});
  must_refuse_recipe(replaced(good, "params: __ALL_PRUNABLE__", "params: [layer9.conv1.weight]"),
                     {"layer9.conv1.weight", "matches no parameter"});
  must_refuse_recipe(replaced(good, "sparsity: 0.8", "sparsity: 85"), {"85", "fraction", "0.85"});
  must_refuse_recipe(replaced(good, "init_sparsity: 0.05", "init_sparsity: little"),
                     {"bad.yaml:9:", "init_sparsity", "little"});
  must_refuse_recipe(replaced(good, "batch_size: 32", "batchsize: 32"),
                     {"batchsize", "did you mean 'batch_size'"});
  must_refuse_recipe(
      replaced(good, "    start_epoch: 0\n    end_epoch: 1\n", "    start_epoch: 1\n    end_epoch: 1\n"),
      {"end_epoch", "after start_epoch"});
  const std::string second =
      "  - !GMPruningModifier {params: [fc.weight], final_sparsity: 0.5, start_epoch: 0, end_epoch: 2}\n";
  must_refuse_recipe(replaced(good, "quantization_modifiers:", second + "quantization_modifiers:"),
                     {"the mask of fc.weight", "overlap"});
  must_refuse_recipe(replaced(good, "model: resnet8_cifar, ", ""), {"no model is given"});
  must_refuse_recipe("", {"bad.yaml"});
}

TEST_CASE("data that cannot be used") {
  const Folder folder;
  cli::write(folder / "small.yaml", cli::small_recipe(2));
  must_fail(folder, {"train", "--recipe", "small.yaml", "--data", "nowhere"}, 2,
            {"nowhere", "no such file or folder"});

  write_image_folder(folder, 4);
  SECTION("a class without images") {
    cli::fs::remove_all(folder / "images/train/dog");
    cli::fs::create_directory(folder / "images/train/dog");
    must_fail(folder, kOnImages, 2, {"no images in train/dog"});
  }
  SECTION("a class that validation lacks") {
    cli::fs::remove_all(folder / "images/val/cat");
    must_fail(folder, kOnImages, 2, {"class 'cat' is in train but not in val"});
  }
  SECTION("an empty file") {
    cli::write(folder / "images/train/cat/empty.jpg", "");
    must_fail(folder, kOnImages, 2, {"empty or missing file", "empty.jpg"});
  }
  SECTION("a link to a file that is gone") {
    cli::fs::create_symlink(folder / "nowhere.jpg", folder / "images/train/cat/link.jpg");
    must_fail(folder, kOnImages, 2, {"empty or missing file", "link.jpg"});
  }
  SECTION("a file that is no image") {
    cli::write(folder / "images/train/cat/broken.jpg", "\xff\xd8\xff\xe0 this is no JPEG");
    must_fail(folder, kOnImages, 2, {"broken.jpg"});
  }
}

TEST_CASE("weights that do not fit") {
  const Folder folder;
  cli::write(folder / "small.yaml", cli::small_recipe(2));
  const Arguments train = {"train", "--recipe", "small.yaml", "--weights"};
  const auto with = [&](const std::string& file) {
    auto arguments = train;
    arguments.push_back(file);
    return arguments;
  };
  must_fail(folder, with("nowhere.pth"), 2, {"--weights nowhere.pth"});
  cli::write(folder / "text.pth", "these are no weights");
  must_fail(folder, with("text.pth"), 2, {"--weights text.pth"});
  const std::string header = R"({"backbone.weight":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})";
  std::string bytes(8, '\0');
  bytes[0] = static_cast<char>(header.size());
  cli::write(folder / "other.safetensors", bytes + header + std::string(4, '\0'));
  must_fail(folder, with("other.safetensors"), 2,
            {"resnet8_cifar", "missing", "conv1.weight", "unexpected: backbone.weight"});
}

TEST_CASE("output that cannot be written") {
  const Folder folder;
  cli::write(folder / "small.yaml", cli::small_recipe(2));
  const auto to = [](const std::string& output) {
    return Arguments{"train", "--recipe", "small.yaml", "--output", output};
  };
  cli::write(folder / "file", "in the way");
  must_fail(folder, to("file/run"), 2, {"file/run", "not a folder"});
  must_fail(folder, to("file"), 2, {"file", "not a folder"});
  must_fail(folder, to("/proc/sparsify-run"), 2, {"/proc/sparsify-run"});
  cli::write(folder / "earlier/config.json", "{}");
  must_fail(folder, to("earlier"), 2, {"earlier: holds a run already", "--resume"});
  must_fail(folder, {"train", "--resume", "--output", "earlier"}, 2, {"earlier", "recipe.yaml"});
}

TEST_CASE("a disk that fills up ends the run with a message and no half-written file") {
  const Folder folder;
  cli::write(folder / "small.yaml", cli::small_recipe(2));
  must_fail(folder, {"train", "--recipe", "small.yaml", "--output", "new/run"}, 1,
            {".safetensors", "cannot be written", "File too large"}, {.file_size_limit = 60'000});
}

TEST_CASE("a run directory that may not be written is not resumed") {
  if (::geteuid() == 0) SKIP("root may write everywhere");
  const Folder folder;
  cli::write(folder / "run/config.json", "{}");
  cli::write(folder / "run/recipe.yaml", cli::small_recipe(2));
  cli::write(folder / "run/checkpoints/last.safetensors", "");
  for (const std::string closed : {"run", "run/checkpoints"}) {
    cli::fs::permissions(folder / closed, cli::fs::perms::owner_write, cli::fs::perm_options::remove);
    must_fail(folder, {"train", "--resume", "run"}, 2,
              {"run: cannot be written", "Permission denied in " + closed});
    cli::fs::permissions(folder / closed, cli::fs::perms::owner_write, cli::fs::perm_options::add);
  }
}

TEST_CASE("what is not a run's own is neither overwritten nor removed, and two runs never share a folder") {
  const Folder folder;
  cli::write(folder / "small.yaml", cli::small_recipe(2));
  cli::write(folder / "mine" / "recipe.yaml", "version: 1\n");
  must_fail(folder, {"train", "--recipe", "small.yaml", "--output", "mine"}, 2,
            {"mine: holds a recipe.yaml that a run would overwrite"});
  CHECK(cli::read(folder / "mine" / "recipe.yaml") == "version: 1\n");

  cli::fs::create_directory(folder / "busy");
  const int busy = ::open((folder / "busy").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  REQUIRE(::flock(busy, LOCK_EX) == 0);
  must_fail(folder, {"train", "--recipe", "small.yaml", "--output", "busy"}, 2,
            {"busy: another process trains here"});
  ::close(busy);
}
