// SPDX-License-Identifier: Apache-2.0
// Data sets in Ultralytics' layout, and what is said about those that are wrong.
#include <catch2/catch_test_macros.hpp>

#include "detection_files.hpp"
#include "sparsify/trainers/data_error.hpp"

using namespace sparsify::detection;
using namespace detection_test;

namespace {

const std::string kTwoNames = "names: [cat, dog]\n";
const std::string kLine = "expected class, x, y, width and height, or class and three or more corners x, y";
const std::string kParts = "train: images/train\nval: images/val\n";

/// images/train/a.png of 40 x 20 pixels with a dog, images/val/b.jpg of 16 x 16 with a cat and a dog.
struct TwoParts : Scratch {
  TwoParts() {
    write_plain_image(*this, "images/train/a.png", 20, 40);
    write("labels/train/a.txt", "1 0.5 0.5 0.5 0.2\n");
    write_plain_image(*this, "images/val/b.jpg", 16, 16);
    write("labels/val/b.txt", "0 0.25 0.25 0.5 0.5\r\n\n1 0.75 0.75 0.5 0.25\n");
  }
  std::string yaml(const std::string& text) const {
    write("data.yaml", text);
    return path("data.yaml");
  }
  std::string labelled(const std::string& labels) const {
    write("labels/train/a.txt", labels);
    return yaml(kTwoNames + kParts);
  }
};

void check_two_images(const DetectionDatasets& data, const TwoParts& files) {
  CHECK(data.train->class_names() == Texts{"cat", "dog"});
  REQUIRE(data.train->size() == 1);
  REQUIRE(data.val->size() == 1);
  CHECK(fs::equivalent(data.train->describe(0), files.path("images/train/a.png")));
  CHECK(data.train->image_size(0).height == 20);
  CHECK(data.train->image_size(0).width == 40);
  CHECK(data.train->image(0).width() == 40);
  REQUIRE(data.train->objects(0).size() == 1);
  CHECK(is_box(data.train->objects(0)[0], 1, 10, 8, 30, 12));
  REQUIRE(data.val->objects(0).size() == 2);
  CHECK(is_box(data.val->objects(0)[0], 0, 0, 0, 8, 8));
  CHECK(is_box(data.val->objects(0)[1], 1, 8, 10, 16, 14));
  CHECK(data.findings.empty());
}

}  // namespace

TEST_CASE("an Ultralytics data.yaml names its classes in a list or in a mapping") {
  const TwoParts files;
  const auto file = files.yaml(kTwoNames + kParts + "nc: 2\n");
  check_two_images(open_detection_datasets(file), files);
  CHECK(open_detection_datasets(file).name == file);
  check_two_images(open_detection_datasets(files.yaml("names:\n  0: cat\n  1: dog\n" + kParts)), files);
  check_two_images(open_detection_datasets(files.path()), files);  // the folder that holds it
}

TEST_CASE("a data.yaml may lie elsewhere, list its images in files, and pool folders") {
  const TwoParts files;
  files.write("sets/here.yaml", "path: ..\n" + kTwoNames + kParts);
  check_two_images(open_detection_datasets(files.path("sets/here.yaml")), files);
  files.write("sets/there.yaml", "path: " + files.path() + "\n" + kTwoNames + kParts + "test:\n");
  check_two_images(open_detection_datasets(files.path("sets/there.yaml")), files);
  files.write("train.txt", "./images/train/a.png\r\n\n");
  files.write("val.txt", files.path("images/val/b.jpg") + "\n");
  check_two_images(open_detection_datasets(files.yaml(kTwoNames + "train: train.txt\nval: val.txt\n")),
                   files);
  const auto pooled =
      open_detection_datasets(files.yaml(kTwoNames + "train: [images/train, images/val]\nval: images/val\n"));
  CHECK(pooled.train->size() == 2);
  CHECK(objects_per_class(*pooled.train) == std::vector<std::int64_t>{1, 2});
}

TEST_CASE("paths of a data.yaml that start one folder too high, as Roboflow writes them") {
  const TwoParts files;
  check_two_images(
      open_detection_datasets(files.yaml(kTwoNames + "train: ../images/train\nval: ../images/val\n")), files);
}

TEST_CASE("a plain folder takes its names from a .names file or classes.txt") {
  const TwoParts files;
  CHECK(refusal(files.path()) ==
        files.path() + ": says no names of classes; expected a data.yaml, a .names file or classes.txt");
  files.write("pets.names", "cat\r\ndog\n\n");
  check_two_images(open_detection_datasets(files.path()), files);
  fs::rename(files.path("pets.names"), files.path("classes.txt"));
  fs::rename(files.path("images/train"), files.path("images/train2017"));
  fs::rename(files.path("labels/train"), files.path("labels/train2017"));
  CHECK(open_detection_datasets(files.path()).train->objects(0).size() == 1);
}

TEST_CASE("what is wrong with a data.yaml is said with its place") {
  const TwoParts files;
  const auto file = files.path("data.yaml");
  CHECK(refusal(files.yaml(kTwoNames + kParts + "nc: 3\n")) ==
        file + ":4:5: nc: expected 2, the number of names, got 3");
  CHECK(refusal(files.yaml(kTwoNames + kParts + "nc: 0\n")) ==
        file + ":4:5: nc: expected a whole number from 1 to 65536, got '0'");
  CHECK(refusal(files.yaml(kTwoNames + "val: images/val\n")) ==
        file + ":1:1: expected both 'train' and 'val'");
  CHECK(refusal(files.yaml(kTwoNames + "train: images/train\n")) ==
        file + ":1:1: expected both 'train' and 'val'");
  CHECK(refusal(files.yaml(kParts)) == file + ":1:1: there is no 'names'");
  CHECK(refusal(files.yaml("namse: [cat, dog]\n" + kParts)) ==
        file + ":1:8: namse: there is no 'names'; did you mean 'names'?");
  CHECK(refusal(files.yaml(kTwoNames + "train: images/train\nvalid: images/val\n")) ==
        file + ":3:8: valid: expected both 'train' and 'val'; did you mean 'val'?");
  CHECK(refusal(files.yaml("names: a\n" + kParts)) ==
        file + ":1:8: names: expected a list or a mapping, got 'a'");
  CHECK(refusal(files.yaml("names: {0: cat, 2: dog}\n" + kParts)) ==
        file + ":1:20: 2: class numbers are 0, 1, 2 ... in order; got 2, expected 1");
  CHECK(refusal(files.yaml(kTwoNames + "train: images/tarin\nval: images/val\n")) ==
        file +
            ":2:8: train: expected a folder of images or a .txt file that lists them; there is neither at " +
            files.path("images/tarin"));
  CHECK(refusal(files.yaml("- cat\n")) == file + ": expected 'key: value' lines, got a list");
}

TEST_CASE("a specification that names no set of objects") {
  const Scratch scratch;
  CHECK(refusal(scratch.path("gone")) == scratch.path("gone") + ": no such file or folder");
  CHECK(refusal(scratch.path()) ==
        scratch.path() +
            ": no images with objects; expected an Ultralytics data.yaml, or a folder with images/ and "
            "labels/, with annotations/instances_train*.json and instances_val*.json (COCO), or with "
            "JPEGImages/, Annotations/ and ImageSets/ (Pascal VOC)");
  const TwoParts files;
  const auto file = files.yaml(kTwoNames + kParts);
  CHECK(refusal(file + ":val=test") ==
        file + ":val=test: ':val=' chooses among the splits of a Pascal VOC folder only");
}

TEST_CASE("a part without images") {
  const TwoParts files;
  fs::create_directories(files.path("images/none"));
  const auto file = files.yaml(kTwoNames + "train: images/train\nval: images/none\n");
  const auto empty =
      " image in " + files.path("images/none") +
      "; expected JPEG, PNG or BMP files in a folder, or a .txt file that lists them, one a line";
  CHECK(refusal(file) == file + ": cannot be used\n  there is no validation" + empty);
  files.yaml(kTwoNames + "train: images/none\nval: images/none\n");
  CHECK(refusal(file) ==
        file + ": cannot be used\n  there is no training" + empty + "\n  there is no validation" + empty);
  fs::remove(file);
  files.write("pets.names", "cat\ndog\n");
  fs::remove(files.path("images/val/b.jpg"));
  CHECK(refusal(files.path()) == files.path() + ": cannot be used\n  there is no validation image in " +
                                     files.path("images/val*") +
                                     "; expected folders images/train* and images/val* of JPEG, PNG or BMP "
                                     "files, and the same in labels/");
}

TEST_CASE("a part without a folder of labels is refused, one with an empty folder trains on no objects") {
  const TwoParts files;
  const auto file = files.yaml(kTwoNames + kParts);
  fs::remove_all(files.path("labels/train"));
  CHECK(refusal(file) ==
        file + ": cannot be used\n  " + files.path("labels/train") +
            ": no such folder, though labels of the images in " + files.path("images/train") +
            " belong there; expected a .txt file for each image with objects, of lines 'class x y width "
            "height' (where no image has any, an empty folder)");
  fs::create_directories(files.path("labels/train"));
  const auto data = open_detection_datasets(file);
  CHECK(findings_of(data) == Texts{files.path("images/train") + ": 1 images without objects"});
  // Of two folders of one part one may have no labels.
  files.yaml(kTwoNames + "train: [images/train, images/val]\nval: images/val\n");
  fs::remove_all(files.path("labels/train"));
  write_plain_image(files, "images/val/c.png", 8, 8);
  const auto both = open_detection_datasets(file);
  CHECK(both.train->size() == 3);
  const auto without = files.path("images/val") + ": 1 images without objects";
  CHECK(findings_of(both) ==
        Texts{files.path("labels/train") + ": no such folder: its 1 images are taken as without objects",
              without});
}

TEST_CASE("a polygon means the box around it") {
  const TwoParts files;
  // 40 x 20 pixels.
  const auto data = open_detection_datasets(
      files.labelled("1 0.5 0.1 0.25 0.5 0.75 0.4\n0 0.1 0.2 0.3 0.2 +0.3 0.6 0.1 0.6\n0 0.5 0.5 0.5 0.5\n"));
  const auto& objects = data.train->objects(0);
  REQUIRE(objects.size() == 3);
  CHECK(is_box(objects[0], 1, 10, 2, 30, 10));
  CHECK(is_box(objects[1], 0, 4, 4, 12, 12));
  CHECK(is_box(objects[2], 0, 10, 5, 30, 15));
  const auto line = files.path("data.yaml") + ": cannot be used\n  " + files.path("labels/train/a.txt");
  CHECK(refusal(files.labelled("0 0.1 0.2 0.3 0.2 0.3 1.6\n")) ==
        line + ":1: expected parts of the image's size, from 0 to 1, got '0 0.1 0.2 0.3 0.2 0.3 1.6'");
  // Corners a little outside are clipped as boxes are: by less than a pixel, and by two.
  const auto clipped = open_detection_datasets(
      files.labelled("0 0.5 0.2 1.0000001 0.2 0.5 0.6\n1 -0.05 0.2 0.5 0.2 0.25 0.6\n"));
  CHECK(findings_of(clipped) ==
        Texts{files.path("labels/train/a.txt") + ":2: a box reaches outside the image: clipped"});
  REQUIRE(clipped.train->objects(0).size() == 2);
  CHECK(is_box(clipped.train->objects(0)[0], 0, 20, 4, 40, 12));
  CHECK(is_box(clipped.train->objects(0)[1], 1, 0, 4, 20, 12));
  for (const std::string odd :
       {"0 0.1 0.2 0.3 0.2 0.3 0.6 0.1", "0 0.1 0.2 0.3 0.2 0.3 0.6 x", "0 0.5 0.5 0.5 0.5 -"})
    CHECK(refusal(files.labelled(odd + "\n")) == line + ":1: " + kLine + ", got '" + odd + "'");
}

TEST_CASE("labels that cannot be used are named with file and line") {
  const TwoParts files;
  const auto line = files.path("data.yaml") + ": cannot be used\n  " + files.path("labels/train/a.txt");
  CHECK(refusal(files.labelled("0 0.5 0.5 0.2 0.2\n2 0.5 0.5 0.2 0.2\n")) ==
        line + ":2: expected a class from 0 to 1, got '2 0.5 0.5 0.2 0.2'");
  CHECK(refusal(files.labelled("-1 0.5 0.5 0.2 0.2\n")) ==
        line + ":1: expected a class from 0 to 1, got '-1 0.5 0.5 0.2 0.2'");
  CHECK(refusal(files.labelled("0 0.5 0.5 0.2\n")) == line + ":1: " + kLine + ", got '0 0.5 0.5 0.2'");
  CHECK(refusal(files.labelled("\n0 0.5 0.5 0.2 0.2 0.9\n")) ==
        line + ":2: " + kLine + ", got '0 0.5 0.5 0.2 0.2 0.9'");
  CHECK(refusal(files.labelled("0 20 10 4 4\n")) ==
        line + ":1: expected parts of the image's size, from 0 to 1, got '0 20 10 4 4'");
  CHECK(refusal(files.labelled("7 0.5 0.5 0.2 0.2\n0 0.5 0.5 0.1 0.1\ncat\n")) ==
        line + ":1: expected a class from 0 to 1, got '7 0.5 0.5 0.2 0.2'\n  " +
            files.path("labels/train/a.txt") + ":3: " + kLine + ", got 'cat'");
}

TEST_CASE("strange labels are told and mended") {
  const TwoParts files;
  const auto labels = files.path("labels/train/a.txt");
  // 40 x 20 pixels: twice the same, 10 pixels too far left, half a pixel too far down, without a width.
  const auto data =
      open_detection_datasets(files.labelled("0 0.5 0.5 0.5 0.5\n0 0.5 0.5 0.5 0.5\n1 0.0 0.5 0.5 0.5\n1 0.5 "
                                             "0.925 0.5 0.2\n1 0.5 0.5 0.5 0.5\n0 0.5 0.5 0 0.1\n"));
  CHECK(findings_of(data) == Texts{labels + ":2: a box that is there twice: counted once",
                                   labels + ":3: a box reaches outside the image: clipped",
                                   labels + ":6: an empty box, or one outside the image: left out"});
  const auto& objects = data.train->objects(0);
  REQUIRE(objects.size() == 4);
  CHECK(is_box(objects[0], 0, 10, 5, 30, 15));
  CHECK(is_box(objects[1], 1, 0, 5, 10, 15));
  CHECK(is_box(objects[2], 1, 10, 16.5F, 30, 20));
  CHECK(is_box(objects[3], 1, 10, 5, 30, 15));  // the first one's place, another class
}

TEST_CASE("images without labels are counted, labels without an image named") {
  const TwoParts files;
  write_plain_image(files, "images/train/c.png", 8, 8);
  files.write("labels/train/z.txt", "0 0.5 0.5 0.5 0.5\n");
  files.write("labels/train/classes.txt", "cat\ndog\n");
  const auto data = open_detection_datasets(files.yaml(kTwoNames + kParts));
  CHECK(findings_of(data) == Texts{files.path("images/train") + ": 1 images without objects",
                                   files.path("labels/train/z.txt") + ": labels without an image"});
  CHECK(data.train->size() == 2);
  CHECK(data.train->objects(1).empty());
}

TEST_CASE("labels of the other part do not lack an image; a part given twice is told about once") {
  const Scratch files;
  write_plain_image(files, "images/a.png", 8, 8);
  write_plain_image(files, "images/b.png", 8, 8);
  files.write("labels/a.txt", "0 0.5 0.5 0.5 0.5\n0 0.5 0.5 0.5 0.5\n");
  files.write("labels/b.txt", "0 0.5 0.5 0.5 0.5\n");
  files.write("train.txt", "images/a.png\n");
  files.write("val.txt", "images/b.png\n");
  files.write("lists.yaml", "names: [cat]\ntrain: train.txt\nval: val.txt\n");
  const Texts expected = {files.path("labels/a.txt") + ":2: a box that is there twice: counted once"};
  CHECK(findings_of(open_detection_datasets(files.path("lists.yaml"))) == expected);
  files.write("same.yaml", "names: [cat]\ntrain: images\nval: images\n");
  CHECK(findings_of(open_detection_datasets(files.path("same.yaml"))) == expected);
  files.write("labels/b.txt", "7 0.5 0.5 0.5 0.5\n");
  CHECK(refusal(files.path("same.yaml")) == files.path("same.yaml") + ": cannot be used\n  " +
                                                files.path("labels/b.txt") +
                                                ":1: expected a class from 0 to 0, got '7 0.5 0.5 0.5 0.5'");
}

TEST_CASE("all images that are broken are listed, the first twenty in full") {
  const TwoParts files;
  files.write("images/train/empty.png", "");
  files.write("images/train/broken.jpg", "\xFF\xD8\xFF");
  files.write("images/train/text.png", "no image");
  const auto file = files.yaml(kTwoNames + kParts);
  const auto message = refusal(file);
  CHECK(message.starts_with(file + ": cannot be used\n  " + files.path("images/train/broken.jpg") +
                            ": broken JPEG header: says no size, or is cut off"));
  CHECK(message.ends_with(
      "\n  " + files.path("images/train/empty.png") + ": empty; expected a JPEG, PNG or BMP image\n  " +
      files.path("images/train/text.png") + ": not an image that can be read; expected JPEG, PNG or BMP"));
  std::string list, expected = file + ": cannot be used";
  for (int i = 10; i < 33; ++i) {
    const auto name = "images/" + std::to_string(i) + ".png";
    list += name + "\n";
    files.write(name, "");
    if (i < 30) expected += "\n  " + files.path(name) + ": empty; expected a JPEG, PNG or BMP image";
  }
  files.write("list.txt", list);
  files.yaml(kTwoNames + "train: list.txt\nval: images/val\n");
  CHECK(refusal(file) == expected + "\n  and 3 more");
}

TEST_CASE("an image that turns out to be broken when its pixels are read") {
  const TwoParts files;
  const auto jpeg = data_test::jpeg(16, 16, data_test::noise(16 * 16 * 3, 1));
  files.write("images/val/b.jpg", jpeg.substr(0, jpeg.size() / 2));
  const auto data = open_detection_datasets(files.yaml(kTwoNames + kParts));
  CHECK_THROWS_AS(data.val->image(0), sparsify::trainers::DataError);
  CHECK(
      message_of([&] { data.val->image(0); }).starts_with(files.path("images/val/b.jpg") + ": broken JPEG"));
}
