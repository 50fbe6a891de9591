// SPDX-License-Identifier: Apache-2.0
// `predict` and other commands with a detector that was not trained here: which files they read and write,
// and what is refused before a network runs.
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "run_program.hpp"

using Catch::Matchers::ContainsSubstring;
using Files = std::set<std::string>;
using Words = std::vector<std::string>;

namespace {

/// Two heads' anchors on one convolution of stride 32; its weights are zeros, so with --conf 0.9 it finds
/// nothing.
constexpr const char* kOneLayer =
    "[net]\nwidth=64\nheight=64\n"
    "[convolutional]\nfilters=14\nsize=3\nstride=32\npad=1\nactivation=linear\n"
    "[yolo]\nmask=0,1\nanchors=26,14, 14,26\nclasses=2\n";
constexpr std::size_t kNumbersOfOneLayer = 14 + 14 * 3 * 9, kShortHeader = 16;

std::string changed(std::string text, const std::string& from, const std::string& to) {
  const auto at = text.find(from);
  REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

/// A folder with net.cfg and net.weights.
class DetectorFolder : public cli::Folder {
 public:
  DetectorFolder() {
    cli::write(*this / "net.cfg", kOneLayer);
    cli::write(*this / "net.weights", std::string(kShortHeader + 4 * kNumbersOfOneLayer, '\0'));
  }

  void image(const std::string& name) const {
    cli::fs::create_directories((*this / name).parent_path());
    cli::write_image(*this / name, 40, 9, 99, 200);
  }

  cli::Outcome predict(const Words& more, const std::string& weights = "net.weights",
                       const std::string& model = "net.cfg") const {
    Words words = {"predict", "--model", model, "--weights", weights, "--conf", "0.9"};
    words.insert(words.end(), more.begin(), more.end());
    return cli::sparsify(path(), words);
  }

  Files files_in(const std::string& name) const {
    Files files;
    for (const auto& entry : cli::fs::directory_iterator(*this / name))
      files.insert(entry.path().filename().string());
    return files;
  }
};

void check_succeeds(const cli::Outcome& outcome) {
  INFO(outcome.err << outcome.out);
  CHECK(outcome.code == 0);
}

void check_refuses(const cli::Outcome& outcome, const std::string& expected) {
  INFO(outcome.err << outcome.out);
  CHECK(outcome.code == 2);
  CHECK_THAT(outcome.err, ContainsSubstring(expected));
}

}  // namespace

TEST_CASE("predict writes over none of the images, nor over anything else that is there") {
  const DetectorFolder folder;
  folder.image("photos/a.jpg");
  folder.image("photos/b.bmp");
  cli::fs::create_directory_symlink("photos", folder / "link");
  const auto photo = cli::read(folder / "photos/a.jpg");
  // Found before the network is opened: these weights are none.
  check_refuses(folder.predict({"photos", "--json", "photos/a.jpg"}, "none.weights"),
                "--json photos/a.jpg: is one of the images");
  Files files = {"a.jpg", "b.bmp"};
  const auto adds = [&](const Words& words, const Files& pictures) {
    check_succeeds(folder.predict(words));
    files.insert(pictures.begin(), pictures.end());
    CHECK(folder.files_in("photos") == files);
    CHECK(cli::read(folder / "photos/a.jpg") == photo);
  };
  adds({"photos/a.jpg", "--output", "photos"}, {"a-2.jpg"});
  adds({"photos/a.jpg", "--output", "./photos/../photos/"}, {"a-3.jpg"});
  adds({"photos/a.jpg", "--output", "link"}, {"a-4.jpg"});
  adds({"link/a.jpg", "--output", "photos"}, {"a-5.jpg"});
  cli::write(folder / "photos/b.jpg", "somebody's");
  files.insert("b.jpg");
  adds({"photos/b.bmp", "--output", "photos"}, {"b-2.jpg"});
  CHECK(cli::read(folder / "photos/b.jpg") == "somebody's");
}

TEST_CASE("predict leaves its own pictures out where their folder lies in the images'") {
  const DetectorFolder folder;
  folder.image("photos/a.bmp");
  folder.image("photos/more/b.bmp");
  check_succeeds(folder.predict({"photos", "--output", "photos/out", "--json", "first.json"}));
  CHECK(folder.files_in("photos/out") == Files{"a.jpg", "b.jpg"});
  const auto picture = cli::read(folder / "photos/out/a.jpg");
  check_succeeds(folder.predict({"photos", "--output", "photos/out", "--json", "second.json"}));
  const auto first = cli::read_json(folder / "first.json");
  CHECK(first.size() == 2);
  CHECK(cli::read_json(folder / "second.json") == first);
  CHECK(folder.files_in("photos/out") == Files{"a.jpg", "a-2.jpg", "b.jpg", "b-2.jpg"});
  CHECK(cli::read(folder / "photos/out/a.jpg") == picture);
}

TEST_CASE("every image of predict has a picture of its own") {
  const DetectorFolder folder;
  for (const auto* name : {"one/a.bmp", "two/a.bmp", "two/a-2.bmp"}) folder.image(name);
  const auto predicted = folder.predict({"one/a.bmp", "two/a.bmp", "two/a-2.bmp", "--output", "out"});
  check_succeeds(predicted);
  CHECK_THAT(predicted.out, ContainsSubstring("3 pictures in out"));
  CHECK(folder.files_in("out") == Files{"a.jpg", "a-2.jpg", "a-2-2.jpg"});
}

TEST_CASE("predict looks at its output, names and weights before images") {
  const DetectorFolder folder;
  folder.image("a.bmp");
  cli::write(folder / "notes.txt", "notes");
  const auto unwritable = folder.predict({"a.bmp", "--output", "notes.txt"}, "none.weights");
  check_refuses(unwritable, "--output notes.txt: cannot be made");
  check_refuses(folder.predict({"a.bmp", "--output", "notes.txt/out"}, "none.weights"),
                "--output notes.txt/out: cannot be made");
  CHECK(cli::read(folder / "notes.txt") == "notes");

  cli::write(folder / "two.names", "wide\nhigh\n");
  cli::write(folder / "five.names", "1\n2\n3\n4\n5\n");
  check_succeeds(folder.predict({"a.bmp", "--json", "found.json", "--names", "two.names"}));
  check_refuses(folder.predict({"a.bmp", "--output", "out", "--names", "five.names"}),
                "--names five.names: expected a name for each of the detector's 2 classes, got 5");

  check_refuses(folder.predict({"a.bmp", "--output", "out"}, "net.weights", "yolov3-tiny"),
                "net.weights: darknet's weights are read by the .cfg that they were trained with; expected "
                "--model FILE.cfg, got 'yolov3-tiny'");
  cli::write(folder / "net.conv.1", cli::read(folder / "net.weights"));
  check_refuses(folder.predict({"a.bmp", "--output", "out"}, "net.conv.1"),
                "net.conv.1: holds a backbone alone; expected weights of the whole network");
  cli::write(folder / "odd.cfg", changed(kOneLayer, "pad=1", "pad=1\ndilation=2"));
  check_refuses(folder.predict({"a.bmp", "--output", "out"}, "net.weights", "odd.cfg"),
                "odd.cfg:9: dilation");
  check_refuses(folder.predict({"--output", "out"}), "no image is given");
}

TEST_CASE("the size of a detector's images is a multiple of its largest stride") {
  const DetectorFolder folder;
  folder.image("a.bmp");
  const auto with_size = [&](const Words& more, const std::string& model = "net.cfg") {
    Words words = {"a.bmp", "--json", "found.json"};
    words.insert(words.end(), more.begin(), more.end());
    return folder.predict(words, model == "yolov3-tiny" ? "none.pt" : "net.weights", model);
  };
  const std::string expected = "expected a multiple of 32 (the network's largest stride), got ";
  check_succeeds(with_size({"--image-size", "96"}));
  check_refuses(with_size({"--image-size", "333"}), "--image-size: " + expected + "333");
  check_refuses(with_size({"--image-size", "333"}, "yolov3-tiny"), "--image-size: " + expected + "333");

  cli::write(folder / "odd.cfg",
             changed(changed(kOneLayer, "width=64", "width=65"), "height=64", "height=65"));
  check_refuses(with_size({}, "odd.cfg"),
                "odd.cfg: size of images: " + expected + "65; --image-size overrides it");
  check_succeeds(with_size({"--image-size", "64"}, "odd.cfg"));
  cli::write(folder / "wide.cfg", changed(kOneLayer, "height=64", "height=32"));
  check_refuses(with_size({}, "wide.cfg"), "wide.cfg: width=64 and height=32: expected square images");
  check_succeeds(with_size({"--image-size", "64"}, "wide.cfg"));

  // Before the data is looked for.
  const Words validate = {"validate", "--model", "net.cfg",      "--weights", "net.weights",
                          "--data",   "nowhere", "--image-size", "100"};
  check_refuses(cli::sparsify(folder.path(), validate), "--image-size: " + expected + "100");
  const std::string recipe =
      "version: 1\nrun: {model: net.cfg, data: nowhere}\nmodifiers:\n  - EpochRangeModifier: {end_epoch: "
      "1}\n";
  cli::write(folder / "r.yaml", recipe);
  check_refuses(
      cli::sparsify(folder.path(), {"train", "--recipe", "r.yaml", "--output", "run", "--image-size", "100"}),
      "--image-size: " + expected + "100");
  cli::write(folder / "sized.yaml", changed(recipe, "data: nowhere", "data: nowhere, image_size: 100"));
  check_refuses(cli::sparsify(folder.path(), {"train", "--recipe", "sized.yaml", "--output", "run"}),
                "run: image_size: " + expected + "100");
  CHECK_FALSE(cli::fs::exists(folder / "run"));
}

TEST_CASE("a model that is not known is told from detectors, too") {
  const cli::Folder folder;
  cli::write(folder / "r.yaml", "version: 1\nmodifiers:\n  - EpochRangeModifier: {end_epoch: 1}\n");
  for (const auto& command :
       {Words{"recipe", "check", "r.yaml", "--model", "yolov4"},
        Words{"validate", "--model", "yolov4", "--weights", "w.pt", "--data", "nowhere"}}) {
    const auto outcome = cli::sparsify(folder.path(), command);
    check_refuses(outcome, "model 'yolov4' is not known; did you mean 'yolov3'? Known are resnet18, ");
    CHECK_THAT(outcome.err,
               ContainsSubstring("; of detectors yolov3, yolov3-spp, yolov3-tiny, and those that a "
                                 ".cfg or .yaml file describes"));
  }
}
