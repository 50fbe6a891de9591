// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <sys/resource.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_all.hpp>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <random>

#include "sparsify/error.hpp"
#include "sparsify/onnx/check.hpp"
#include "sparsify/onnx/inspect.hpp"
#include "sparsify/onnx/lint.hpp"
#include "support.hpp"

namespace nn = torch::nn;
using namespace sparsify;
using namespace sparsify::onnx;
using namespace sparsify::onnx::testing;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::MessageMatches;

namespace {

nn::Sequential small_net() {
  torch::manual_seed(1);
  nn::Sequential net(nn::Conv2d(nn::Conv2dOptions(4, 8, 3)), nn::ReLU(), nn::AdaptiveAvgPool2d(1),
                     nn::Flatten(), nn::Linear(8, 3));
  net->eval();
  return net;
}

// What a process prints to stderr while something runs.
template <class Run>
std::string stderr_of(const Folder& folder, Run&& run) {
  std::fflush(stderr);
  const auto path = folder / "stderr";
  const int saved = ::dup(2);
  std::FILE* file = std::fopen(path.c_str(), "w");
  ::dup2(::fileno(file), 2);
  run();
  std::fflush(stderr);
  ::dup2(saved, 2);
  ::close(saved);
  std::fclose(file);
  std::ifstream text(path);
  return {std::istreambuf_iterator<char>(text), {}};
}

// Makes writes beyond a size fail, as on a full disk.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &old_);
    const rlimit limit{bytes, old_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &old_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  void (*handler_)(int);
  rlimit old_{};
};

}  // namespace

TEST_CASE("checker, engine and exporter share one process quietly, in any order") {
  const Folder folder;
  auto net = small_net();
  const auto input = torch::randn({2, 4, 8, 8});
  const auto printed = stderr_of(folder, [&] {
    export_model(*net, input, {}, folder / "a.onnx");
    check_model(folder / "a.onnx");
    CHECK(largest_difference(Engine(folder / "a.onnx").run(input), net->forward(input).detach()) < 1e-5);
    check_model(folder / "a.onnx");
    export_model(*net, input, {}, folder / "b.onnx");
    Engine again(folder / "b.onnx");
    check_model(folder / "b.onnx");
    CHECK(integer_layers(folder / "b.onnx").integer_layers.empty());
  });
  CHECK(printed == "");
}

TEST_CASE("a file that cannot be written is an error and leaves nothing behind") {
  const Folder folder;
  auto net = small_net();
  const auto example = torch::randn({1, 4, 8, 8});
  CHECK_THROWS_MATCHES(export_model(*net, example, {}, "/proc/model.onnx"), Error,
                       MessageMatches(ContainsSubstring("/proc/model.onnx: cannot be written")));
  CHECK_THROWS_MATCHES(export_model(*net, example, {}, folder / "missing/model.onnx"), Error,
                       MessageMatches(ContainsSubstring("No such file")));
  {
    const FileSizeLimit limit(1000);
    CHECK_THROWS_MATCHES(export_model(*net, example, {}, folder / "model.onnx"), Error,
                         MessageMatches(ContainsSubstring("cannot be written")));
  }
  CHECK(folder.is_empty());
  std::ofstream(folder / "model.onnx") << "old";
  {
    const FileSizeLimit limit(1000);
    CHECK_THROWS_AS(export_model(*net, example, {}, folder / "model.onnx"), Error);
  }
  CHECK(std::filesystem::file_size(folder / "model.onnx") == 3);  // the old file stands
  export_model(*net, example, {}, folder / "model.onnx");
  CHECK(std::filesystem::file_size(folder / "model.onnx") > 1000);
}

TEST_CASE("files that are no models are errors that name the file") {
  const Folder folder;
  std::ofstream(folder / "text.onnx") << "this is no model, not even nearly";
  std::ofstream(folder / "empty.onnx");
  for (const std::string name : {"text.onnx", "empty.onnx", "missing.onnx"}) {
    CHECK_THROWS_MATCHES(check_model(folder / name), Error, MessageMatches(ContainsSubstring(name)));
    CHECK_THROWS_MATCHES(inspect_model(folder / name), Error, MessageMatches(ContainsSubstring(name)));
    CHECK_THROWS_MATCHES(lint_gpu(folder / name), Error, MessageMatches(ContainsSubstring(name)));
    CHECK_THROWS_MATCHES(Engine(folder / name), Error, MessageMatches(ContainsSubstring(name)));
  }
  auto net = small_net();
  export_model(*net, torch::randn({1, 4, 8, 8}), {}, folder / "model.onnx");
  Engine engine(folder / "model.onnx");
  CHECK_THROWS_MATCHES(engine.run(torch::randn({1, 5, 8, 8})), Error,
                       MessageMatches(ContainsSubstring("model.onnx")));
  CHECK_THROWS_AS(engine.run(std::vector<at::Tensor>{}), Error);
}

TEST_CASE("inspection reports names, sparsity, 2:4 validity and what the exporter wrote") {
  const Folder folder;
  auto net = small_net();
  {
    const torch::NoGradGuard no_grad;
    auto parameters = net->named_parameters();
    auto weight = parameters["0.weight"];
    weight.select(1, 1).zero_();
    weight.select(1, 2).zero_();
    parameters["4.weight"].select(0, 0).zero_();
  }
  ExportOptions options;
  options.metadata["sparsity"] = "0.5";
  const auto report = export_model(*net, torch::randn({1, 4, 8, 8}), options, folder / "model.onnx");
  const auto facts = inspect_model(folder / "model.onnx");
  CHECK(facts.bytes == report.bytes);
  CHECK(facts.opset == 17);
  CHECK(facts.producer.rfind("sparsify", 0) == 0);
  CHECK(facts.metadata ==
        std::map<std::string, std::string>{{"scheme", "float"}, {"sparsity", "0.5"}, {"target", "cpu"}});
  REQUIRE(facts.weights.size() == 2);
  CHECK(facts.weights[0].name == "0.weight");
  CHECK(facts.weights[0].shape == std::vector<std::int64_t>{8, 4, 3, 3});
  CHECK(facts.weights[0].zeros == 144);
  CHECK(facts.weights[0].two_four);
  CHECK(facts.weights[1].name == "4.weight");
  CHECK(facts.weights[1].zeros == 8);
  CHECK_FALSE(facts.weights[1].two_four);
  CHECK(facts.prunable == 288 + 24);
  CHECK(facts.prunable_zeros == 152);
  CHECK(facts.elements == 288 + 24 + 8 + 3);
  CHECK(facts.operators.at("Conv") == 1);
}

TEST_CASE("damaged files give an error or a report, never a crash") {
  const Folder folder;
  auto net = small_net();
  export_model(*net, torch::randn({1, 4, 8, 8}), {}, folder / "model.onnx");
  std::ifstream file(folder / "model.onnx", std::ios::binary);
  const std::string intact{std::istreambuf_iterator<char>(file), {}};
  std::mt19937 random(4);
  int refused = 0;
  for (int round = 0; round < 300; ++round) {
    auto bytes = intact;
    if (round % 3 == 0) bytes.resize(random() % bytes.size());
    for (int i = 0; i < round % 7 && !bytes.empty(); ++i)
      bytes[random() % bytes.size()] = static_cast<char>(random());
    std::ofstream(folder / "damaged.onnx", std::ios::binary) << bytes;
    try {
      inspect_model(folder / "damaged.onnx");
      lint_gpu(folder / "damaged.onnx");
      check_model(folder / "damaged.onnx");
    } catch (const Error&) {
      ++refused;
    }
  }
  CHECK(refused > 100);
}
