// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <filesystem>
#include <fstream>

#include "replaced.hpp"
#include "sparsify/detection/boxes.hpp"
#include "sparsify/detection/darknet.hpp"
#include "sparsify/error.hpp"
#include "sparsify/trainers/model.hpp"

using namespace sparsify;
using namespace sparsify::detection;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::StartsWith;
using detection_test::replaced;

namespace {

// One of every kind of layer; the numbers of the blocks are in the comments.
const char* const kSmall = R"(
[net]
width=32
height=16
channels=3
learning_rate=.001
[convolutional]     # 0
batch_normalize=1
filters=8
size=3
stride=2
pad=1
activation=leaky
[convolutional]     # 1
filters=8
size=1
activation=linear
[shortcut]          # 2
from=-2
activation=linear
[maxpool]           # 3
size=2
stride=2
[upsample]          # 4
stride=2
[route]             # 5
layers=-1,2
[route]             # 6
layers=5
groups=2
group_id=1
[dropout]           # 7
probability=.5
[convolutional]     # 8
filters=14
size=1
activation=linear
[yolo]              # 9
mask=0,2
anchors=4,6, 8,8, 10,12
classes=2
scale_x_y=1.2
)";

void check_refused(const std::string& config, const std::string& message) {
  CHECK_THROWS_WITH(parse_darknet(config, "net.cfg"), ContainsSubstring(message));
}

}  // namespace

TEST_CASE("a darknet configuration computes what its layers say") {
  torch::manual_seed(1);
  const auto detector = parse_darknet(kSmall, "net.cfg");
  detector->eval();
  CHECK(detector->largest_stride == 4);
  CHECK(detector->image_width == 32);
  CHECK(detector->image_height == 16);
  REQUIRE(detector->heads().size() == 1);
  CHECK(detector->heads()[0].anchors == std::vector<std::pair<double, double>>{{4, 6}, {10, 12}});
  CHECK(detector->heads()[0].scale_xy == 1.2);

  const torch::NoGradGuard no_grad;
  const auto x = torch::randn({2, 3, 16, 32});
  auto p = detector->named_parameters();
  auto b = detector->named_buffers();
  const auto batch_norm = [&](const torch::Tensor& y) {
    return torch::batch_norm(y, p["model.0.bn.weight"], p["model.0.bn.bias"], b["model.0.bn.running_mean"],
                             b["model.0.bn.running_var"], false, 0.1, 1e-5, false);
  };
  const auto first = torch::leaky_relu(batch_norm(torch::conv2d(x, p["model.0.conv.weight"], {}, 2, 1)), 0.1);
  const auto sum = first + torch::conv2d(first, p["model.1.conv.weight"], p["model.1.conv.bias"]);
  const auto pooled = torch::max_pool2d(sum, 2);
  const auto upsampled = pooled.repeat_interleave(2, 2).repeat_interleave(2, 3);
  const auto second_half = torch::cat({upsampled, sum}, 1).narrow(1, 8, 8);
  const auto expected = torch::conv2d(second_half, p["model.8.conv.weight"], p["model.8.conv.bias"]);
  const auto maps = detector->forward(x);
  REQUIRE(maps.size() == 1);
  CHECK(torch::allclose(maps[0], expected, 1e-5, 1e-6));
}

TEST_CASE("darknet's grouped convolution, and padding without pad") {
  torch::manual_seed(2);
  const auto detector = parse_darknet(
      "[net]\n[convolutional]\nfilters=8\nsize=1\nactivation=linear\n"
      "[convolutional]\nfilters=12\nsize=3\ngroups=4\npadding=2\nactivation=relu\n"
      "[convolutional]\nfilters=6\nsize=1\nactivation=linear\n[yolo]\nanchors=1,1\nclasses=1\n",
      "net.cfg");
  auto p = detector->named_parameters();
  const auto x = torch::randn({2, 8, 5, 6});
  const auto weight = p["model.1.conv.weight"], bias = p["model.1.conv.bias"];
  REQUIRE(weight.sizes() == at::IntArrayRef{12, 2, 3, 3});
  std::vector<torch::Tensor> of_groups;
  for (int group = 0; group < 4; ++group)
    of_groups.push_back(torch::conv2d(x.narrow(1, 2 * group, 2), weight.narrow(0, 3 * group, 3),
                                      bias.narrow(0, 3 * group, 3), 1, 2));
  CHECK(torch::allclose(detector->blocks()[1]->forward({x}).at(0), torch::relu(torch::cat(of_groups, 1)),
                        1e-5, 1e-6));
  check_refused(
      "[net]\n[convolutional]\nfilters=8\nsize=1\nactivation=linear\n"
      "[convolutional]\nfilters=9\nsize=1\ngroups=4\nactivation=linear\n",
      "net.cfg:6: [convolutional]: groups=4 divides not both 8 channels and 9 filters");
}

TEST_CASE("darknet's dropout drops in training, and only there") {
  const auto detector = parse_darknet(
      "[net]\n[dropout]\nprobability=.25\n[convolutional]\nfilters=6\nsize=1\nactivation=linear\n"
      "[yolo]\nanchors=1,1\nclasses=1\n",
      "net.cfg");
  const auto x = torch::ones({4, 3, 50, 50});
  const auto dropped = [&] { return detector->blocks().front()->forward({x}).at(0); };
  detector->train();
  const auto in_training = dropped();
  CHECK(std::abs(in_training.eq(0).to(torch::kDouble).mean().item<double>() - 0.25) < 0.02);
  CHECK(std::abs(in_training.max().item<double>() - 1 / 0.75) < 1e-6);
  detector->eval();
  CHECK(torch::equal(dropped(), x));
}

TEST_CASE("darknet's max-pooling pads at the end, with what never wins") {
  const auto pool = [](int size, int stride, const torch::Tensor& x) {
    const auto text =
        "[net]\n[maxpool]\nsize=" + std::to_string(size) + "\nstride=" + std::to_string(stride) +
        "\n[convolutional]\nfilters=6\nsize=1\nactivation=linear\n[yolo]\nanchors=1,1\nclasses=1\n";
    const auto detector = parse_darknet(text, "net.cfg");
    return detector->blocks().front()->forward({x}).at(0);
  };
  const auto x = -torch::rand({1, 3, 5, 6}) - 1;  // zeros would win
  for (const auto& [size, stride] : {std::pair{2, 1}, {2, 2}, {3, 1}, {3, 2}, {4, 1}, {4, 3}, {9, 1}}) {
    INFO(size << " / " << stride);
    const int before = (size - 1) / 2, after = size - 1 - before;
    const auto padded = torch::constant_pad_nd(x, {before, after, before, after}, -100.0);
    const auto actual = pool(size, stride, x);
    CHECK(torch::equal(actual, torch::max_pool2d(padded, size, stride)));
    CHECK(actual.size(2) == (5 - 1) / stride + 1);
  }
}

TEST_CASE("boxes are decoded by the formulas of the papers") {
  const auto maps = std::vector<torch::Tensor>{torch::zeros({1, 14, 2, 3})};
  auto head = DetectionHead{{{4, 6}, {10, 12}}, 2};
  auto map = maps[0].view({1, 2, 7, 2, 3});
  map[0][1][0][1][2] = 0.3, map[0][1][1][1][2] = -0.4, map[0][1][2][1][2] = 0.5, map[0][1][3][1][2] = -0.6;
  map[0][1][4][1][2] = 2, map[0][1][5][1][2] = -1, map[0][1][6][1][2] = 1;
  const auto sigma = [](double t) { return 1 / (1 + std::exp(-t)); };
  const auto check = [&](const std::vector<double>& expected) {
    const auto boxes = decode(maps, {head}, 16, 48);  // strides 8 and 16
    REQUIRE(boxes.sizes() == torch::IntArrayRef({1, 12, 7}));
    const auto row = boxes[0][2 * 3 + 1 * 3 + 2];
    for (int i = 0; i < 7; ++i) {
      INFO(i);
      CHECK(std::fabs(row[i].item<double>() - expected[static_cast<std::size_t>(i)]) < 1e-4);
    }
  };
  head.scale_xy = 1.2;
  check({(1.2 * sigma(0.3) - 0.1 + 2) * 16, (1.2 * sigma(-0.4) - 0.1 + 1) * 8, std::exp(0.5) * 10,
         std::exp(-0.6) * 12, sigma(2), sigma(-1), sigma(1)});
  head.coding = BoxCoding::kUltralytics;
  check({(2 * sigma(0.3) - 0.5 + 2) * 16, (2 * sigma(-0.4) - 0.5 + 1) * 8, 4 * std::pow(sigma(0.5), 2) * 10,
         4 * std::pow(sigma(-0.6), 2) * 12, sigma(2), sigma(-1), sigma(1)});
  CHECK_THROWS_WITH(decode({maps[0].narrow(1, 0, 7)}, {head}, 16, 48),
                    ContainsSubstring("14 channels; got 7"));
  CHECK_THROWS_WITH(decode({}, {head}, 16, 48), ContainsSubstring("expected 1 maps"));
}

TEST_CASE("weights are written as they were read, to the byte") {
  char pattern[] = "/tmp/sparsify-darknet-XXXXXX";
  const std::filesystem::path folder = ::mkdtemp(pattern);
  torch::manual_seed(2);
  const auto first = parse_darknet(kSmall, "net.cfg"), second = parse_darknet(kSmall, "net.cfg");
  for (const DarknetHeader header : {DarknetHeader{0, 2, 5, 32013312}, DarknetHeader{0, 1, 0, 7}}) {
    save_darknet_weights(*first, folder / "a.weights", header);
    const auto read = load_darknet_weights(*second, folder / "a.weights");
    CHECK(read.images_seen == header.images_seen);
    CHECK(read.minor == header.minor);
    for (const auto& parameter : first->named_parameters())
      CHECK(torch::equal(parameter.value(), second->named_parameters()[parameter.key()]));
    save_darknet_weights(*second, folder / "b.weights", read);
    const auto content = [&](const char* name) {
      std::ifstream file(folder / name, std::ios::binary);
      return std::string(std::istreambuf_iterator<char>(file), {});
    };
    CHECK(content("a.weights") == content("b.weights"));
    // Beta, gamma, mean, variance of block 0, then its kernel.
    const auto numbers = content("a.weights").substr(header.minor == 2 ? 20 : 16);
    float gamma = 0;
    std::memcpy(&gamma, numbers.data() + 8 * sizeof(float), sizeof gamma);
    CHECK(gamma == 1);
    CHECK(numbers.size() == sizeof(float) * (4 * 8 + 8 * 27 + 8 + 64 + 14 + 14 * 8));
  }
  std::filesystem::resize_file(folder / "a.weights", 1000);
  const auto before = first->named_parameters()["model.0.conv.weight"].clone();
  CHECK_THROWS_WITH(load_darknet_weights(*first, folder / "a.weights"),
                    ContainsSubstring("a.weights") && ContainsSubstring("446 numbers"));
  CHECK(torch::equal(before, first->named_parameters()["model.0.conv.weight"]));
  CHECK_THROWS_WITH(load_darknet_weights(*first, folder / "none"), ContainsSubstring("cannot be opened"));
  std::filesystem::remove_all(folder);
}

TEST_CASE("weights that are too long or too short say by what") {
  char pattern[] = "/tmp/sparsify-darknet-XXXXXX";
  const std::filesystem::path folder = ::mkdtemp(pattern);
  const auto file = folder / "a.weights";
  const auto detector = parse_darknet(kSmall, "net.cfg");
  save_darknet_weights(*detector, file);
  const auto bytes = std::filesystem::file_size(file);
  constexpr std::uint64_t kHeader = 20, kNumbers = 446, kNumber = sizeof(float);
  REQUIRE(bytes == kHeader + kNumber * kNumbers);
  const auto refused = [&](std::uint64_t size, const std::string& has) {
    std::filesystem::resize_file(file, size);
    CHECK_THROWS_WITH(load_darknet_weights(*detector, file),
                      file.string() + ": the network has 446 numbers, the file " + has);
  };
  refused(bytes + kNumber, "447 numbers: are they of the same configuration?");
  refused(bytes - kNumber, "445 numbers: are they of the same configuration?");
  refused(bytes + 1, "446 numbers and 1 byte: it was cut or is damaged");
  refused(bytes - 1, "445 numbers and 3 bytes: it was cut or is damaged");
  CHECK_THROWS_WITH(
      load_darknet_backbone(*detector, file),
      ContainsSubstring("the file has 445 numbers and 3 bytes, the network up to its convolution "
                        "3 has 446: it was cut or is damaged"));
  std::filesystem::remove_all(folder);
}

TEST_CASE("keys that layers do not have, or that would change what is computed, are refused") {
  const auto with = [](const std::string& before, const std::string& line) {
    return replaced(kSmall, before, line + "\n" + before);
  };
  check_refused(replaced(kSmall, "filters=8", "fitlers=99"),
                "net.cfg:9: fitlers: [convolutional] has no such key; did you mean 'filters'?");
  check_refused(with("from=-2", "form=-1"),
                "net.cfg:19: form: [shortcut] has no such key; did you mean 'from'?");
  check_refused(with("stride=2\n[upsample]", "pool_kind=4"),
                "net.cfg:23: pool_kind: [maxpool] has no such key");
  check_refused(with("probability=.5", "probabilty=.1"), "did you mean 'probability'?");
  check_refused(with("layers=5", "size=1"), "net.cfg:29: size: [route] has no such key");
  check_refused(with("classes=2", "clases=3"), "net.cfg:41: clases: [yolo] has no such key");

  check_refused(with("pad=1", "dilation=2"), "net.cfg:12: dilation: not supported but for 1, got '2'");
  check_refused(with("pad=1", "stride_x=1"), "net.cfg:12: stride_x: not supported but for 2, got '1'");
  check_refused(with("pad=1", "antialiasing=1"), "antialiasing: not supported but for 0, got '1'");
  check_refused(with("pad=1", "share_index=1"), "share_index: not supported, got '1'");
  check_refused(with("pad=1", "dilation=two"), "dilation: expected a number, got 'two'");
  check_refused(with("from=-2", "weights_type=per_feature"), "weights_type: not supported but for none");
  check_refused(with("stride=2\n[upsample]", "padding=0"), "padding: not supported but for 1, got '0'");
  check_refused(with("stride=2\n[upsample]", "maxpool_depth=1"), "maxpool_depth: not supported but for 0");
  check_refused(replaced(kSmall, "[upsample]          # 4\n", "[upsample]\nscale=2\n"),
                "net.cfg:25: scale: not supported but for 1, got '2'");
  check_refused(replaced(kSmall, "channels=3", "channels=1"),
                "net.cfg:5: channels: expected 3, as images are in colour, got 1");

  check_refused(with("filters=8", "filters=4"),
                "net.cfg:10: filters: given twice in one [convolutional], first at net.cfg:9");
  check_refused(with("height=16", "width=32"),
                "net.cfg:4: width: given twice in one [net], first at net.cfg:3");
}

TEST_CASE("keys of darknet's training, and those that change nothing, are accepted") {
  auto config = replaced(kSmall, "learning_rate=.001",
                         "batch=1\nbatch=64\nmosaic=1\nmade_up_by_nobody=3\nlearning_rate=.001");
  config = replaced(config, "pad=1",
                    "pad=1\ndilation=1\nstride_x=2\nstride_y=2\nantialiasing=0\nxnor=0\nstopbackward=800\n"
                    "dontload=0\nassisted_excitation=4000");
  config = replaced(config, "from=-2", "from=-2\nweights_type=none\nalpha=1");
  config = replaced(config, "[maxpool]", "[maxpool]\npadding=1\nmaxpool_depth=0");
  config = replaced(config, "probability=.5", "probability=.5\ndropblock=1\ndropblock_size_abs=7");
  config = replaced(config, "classes=2",
                    "classes=2\nnum=3\njitter=.3\nresize=1.5\nignore_thresh=.7\ntruth_thresh=1\nrandom=1\n"
                    "iou_thresh=0.213\niou_normalizer=0.07\nobj_normalizer=0.4\ncls_normalizer=0.5\n"
                    "iou_loss=ciou\nnms_kind=greedynms\nbeta_nms=0.6\nmax_delta=5\nlabel_smooth_eps=0.1\n"
                    "focal_loss=1\nobjectness_smooth=1\nmax=200\nnew_coords=0");
  const auto detector = parse_darknet(config, "net.cfg"), plain = parse_darknet(kSmall, "net.cfg");
  CHECK(detector->parameters().size() == plain->parameters().size());
  CHECK(detector->largest_stride == 4);
}

TEST_CASE("mistakes in a darknet configuration are refused with their line") {
  CHECK_THROWS_WITH(parse_darknet("width=3\n", "net.cfg"), StartsWith("net.cfg:1: "));
  check_refused("[convolutional]\n", "must begin with [net]");
  check_refused("[net]\n[convolutional\n", "net.cfg:2: a section begins here");
  check_refused("[net]\nwidth 416\n", "net.cfg:2: expected [section] or key=value");
  check_refused("[net]\n", "no [yolo] layer");
  check_refused(replaced(kSmall, "width=32", "width=many"),
                "net.cfg:3: width: expected a whole number from 1 to 1048576, got 'many'");
  check_refused(replaced(kSmall, "filters=8", "filters=0"),
                "net.cfg:9: filters: expected a whole number from 1");
  check_refused(replaced(kSmall, "activation=leaky", "activation=laeky"),
                "activation 'laeky' is not supported; did you mean 'leaky'?");
  check_refused(replaced(kSmall, "[upsample]", "[upsampel]"), "did you mean 'upsample'?");
  check_refused(replaced(kSmall, "from=-2", "from=-7"), "reads layer -7, but only the 2 before it exist");
  check_refused(replaced(kSmall, "layers=-1,2", "layers=-1,two"),
                "expected numbers separated by commas, got 'two'");
  check_refused(replaced(kSmall, "group_id=1", "group_id=2"),
                "group_id: expected a whole number from 0 to 1");
  check_refused(replaced(kSmall, "groups=2", "groups=3"), "16 channels cannot be divided into 3 groups");
  check_refused(replaced(kSmall, "filters=14", "filters=15"),
                "reads 15 channels; 2 anchors of 2 classes take 14 (filters of the layer before)");
  check_refused(replaced(kSmall, "mask=0,2", "mask=0,3"), "mask 3: there are 3 anchors");
  check_refused(replaced(kSmall, "anchors=4,6,", "anchors=4,"), "pairs of width and height");
  CHECK_THROWS_WITH(build_darknet("/nowhere/net.cfg"), ContainsSubstring("/nowhere/net.cfg: cannot be read"));
}
