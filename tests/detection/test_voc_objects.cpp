// SPDX-License-Identifier: Apache-2.0
// Pascal VOC folders.
#include "detection_files.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

using namespace sparsify::detection;
using namespace detection_test;
using Catch::Matchers::StartsWith;

namespace {

std::string object(const std::string& name, const Texts& corners, const std::string& more = "") {
  return "<object><name>" + name + "</name>" + more + "<bndbox><xmin>" + corners.at(0) + "</xmin><ymin>" +
         corners.at(1) + "</ymin><xmax>" + corners.at(2) + "</xmax><ymax>" + corners.at(3) +
         "</ymax></bndbox></object>";
}

const std::string kLayout =
    "; expected a name a line, with Annotations/NAME.xml and JPEGImages/NAME.jpg (or .jpeg, .png) beside "
    "ImageSets/";

/// One image of 40 x 20 pixels for each of train, val and test.
struct ThreeImages : Scratch {
  ThreeImages() {
    for (const std::string split : {"train", "val", "test"}) {
      write("ImageSets/Main/" + split + ".txt", "of_" + split + "\n");
      write_plain_image(*this, "JPEGImages/of_" + split + (split == "val" ? ".png" : ".jpg"), 20, 40);
      annotate(split, object("person", {"1", "1", "40", "20"}));
    }
  }
  void annotate(const std::string& split, const std::string& objects, int width = 40, int height = 20) const {
    write("Annotations/of_" + split + ".xml",
          "<annotation><size><width>" + std::to_string(width) + "</width><height>" + std::to_string(height) +
              "</height><depth>3</depth></size>" + objects + "</annotation>");
  }
  std::string train_file() const { return path("Annotations/of_train.xml"); }
  std::string refusal_of(const std::string& objects) const {
    annotate("train", objects);
    return refusal(path());
  }
};

}  // namespace

TEST_CASE("Pascal VOC's corners are pixels counted from 1 that belong to the object") {
  const ThreeImages files;
  files.annotate("train", object("person", {"1", "1", "40", "20"}) + object("cat", {"11", "5", "11", "6"}) +
                              object("cat", {"2.5", "3.25", "9", "9"}));
  const auto data = open_detection_datasets(files.path());
  CHECK(data.train->class_names() == Texts{"cat", "person"});
  REQUIRE(data.train->objects(0).size() == 3);
  CHECK(is_box(data.train->objects(0)[0], 1, 0, 0, 40, 20));
  CHECK(is_box(data.train->objects(0)[1], 0, 10, 4, 11, 6));
  CHECK(is_box(data.train->objects(0)[2], 0, 1.5F, 2.25F, 9, 9));
  CHECK(data.train->describe(0) == files.path("JPEGImages/of_train.jpg"));
  CHECK(data.val->describe(0) == files.path("JPEGImages/of_val.png"));
  CHECK(data.findings.empty());
}

TEST_CASE("names of classes are trimmed, counted, and compared with each other") {
  const ThreeImages files;
  std::string many;
  for (int i = 0; i < 30; ++i)
    for (const std::string name : {"RBC", " person\n", "Platelets", "bat", "v20"})
      many += object(name, {"1", "1", std::to_string(2 + i), std::to_string(1 + (name.size() + i) % 20)});
  files.annotate("train", many);
  files.annotate("test", object("RCB", {"1", "1", "4", "4"}) + object("Platlet", {"1", "1", "4", "4"}) +
                             object("rbc", {"1", "1", "4", "4"}) + object("cow", {"1", "1", "4", "4"}) +
                             object("v30", {"1", "1", "4", "4"}));
  const auto data = open_detection_datasets(files.path());
  CHECK(data.train->class_names() ==
        Texts{"Platelets", "Platlet", "RBC", "RCB", "bat", "cow", "person", "rbc", "v20", "v30"});
  CHECK(data.found_objects == std::vector<std::int64_t>{30, 1, 30, 1, 30, 1, 31, 1, 30, 1});
  const auto start = files.path("Annotations") + ": class ";
  CHECK(findings_of(data) == Texts{start + "Platlet (1 object) looks like Platelets (30 objects)",
                                   start + "RCB (1 object) looks like RBC (30 objects)",
                                   start + "rbc (1 object) looks like RBC (30 objects)"});
}

TEST_CASE("of an object that is told about, the number in its file is given") {
  const ThreeImages files;
  files.annotate("train", object("person", {"1", "1", "4", "4"}, "<difficult>1</difficult>") +
                              object("person", {"3", "3", "8", "8"}) +
                              object("person", {"3", "3", "8", "8"}));
  CHECK(findings_of(open_detection_datasets(files.path())) ==
        Texts{files.train_file() + ": object 3: a box that is there twice: counted once"});
}

TEST_CASE("difficult objects and parts of objects are left out") {
  const ThreeImages files;
  files.annotate("train",
                 object("person", {"1", "1", "4", "4"}, "<difficult>1</difficult>") +
                     object("person", {"3", "3", "8", "8"},
                            "<difficult>0</difficult><part><name>head</name><bndbox><xmin>1</xmin><ymin>1"
                            "</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>"));
  const auto data = open_detection_datasets(files.path());
  CHECK(data.train->class_names() == Texts{"person"});
  REQUIRE(data.train->objects(0).size() == 1);
  CHECK(is_box(data.train->objects(0)[0], 0, 2, 2, 8, 8));
}

TEST_CASE("Pascal VOC is validated on the splits that are asked for") {
  const ThreeImages files;
  const auto name = [&](const std::string& option, std::int64_t index) {
    return fs::path(open_detection_datasets(files.path() + option).val->describe(index)).stem().string();
  };
  CHECK(name("", 0) == "of_val");
  CHECK(name(":val=test", 0) == "of_test");
  CHECK(name(":val=val+test", 0) == "of_val");
  CHECK(name(":val=val+test", 1) == "of_test");
  CHECK(open_detection_datasets(files.path() + ":val=val+test").val->size() == 2);
  CHECK(refusal(files.path() + ":val=val+tset") ==
        files.path("ImageSets/Main/tset.txt") + ": cannot be read; expected the images of split 'tset'");
  CHECK(refusal(files.path() + ":val=") == files.path() +
                                               ": cannot be used\n  there is no validation image in " +
                                               files.path() + " by ':val=', which names no split" + kLayout);
}

TEST_CASE("the image's size counts, not what Pascal VOC's annotation says of it") {
  const ThreeImages files;
  files.annotate("train", object("person", {"11", "1", "50", "20"}), 60, 30);
  const auto data = open_detection_datasets(files.path());
  CHECK(is_box(data.train->objects(0).at(0), 0, 10, 0, 40, 20));
  CHECK(findings_of(data) ==
        Texts{files.train_file() + ": says 60 x 30 pixels, the image has 40 x 20",
              files.train_file() + ": object 1: a box reaches outside the image: clipped"});
}

TEST_CASE("Pascal VOC annotations that cannot be used") {
  const ThreeImages files;
  const auto start = files.path() + ": cannot be used\n  " + files.train_file();
  CHECK(files.refusal_of("<object><name>cat</name></object>") == start + ": an object's bndbox has no xmin");
  CHECK(files.refusal_of(object("cat", {"1", "1", "4", ""})) == start + ": an object's bndbox has no ymax");
  CHECK(files.refusal_of(object("cat", {"1", "one", "4", "4"})) ==
        start + ": an object's ymin: expected a number, got 'one'");
  CHECK(files.refusal_of(object("cat", {"1", "1", "nan", "4"})) ==
        start + ": an object's xmax: expected a number, got 'nan'");
  CHECK(files.refusal_of(object("", {"1", "1", "4", "4"})) == start + ": an object has no name");
  CHECK_THAT(files.refusal_of("<object>"), StartsWith(start + ": Start-end tags mismatch at character "));
  files.write("Annotations/of_train.xml", "<root/>");
  CHECK(refusal(files.path()) == start + ": has no <annotation>");
}

TEST_CASE("Pascal VOC images and annotations that are missing") {
  const ThreeImages files;
  files.write("ImageSets/Main/train.txt", "of_train\nof_test\nof_nothing\n");
  fs::remove(files.path("JPEGImages/of_test.jpg"));
  const auto data = open_detection_datasets(files.path());
  CHECK(data.train->size() == 1);
  CHECK(
      findings_of(data) ==
      Texts{files.path("Annotations/of_nothing.xml") + ": there is no such annotation: its image is left out",
            files.path("JPEGImages/of_test.jpg") + ": there is no such image: left out"});
  fs::remove(files.path("JPEGImages/of_train.jpg"));
  CHECK(refusal(files.path()) == files.path() + ": cannot be used\n  there is no training image in " +
                                     files.path("ImageSets/Main/train.txt") +
                                     ": none of the 2 that are listed exists" + kLayout);
  fs::remove(files.path("ImageSets/Main/train.txt"));
  CHECK(refusal(files.path()) ==
        files.path("ImageSets/Main/train.txt") + ": cannot be read; expected the images of split 'train'");
}
