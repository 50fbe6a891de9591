// SPDX-License-Identifier: Apache-2.0
// COCO's folders with annotations/instances_*.json.
#include "detection_files.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

using namespace sparsify::detection;
using namespace detection_test;
using Catch::Matchers::StartsWith;

namespace {

// Numbers have gaps, and the order is not theirs.
const std::string kCategories = R"([{"id": 90, "name": "brush"}, {"id": 1, "name": "person"},
                                    {"id": 17, "name": "cat"}])";

std::string instances(const std::string& images, const std::string& annotations,
                      const std::string& categories = kCategories) {
  return R"({"images": [)" + images + R"(], "annotations": [)" + annotations + R"(], "categories": )" +
         categories + "}";
}

std::string box(int image, int category, const std::string& corner_and_size, const std::string& more = "") {
  return R"({"image_id": )" + std::to_string(image) + R"(, "category_id": )" + std::to_string(category) +
         R"(, "bbox": [)" + corner_and_size + "]" + more + "}";
}

struct TwoImages : Scratch {
  TwoImages() {
    write_plain_image(*this, "train2017/a.png", 20, 40);
    write_plain_image(*this, "images/val2017/b.png", 16, 16);
    train(box(42, 90, "1.5, 2, 10, 4.25"));
    write("annotations/instances_val2017.json",
          instances(R"({"id": 7, "file_name": "b.png"})", box(7, 17, "0, 0, 16, 16")));
  }
  void train(const std::string& annotations) const {
    write("annotations/instances_train2017.json",
          instances(R"({"id": 42, "file_name": "a.png"})", annotations));
  }
  std::string file() const { return path("annotations/instances_train2017.json"); }
};

}  // namespace

TEST_CASE("COCO's categories become classes by the rank of their numbers") {
  const TwoImages files;
  const auto data = open_detection_datasets(files.path());
  CHECK(data.train->class_names() == Texts{"person", "cat", "brush"});
  REQUIRE(data.train->size() == 1);
  CHECK(data.train->describe(0) == files.path("train2017/a.png"));
  CHECK(data.train->image_size(0).width == 40);
  CHECK(data.train->image_id(0) == 42);
  CHECK(data.val->category_id(0) == 1);
  CHECK(data.val->category_id(2) == 90);
  REQUIRE(data.train->objects(0).size() == 1);
  CHECK(is_box(data.train->objects(0)[0], 2, 1.5F, 2, 11.5F, 6.25F));
  REQUIRE(data.val->objects(0).size() == 1);
  CHECK(is_box(data.val->objects(0)[0], 1, 0, 0, 16, 16));
  CHECK(data.findings.empty());
}

TEST_CASE("crowds are no objects; strange boxes are mended") {
  const TwoImages files;
  files.train(box(42, 1, "0, 0, 40, 20", R"(, "iscrowd": 1)") + "," +
              box(42, 1, "30, 5, 20, 5", R"(, "iscrowd": 0, "id": 77)") + "," + box(42, 1, "30, 5, 10, 5") +
              "," + box(42, 1, "30, 5, 20, 5") + "," + box(42, 17, "3, 3, 0, 5") + "," +
              box(42, 17, "50, 3, 5, 5"));
  const auto data = open_detection_datasets(files.path());
  REQUIRE(data.train->objects(0).size() == 1);
  CHECK(is_box(data.train->objects(0)[0], 0, 30, 5, 40, 10));
  const auto start = files.file() + ": annotations";
  CHECK(findings_of(data) ==
        Texts{start + "[1] (id 77), in a.png: a box reaches outside the image: clipped",
              start + "[2], in a.png: a box that is there twice: counted once",
              start + "[3], in a.png: a box that is there twice: counted once",
              start + "[4], in a.png: an empty box, or one outside the image: left out",
              start + "[5], in a.png: an empty box, or one outside the image: left out"});
}

TEST_CASE("COCO's crowds may be told by booleans") {
  const TwoImages files;
  files.train(box(42, 1, "0, 0, 40, 20", R"(, "iscrowd": true)") + "," +
              box(42, 17, "30, 5, 10, 5", R"(, "iscrowd": false)"));
  const auto data = open_detection_datasets(files.path());
  REQUIRE(data.train->objects(0).size() == 1);
  CHECK(is_box(data.train->objects(0)[0], 1, 30, 5, 40, 10));
}

TEST_CASE("sizes that COCO does not give as numbers claim nothing") {
  const TwoImages files;
  for (const auto* size : {R"("width": null, "height": null)", R"("width": "41", "height": 20)",
                           R"("width": 41, "height": 20.5)"}) {
    INFO(size);
    files.write("annotations/instances_train2017.json",
                instances(R"({"id": 42, "file_name": "a.png", )" + std::string(size) + "}",
                          box(42, 90, "1, 2, 10, 4")));
    const auto data = open_detection_datasets(files.path());
    CHECK(data.train->objects(0).size() == 1);
    CHECK(data.findings.empty());
  }
}

TEST_CASE("COCO annotations that cannot be used") {
  const TwoImages files;
  const auto start = files.path() + ": cannot be used\n  " + files.file();
  files.train(box(42, 2, "1, 1, 2, 2") + "," + box(43, 1, "1, 1, 2, 2"));
  CHECK(refusal(files.path()) ==
        start + ": annotations[0]: category_id: expected the id of an entry of 'categories', got 2\n  " +
            files.file() + ": annotations[1]: image_id: expected the id of an entry of 'images', got 43");
  files.train(box(42, 1, "1, 1, 2"));
  CHECK(refusal(files.path()) ==
        start + ": annotations[0]: bbox: expected x, y, width and height, got [1,1,2]");
  files.train(box(42, 1, "1, 1, 2, 2") + "," + box(42, 1, "1, 1, 2, \"2\"", R"(, "id": 9)"));
  CHECK(refusal(files.path()) ==
        start + R"(: annotations[1] (id 9): bbox: expected x, y, width and height, got [1,1,2,"2"])");
  files.train("{}, 3, {\"image_id\": 1.5}");
  CHECK(refusal(files.path()) ==
        start + ": annotations[0]: image_id: expected a whole number, got nothing\n  " + files.file() +
            ": annotations[1]: expected an object, got 3\n  " + files.file() +
            ": annotations[2]: image_id: expected a whole number, got 1.5");
  files.write("annotations/instances_train2017.json", "{\"images\": [");
  CHECK_THAT(refusal(files.path()), StartsWith(files.file() + ": not valid JSON: parse error at line 1"));
  files.write("annotations/instances_train2017.json", R"({"images": [], "annotations": {}})");
  CHECK(refusal(files.path()) == files.file() + ": has no list 'annotations'; expected COCO's instances");
  files.write("annotations/instances_train2017.json", "[]");
  CHECK(refusal(files.path()) == files.file() + ": has no list 'images'; expected COCO's instances");
}

TEST_CASE("COCO's images and categories that cannot be used") {
  const TwoImages files;
  const auto start = files.path() + ": cannot be used\n  " + files.file() + ": ";
  const auto refused = [&](const std::string& images, const std::string& categories = kCategories) {
    files.write("annotations/instances_train2017.json",
                instances(images, box(1, 1, "1, 1, 2, 2"), categories));
    return refusal(files.path());
  };
  const std::string good = R"({"id": 42, "file_name": "a.png"})";
  CHECK(refused(good + R"(, {"id": 5})") ==
        start + "images[1] (id 5): file_name: expected a text, got nothing");
  CHECK(refused(good + R"(, {"id": "x", "file_name": "a.png"})") ==
        start + R"(images[1] (id "x"): id: expected a whole number, got "x")");
  CHECK(refused(good + R"(, {"id": 42, "file_name": "b.png"})") ==
        start + "images[1] (id 42): expected an id of its own, " + files.path("train2017/a.png") +
            " has the same");
  CHECK(refused(good, R"([{"id": 1, "name": "cat"}, {"id": 2}, {"id": 1, "name": "dog"}])") ==
        start + "categories[1] (id 2): name: expected a text, got nothing\n  " + files.file() +
            ": categories[2] (id 1): expected an id of its own, categories[0] (id 1) has the same");
}

TEST_CASE("the image's size counts, not what COCO says of it") {
  const TwoImages files;
  const auto with_size = [&](const std::string& size) {
    files.write("annotations/instances_train2017.json",
                instances(R"({"id": 42, "file_name": "a.png", )" + size + "}", box(42, 1, "1, 1, 2, 2")));
    return findings_of(open_detection_datasets(files.path()));
  };
  CHECK(with_size(R"("width": 40, "height": 20)").empty());
  CHECK(with_size(R"("width": 20, "height": 40)") ==
        Texts{files.file() + ": image 42, a.png: says 20 x 40 pixels, the image has 40 x 20"});
}

TEST_CASE("COCO's parts and images have to be there and to agree") {
  const TwoImages files;
  files.write("annotations/instances_train2017.json", instances(R"({"id": 1, "file_name": "gone.png"})", ""));
  CHECK(refusal(files.path()) ==
        files.path() + ": cannot be used\n  there is no training image in " + files.file() +
            ": none of the 1 that are listed exists; expected entries of 'images' whose files lie in " +
            files.path("train2017"));
  const auto two = R"({"id": 1, "file_name": "gone.png"}, {"id": 2, "file_name": "a.png"})";
  files.write("annotations/instances_train2017.json", instances(two, box(2, 1, "1, 1, 2, 2")));
  const auto data = open_detection_datasets(files.path());
  CHECK(findings_of(data) == Texts{files.path("train2017/gone.png") + ": there is no such image: left out"});
  REQUIRE(data.train->size() == 1);
  CHECK(data.train->objects(0).size() == 1);
  files.write("annotations/instances_train2017.json", instances("", ""));
  CHECK(refusal(files.path()) == files.path() + ": cannot be used\n  there is no training image in " +
                                     files.file() + "; expected entries of 'images' whose files lie in " +
                                     files.path("train2017"));
  files.write("annotations/instances_train2017.json", instances("", "", R"([{"id": 1, "name": "person"}])"));
  CHECK(refusal(files.path()) == files.path("annotations/instances_val2017.json") +
                                     ": its categories are not those of the training part");
  fs::remove_all(files.path("train2017"));
  CHECK(refusal(files.path()) ==
        files.path() + ": has no folder train2017 or images/train2017 for " + files.file());
  fs::remove(files.file());
  CHECK(refusal(files.path()) == files.path() + ": has no annotations/instances_train*.json");
}

TEST_CASE("of several years of COCO the first one is taken") {
  const TwoImages files;
  for (const std::string year : {"2019", "2014", "2018"}) {
    write_plain_image(files, "train" + year + "/" + year + ".png", 8, 8);
    files.write("annotations/instances_train" + year + ".json",
                instances(R"({"id": 1, "file_name": ")" + year + R"(.png"})", ""));
  }
  CHECK(open_detection_datasets(files.path()).train->describe(0) == files.path("train2014/2014.png"));
}
