// SPDX-License-Identifier: Apache-2.0
// Real data sets: $SPARSIFY_DATA/coco128 and bccd. The numbers are those of a count by other means (Python's
// text and XML readers).
#include "detection_files.hpp"
#include "published.hpp"

#include <catch2/catch_test_macros.hpp>
#include <cstdlib>

using namespace sparsify::detection;
using namespace detection_test;

namespace {

using Counts = std::vector<std::int64_t>;

/// Opens a set and leaves no index beside it.
DetectionDatasets opened(const std::string& spec) {
  const Scratch scratch;
  DetectionDataOptions options;
  options.cache = scratch.path();
  return open_detection_datasets(spec, options);
}

}  // namespace

TEST_CASE("objects of each class in 128 + 128 images of COCO") {
  const auto folder = data_folder("coco128").string();
  const auto data = opened(folder);
  CHECK(data.train->size() == 128);
  CHECK(data.val->size() == 128);
  CHECK(data.train->class_names().at(79) == "toothbrush");
  CHECK(objects_per_class(*data.train) ==
        Counts{254, 6,  46, 5,  6,  7,  3,  12, 6, 14, 0,  2,  0, 9,  16, 4, 9,  2,  0,  0,
               17,  1,  4,  9,  6,  18, 19, 7,  4, 5,  1,  7,  6, 10, 4,  7, 5,  0,  7,  18,
               16,  36, 6,  16, 22, 28, 1,  0,  2, 4,  11, 24, 2, 5,  14, 4, 35, 6,  14, 3,
               13,  2,  2,  3,  2,  8,  0,  8,  3, 5,  0,  6,  5, 29, 9,  2, 1,  21, 0,  5});
  CHECK(objects_per_class(*data.val) == Counts{350, 10, 24, 6, 4, 6, 2, 9,  7,  13, 2,  3,  0,  3,  5,  3,
                                               1,   3,  9,  0, 6, 1, 5, 0,  19, 2,  17, 20, 4,  3,  5,  0,
                                               3,   3,  3,  4, 3, 7, 5, 20, 24, 30, 7,  14, 7,  17, 10, 2,
                                               5,   1,  15, 6, 1, 9, 1, 1,  28, 4,  3,  7,  18, 4,  12, 9,
                                               4,   6,  9,  6, 2, 2, 0, 7,  3,  15, 6,  7,  2,  4,  0,  0});
  CHECK(findings_of(data) ==
        std::vector<std::string>{
            folder + "/images/train2017/000000000086.jpg: grey: read with three equal channels",
            folder + "/images/train2017: 2 images without objects",
            folder + "/images/val2017/000000007888.jpg: grey: read with three equal channels"});
}

TEST_CASE("objects of each class in the splits of BCCD") {
  const auto folder = data_folder("bccd").string();
  const auto data = opened(folder);
  CHECK(data.train->class_names() == std::vector<std::string>{"Platelets", "RBC", "WBC"});
  CHECK(data.train->size() == 205);
  CHECK(objects_per_class(*data.train) == Counts{209, 2382, 214});
  CHECK(data.val->size() == 87);
  CHECK(objects_per_class(*data.val) == Counts{83, 968, 87});
  const auto test = opened(folder + ":val=test");
  CHECK(test.val->size() == 72);
  CHECK(objects_per_class(*test.val) == Counts{69, 805, 71});
  CHECK(opened(folder + ":val=val+test").val->size() == 87 + 72);
}
