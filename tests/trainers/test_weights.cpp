// SPDX-License-Identifier: Apache-2.0
#include <sys/resource.h>
#include <torch/csrc/jit/serialization/pickle.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <csignal>
#include <fstream>
#include <sstream>

#include "sparsify/error.hpp"
#include "sparsify/trainers/atomic_file.hpp"
#include "sparsify/trainers/dataset.hpp"
#include "sparsify/trainers/ema.hpp"
#include "sparsify/trainers/model.hpp"
#include "sparsify/trainers/classification.hpp"
#include "sparsify/trainers/weights.hpp"

using Catch::Matchers::ContainsSubstring;
using sparsify::read_weights;
using sparsify::StateDict;
namespace fs = std::filesystem;
using namespace std::string_literals;

namespace {

/// A folder that lives as long as the test.
class Folder {
 public:
  Folder() {
    std::string pattern = (fs::temp_directory_path() / "sparsify-weights-XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  ~Folder() { fs::remove_all(path_); }
  fs::path file(const std::string& name, const std::string& content) const {
    std::ofstream(path_ / name, std::ios::binary) << content;
    return path_ / name;
  }
  fs::path operator/(const std::string& name) const { return path_ / name; }
  size_t count() const { return std::distance(fs::directory_iterator(path_), fs::directory_iterator()); }

 private:
  fs::path path_;
};

template <typename Number>
std::string raw(Number value) {
  return {reinterpret_cast<const char*>(&value), sizeof(value)};
}

std::string text(const std::string& value) { return "X" + raw<uint32_t>(value.size()) + value; }

// The older format by hand: five pickles, then storages. One tensor [2, 3], transposed in its storage of six.
std::string legacy_file(const std::string& class_name = "torch._utils\n_rebuild_tensor_v2\n", int sizes = 3) {
  const auto storage =
      "("s + text("storage") + "ctorch\nFloatStorage\n" + text("94") + text("cpu") + "K\x06" + "Nt" + "Q";
  const auto tensor = "c" + class_name + "(" + storage + "K\x00"s + "K\x02K" + static_cast<char>(sizes) +
                      "\x86" + "K\x01K\x02\x86" + "\x89" + "ccollections\nOrderedDict\n)R" + "tR";
  const auto version = "}"s + text("_metadata") + "ccollections\nOrderedDict\n)Rs" + "b";
  const auto weights =
      "ccollections\nOrderedDict\n)Rq\x01("s + text("module.fc.weight") + tensor + "u" + version;
  return "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."s + "\x80\x02M\xe9\x03." +
         "\x80\x02}q\x00("s + text("little_endian") + "\x88u." + "\x80\x02}("s + text("epoch") + "K\x07" +
         text("best") + "G\x3f\xe0\x00\x00\x00\x00\x00\x00"s + text("state_dict") + weights + "u." +
         "\x80\x02]q\x00"s + text("94") + "a." + raw<int64_t>(6) + raw(1.f) + raw(2.f) + raw(3.f) + raw(4.f) +
         raw(5.f) + raw(6.f);
}

std::string safetensors(const std::string& header, const std::string& data) {
  return raw<uint64_t>(header.size()) + header + data;
}

void check_equal(const StateDict& a, const StateDict& b) {
  REQUIRE(a.size() == b.size());
  for (const auto& [name, tensor] : a) {
    CAPTURE(name);
    REQUIRE(b.count(name) == 1);
    CHECK(tensor.scalar_type() == b.at(name).scalar_type());
    CHECK(tensor.equal(b.at(name)));
  }
}

// The whole answer to a damaged file is a result or an Error; a crash ends the test program.
bool refused(const fs::path& path) {
  try {
    read_weights(path);
  } catch (const sparsify::Error&) {
    return true;
  }
  return false;
}

struct Net : torch::nn::Module {
  Net(int64_t classes = 3) {
    conv = register_module("conv", torch::nn::Conv2d(torch::nn::Conv2dOptions(2, 4, 3).bias(false)));
    bn = register_module("bn", torch::nn::BatchNorm2d(4));
    fc = register_module("fc", torch::nn::Linear(4, classes));
  }
  torch::nn::Conv2d conv{nullptr};
  torch::nn::BatchNorm2d bn{nullptr};
  torch::nn::Linear fc{nullptr};
};

StateDict copies(const torch::nn::Module& module) {
  StateDict entries;
  for (const auto& [name, tensor] : sparsify::state_dict(module)) entries[name] = tensor.clone();
  return entries;
}

}  // namespace

TEST_CASE("safetensors files give back what was written", "[weights]") {
  const Folder folder;
  const StateDict tensors = {
      {"a.weight", torch::randn({4, 3, 2, 2}).contiguous(torch::MemoryFormat::ChannelsLast)},
      {"b", torch::arange(5)},
      {"c", torch::randn({3}).to(torch::kBFloat16)},
      {"d", torch::tensor({true, false, true})},
      {"e", torch::randn({2, 6}).to(torch::kDouble).t()},
      {"empty", torch::empty({0, 4})},
      {"scalar", torch::tensor(7)},
      {"z\u00fcrich \"x\"", torch::randn({1}).to(torch::kHalf)}};
  sparsify::write_safetensors(folder / "w.safetensors", tensors,
                              {{"epoch", "3"}, {"recipe", "a: 1\nb: \"x\""}});
  check_equal(tensors, read_weights(folder / "w.safetensors"));
  CHECK(sparsify::read_safetensors_metadata(folder / "w.safetensors") ==
        sparsify::Metadata{{"epoch", "3"}, {"recipe", "a: 1\nb: \"x\""}});
  CHECK(folder.count() == 1);
  sparsify::write_safetensors(folder / "w.safetensors", {});
  CHECK(read_weights(folder / "w.safetensors").empty());
  CHECK(sparsify::read_safetensors_metadata(folder / "w.safetensors").empty());
}

TEST_CASE("a safetensors file is laid out as the format says", "[weights]") {
  const Folder folder;
  const auto header =
      R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[2,10]},"y":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})"s;
  const auto read =
      read_weights(folder.file("w.safetensors", safetensors(header, "\x05\x06"s + raw(1.5f) + raw(-2.f))));
  CHECK(read.at("x").equal(torch::tensor({1.5f, -2.f})));
  CHECK(read.at("y").equal(torch::tensor({5, 6}, torch::kByte)));
}

TEST_CASE("damaged safetensors files are errors that say what is wrong", "[weights]") {
  const Folder folder;
  const auto message = [&](const std::string& content) -> std::string {
    try {
      read_weights(folder.file("w.safetensors", content));
    } catch (const sparsify::Error& error) {
      return error.what();
    }
    return "";
  };
  const auto entry = [](const std::string& dtype, const std::string& shape, const std::string& offsets) {
    return R"({"w":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}}";
  };
  const auto eight = std::string(8, '\0');
  CHECK(message(safetensors(entry("F32", "[2]", "[0,8]"), eight)).empty());
  CHECK_THAT(message(""), ContainsSubstring("too short"));
  CHECK_THAT(message(raw<uint64_t>(~uint64_t{0}) + "{}"),
             ContainsSubstring("header of 18446744073709551615 bytes"));
  CHECK_THAT(message(raw<uint64_t>(3) + "{}"), ContainsSubstring("header of 3 bytes"));
  CHECK_THAT(message(safetensors("{\"w\":", "")), ContainsSubstring("JSON"));
  CHECK_THAT(message(safetensors("[]", "")), ContainsSubstring("JSON"));
  CHECK_THAT(message(safetensors(std::string(100'000, '['), "")), ContainsSubstring("JSON"));
  CHECK_THAT(message(safetensors(entry("F32", "[2]", "[0,8]"), eight + "x")), ContainsSubstring("9 there"));
  CHECK_THAT(message(safetensors(entry("F32", "[2]", "[0,8]"), "1234567")), ContainsSubstring("cut off"));
  CHECK_THAT(message(safetensors(entry("F32", "[3]", "[0,8]"), eight)),
             ContainsSubstring("number of bytes differ"));
  CHECK_THAT(message(safetensors(entry("F32", "[-2]", "[0,8]"), eight)),
             ContainsSubstring("expected dtype, shape"));
  CHECK_THAT(message(safetensors(entry("F32", "[2]", "[8,0]"), eight)), ContainsSubstring("differ"));
  CHECK_THAT(message(safetensors(entry("C64", "[1]", "[0,8]"), eight)), ContainsSubstring("C64"));
  CHECK_THAT(message(safetensors(entry("F32", "[2]", "[4,12]"), eight + "1234")), ContainsSubstring("gap"));
  CHECK_THAT(message(safetensors(entry("F32", "[281474976710655,281474976710655]", "[0,8]"), eight)),
             ContainsSubstring("beyond all bounds"));
  CHECK_THAT(message(safetensors(R"({"w":[]})", "")), ContainsSubstring("'w'"));
  CHECK_THROWS_WITH(read_weights(folder / "none.safetensors"), ContainsSubstring("no such file"));
}

TEST_CASE("a write that fails leaves the old file and nothing else", "[weights]") {
  const Folder folder;
  const auto path = folder / "w.safetensors";
  sparsify::write_safetensors(path, {{"old", torch::ones({1})}});
  CHECK_THROWS_WITH(sparsify::write_safetensors(path, {{"x", torch::zeros({1}, torch::kComplexFloat)}}),
                    ContainsSubstring("ComplexFloat"));
  // A limit on file sizes fails the way a full disk does: in the middle of writing.
  rlimit before{};
  ::getrlimit(RLIMIT_FSIZE, &before);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit small = before;
  small.rlim_cur = 100'000;
  ::setrlimit(RLIMIT_FSIZE, &small);
  std::string message;
  try {
    sparsify::write_safetensors(path, {{"new", torch::zeros({1'000'000})}});
  } catch (const sparsify::Error& error) {
    message = error.what();
  }
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  CHECK_THAT(message, ContainsSubstring("cannot be written"));
  CHECK(folder.count() == 1);
  CHECK(read_weights(path).count("old") == 1);
  CHECK_THROWS_WITH(sparsify::write_safetensors(folder / "no/such/folder.safetensors", {}),
                    ContainsSubstring("No such file"));
}

TEST_CASE("the older PyTorch format is read, unwrapped and checked", "[weights]") {
  const Folder folder;
  const auto read = read_weights(folder.file("w.pth", legacy_file()));
  REQUIRE(read.size() == 1);
  CHECK(read.at("fc.weight").equal(torch::tensor({{1.f, 3.f, 5.f}, {2.f, 4.f, 6.f}})));
  CHECK_THROWS_WITH(read_weights(folder.file("w.pth", legacy_file("torch._utils\n_rebuild_tensor_v2\n", 4))),
                    ContainsSubstring("'module.fc.weight'") && ContainsSubstring("more than the 6 elements"));
  CHECK_THROWS_WITH(read_weights(folder.file("w.pth", legacy_file("posix\nsystem\n"))),
                    ContainsSubstring("class 'posix.system'"));
  CHECK_THROWS_WITH(read_weights(folder.file("w.pth", "GIF89a")),
                    ContainsSubstring("neither a PyTorch file"));
  CHECK_THROWS_WITH(read_weights(folder.file("w.pth", legacy_file() + "x")),
                    ContainsSubstring("1 bytes after its end"));
}

TEST_CASE("a file cut off at any byte is an error", "[weights]") {
  const Folder folder;
  const auto whole = legacy_file();
  for (size_t size = 0; size < whole.size(); ++size) {
    CAPTURE(size);
    CHECK(refused(folder.file("w.pth", whole.substr(0, size))));
  }
}

TEST_CASE("no changed byte brings the reader down", "[weights]") {
  const Folder folder;
  const auto whole = legacy_file();
  size_t errors = 0;
  for (size_t at = 0; at < whole.size(); ++at) {
    for (const unsigned char flip : {0x01, 0x90}) {
      auto changed = whole;
      changed[at] = static_cast<char>(changed[at] ^ flip);
      errors += refused(folder.file("w.pth", changed));
    }
  }
  CHECK(errors > whole.size());
}

TEST_CASE("hostile pickles are refused in bounded time and memory", "[weights]") {
  const Folder folder;
  const auto begin =
      "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.\x80\x02}.\x80\x02"s;
  const auto repeated = [](const std::string& part, int times) {
    std::string all;
    for (int i = 0; i < times; ++i) all += part;
    return all;
  };
  const auto write = [&](const std::string& pickle) { return folder.file("w.pth", begin + pickle); };
  CHECK(refused(write(repeated("]", 1'000'000) + repeated("a", 999'999) + ".")));  // nested a million deep
  CHECK(
      refused(write("]q\x01h\x01"
                    "a.")));  // a list in itself
  CHECK(
      refused(write("X\xff\xff\xff\xff"
                    "abc")));  // a text of 4 GiB
  CHECK(
      refused(write("\x8d\xff\xff\xff\xff\xff\xff\xff\xff"
                    "abc")));   // and one of 2^64 bytes
  CHECK(refused(write("a.")));  // nothing to append to
  CHECK(refused(write("((1t.")));
  CHECK(refused(write("h\x05.")));
  // A list of a thousand pairs, made into a dict again and again.
  const auto pairs = "]q\x01("s +
                     repeated(
                         "]K\x01"
                         "aK\x02"
                         "a",
                         1000) +
                     "e0";
  CHECK_THROWS_WITH(
      read_weights(write(pairs + repeated("ccollections\nOrderedDict\nh\x01\x85R0", 6000) + "N.")),
      ContainsSubstring("operations"));
}

TEST_CASE("the zip format is read, and refused when cut off or damaged", "[weights]") {
  const Folder folder;
  const auto shared = torch::arange(6, torch::kFloat);
  c10::Dict<std::string, torch::Tensor> dict;
  dict.insert("a", shared.view({2, 3}).t());
  dict.insert("b", shared.slice(0, 4, 6));
  dict.insert("n", torch::tensor(9));
  dict.insert("h", torch::ones({3}, torch::kHalf));
  const auto bytes = torch::jit::pickle_save(dict);
  const std::string whole(bytes.begin(), bytes.end());
  const auto read = read_weights(folder.file("w.pt", whole));
  REQUIRE(read.size() == 4);
  CHECK(read.at("a").equal(shared.view({2, 3}).t()));
  CHECK(read.at("b").equal(torch::tensor({4.f, 5.f})));
  CHECK(read.at("n").item<int64_t>() == 9);
  CHECK(read.at("h").scalar_type() == torch::kHalf);
  for (size_t size = 0; size < whole.size(); size += 7) {
    CAPTURE(size);
    CHECK(refused(folder.file("w.pt", whole.substr(0, size))));
  }
  for (size_t at = 0; at < whole.size(); at += 3) {
    auto changed = whole;
    changed[at] = static_cast<char>(changed[at] ^ 0x40);
    refused(folder.file("w.pt", changed));
  }
  std::ostringstream module_archive;
  torch::save(torch::nn::Linear(2, 2), module_archive);
  CHECK_THROWS_WITH(read_weights(folder.file("w.pt", module_archive.str())),
                    ContainsSubstring("class '__torch__"));
}

TEST_CASE("load_weights copies by name or says what does not fit", "[weights]") {
  Net source, target;
  source.bn->running_mean.fill_(0.25);
  const auto weights = copies(source);
  const auto report = sparsify::load_weights(target, weights);
  CHECK(report.loaded == 8);
  CHECK(report.not_loaded.empty());
  check_equal(copies(target), weights);

  auto old = weights;
  old.erase("bn.num_batches_tracked");
  CHECK(sparsify::load_weights(target, old).not_loaded == std::vector<std::string>{"bn.num_batches_tracked"});

  Net other(5);
  const auto before = copies(other);
  auto wrong = weights;
  wrong.erase("conv.weight");
  for (int i = 0; i < 7; ++i) wrong["extra" + std::to_string(i)] = torch::zeros({1});
  CHECK_THROWS_WITH(sparsify::load_weights(other, wrong),
                    ContainsSubstring("1 missing: conv.weight") &&
                        ContainsSubstring("7 unexpected: extra0") && ContainsSubstring("extra4, ...") &&
                        ContainsSubstring("2 of another shape: fc.bias (model [5], weights [3])"));
  check_equal(copies(other), before);

  const auto transfer = sparsify::load_weights(other, weights, {.allow_new_classifier = true});
  CHECK(transfer.not_loaded == std::vector<std::string>{"fc.bias", "fc.weight"});
  CHECK(other.conv->weight.equal(source.conv->weight));
  CHECK(other.fc->weight.equal(before.at("fc.weight")));
}

TEST_CASE("the moving average follows its formula and leaves counters alone", "[weights][ema]") {
  Net net;
  torch::NoGradGuard no_grad;
  net.fc->bias.fill_(1);
  sparsify::ModelEma ema(net, 0.3);
  CHECK(ema.state_dict().count("bn.running_var") == 1);
  CHECK(ema.state_dict().count("bn.num_batches_tracked") == 0);
  double expected = 1;
  for (int t = 0; t < 6; ++t) {
    net.fc->bias.fill_(t + 2);
    const double decay = std::min(0.3, (1.0 + t) / (10.0 + t));
    CHECK(ema.next_decay() == decay);
    ema.update(net);
    expected = decay * expected + (1 - decay) * (t + 2);
    CHECK(std::abs(ema.state_dict().at("fc.bias")[0].item<float>() - expected) < 1e-5);
  }
  CHECK(ema.updates() == 6);

  net.bn->num_batches_tracked.fill_(42);
  ema.swap(net);
  CHECK(std::abs(net.fc->bias[1].item<float>() - expected) < 1e-5);
  CHECK(ema.state_dict().at("fc.bias")[1].item<float>() == 7);
  ema.swap(net);
  CHECK(net.fc->bias[1].item<float>() == 7);
  ema.state_dict().at("conv.weight").zero_();  // as a mask would
  ema.copy_to(net);
  CHECK(net.conv->weight.eq(0).all().item<bool>());
  CHECK(net.bn->num_batches_tracked.item<int64_t>() == 42);

  sparsify::ModelEma resumed(net, 0.3);
  resumed.load(ema.state_dict(), ema.updates());
  CHECK(resumed.next_decay() == ema.next_decay());
  check_equal(resumed.state_dict(), ema.state_dict());
  CHECK_THROWS_AS(resumed.load({{"fc.bias", torch::zeros({3})}}, 1), sparsify::Error);
  CHECK_THROWS_AS(ema.update(Net(9)), sparsify::Error);
  CHECK_THROWS_AS(sparsify::ModelEma(net, 1.0), sparsify::Error);
}

TEST_CASE("a published ResNet-20 loads exactly", "[weights]") {
  const char* data = std::getenv("SPARSIFY_DATA");
  if (data == nullptr) SKIP("SPARSIFY_DATA is not set");
  const auto folder = fs::path(data) / "resnet-cifar10";
  const auto weights = read_weights(folder / "resnet20-12fca82f.th");
  std::ifstream manifest(folder / "resnet20-12fca82f.manifest.txt"),
      values(folder / "resnet20-12fca82f.f32.bin", std::ios::binary);
  std::string name, sizes;
  int64_t offset = 0, tensors = 0;
  while (manifest >> name >> sizes >> offset) {
    CAPTURE(name);
    std::vector<int64_t> shape;
    std::istringstream list(sizes);
    for (std::string size; std::getline(list, size, ',');) shape.push_back(std::stoll(size));
    auto expected = torch::empty(shape);
    values.seekg(offset);
    values.read(static_cast<char*>(expected.data_ptr()), static_cast<std::streamsize>(expected.nbytes()));
    REQUIRE(values.good());
    REQUIRE(weights.count(name) == 1);
    CHECK(weights.at(name).equal(expected));
    ++tensors;
  }
  CHECK(tensors == 97);
  const auto model = sparsify::build_model("resnet20", {.num_classes = 10});
  const auto report = sparsify::load_weights(*model, weights);
  CHECK(report.loaded + static_cast<int64_t>(report.not_loaded.size()) == 116);
}

TEST_CASE("the published ResNet-20 scores what it should on CIFAR-10 (JPEG q75)", "[weights][long]") {
  const char* data = std::getenv("SPARSIFY_DATA");
  if (data == nullptr) SKIP("SPARSIFY_DATA is not set");
  std::string archive;
  for (const auto& file : fs::directory_iterator(fs::path(data) / "cifar10-jpeg")) {
    if (file.path().string().ends_with(".tar.gz")) archive = file.path().string();
  }
  auto set = sparsify::trainers::open_datasets(archive);
  set.normalization = {{0.485f, 0.456f, 0.406f}, {0.229f, 0.224f, 0.225f}};
  const auto model = sparsify::build_model("resnet20", {.num_classes = 10});
  sparsify::load_weights(*model, read_weights(fs::path(data) / "resnet-cifar10/resnet20-12fca82f.th"));
  model->eval();
  const auto validation = sparsify::classification_validation(set, 250, 2);
  const auto result =
      sparsify::evaluate(*validation, [&](const torch::Tensor& images) { return model->outputs(images); });
  CHECK(std::abs(result["top1"] - 0.8103) < 0.0015);
}
