// SPDX-License-Identifier: Apache-2.0
#include "detection/ultralytics_models.hpp"

namespace sparsify::detection {
namespace {

// Numbers in comments: the block's, and where it gives a map of another size, the pixels an element stands
// for.
const std::string kYolov3UpToP5 = R"(nc: 80
depth_multiple: 1.0
width_multiple: 1.0
anchors:
  - [10, 13, 16, 30, 33, 23]       # P3
  - [30, 61, 62, 45, 59, 119]      # P4
  - [116, 90, 156, 198, 373, 326]  # P5

backbone:
  - [-1, 1, Conv, [32, 3, 1]]    # 0
  - [-1, 1, Conv, [64, 3, 2]]    # 1: 2
  - [-1, 1, Bottleneck, [64]]
  - [-1, 1, Conv, [128, 3, 2]]   # 3: 4
  - [-1, 2, Bottleneck, [128]]
  - [-1, 1, Conv, [256, 3, 2]]   # 5: 8
  - [-1, 8, Bottleneck, [256]]
  - [-1, 1, Conv, [512, 3, 2]]   # 7: 16
  - [-1, 8, Bottleneck, [512]]
  - [-1, 1, Conv, [1024, 3, 2]]  # 9: 32
  - [-1, 4, Bottleneck, [1024]]  # 10

head:
  - [-1, 1, Bottleneck, [1024, False]]  # 11
)";

const std::string kPlainRow = "  - [-1, 1, Conv, [512, 1, 1]]\n";
const std::string kSppRow = "  - [-1, 1, SPP, [512, [5, 9, 13]]]\n";

const std::string kYolov3FromP5 = R"(  - [-1, 1, Conv, [1024, 3, 1]]
  - [-1, 1, Conv, [512, 1, 1]]
  - [-1, 1, Conv, [1024, 3, 1]]  # 15: P5

  - [-2, 1, Conv, [256, 1, 1]]
  - [-1, 1, nn.Upsample, [None, 2, nearest]]
  - [[-1, 8], 1, Concat, [1]]  # 18: 16
  - [-1, 1, Bottleneck, [512, False]]
  - [-1, 1, Bottleneck, [512, False]]
  - [-1, 1, Conv, [256, 1, 1]]
  - [-1, 1, Conv, [512, 3, 1]]  # 22: P4

  - [-2, 1, Conv, [128, 1, 1]]
  - [-1, 1, nn.Upsample, [None, 2, nearest]]
  - [[-1, 6], 1, Concat, [1]]  # 25: 8
  - [-1, 1, Bottleneck, [256, False]]
  - [-1, 2, Bottleneck, [256, False]]  # 27: P3

  - [[27, 22, 15], 1, Detect, [nc, anchors]]
)";

const std::string kYolov3Tiny = R"(nc: 80
depth_multiple: 1.0
width_multiple: 1.0
anchors:
  - [10, 14, 23, 27, 37, 58]       # P4
  - [81, 82, 135, 169, 344, 319]   # P5

backbone:
  - [-1, 1, Conv, [16, 3, 1]]  # 0
  - [-1, 1, nn.MaxPool2d, [2, 2, 0]]  # 1: 2
  - [-1, 1, Conv, [32, 3, 1]]
  - [-1, 1, nn.MaxPool2d, [2, 2, 0]]  # 3: 4
  - [-1, 1, Conv, [64, 3, 1]]
  - [-1, 1, nn.MaxPool2d, [2, 2, 0]]  # 5: 8
  - [-1, 1, Conv, [128, 3, 1]]
  - [-1, 1, nn.MaxPool2d, [2, 2, 0]]  # 7: 16
  - [-1, 1, Conv, [256, 3, 1]]
  - [-1, 1, nn.MaxPool2d, [2, 2, 0]]  # 9: 32
  - [-1, 1, Conv, [512, 3, 1]]
  - [-1, 1, nn.ZeroPad2d, [[0, 1, 0, 1]]]
  - [-1, 1, nn.MaxPool2d, [2, 1, 0]]  # 12

head:
  - [-1, 1, Conv, [1024, 3, 1]]
  - [-1, 1, Conv, [256, 1, 1]]
  - [-1, 1, Conv, [512, 3, 1]]  # 15: P5

  - [-2, 1, Conv, [128, 1, 1]]
  - [-1, 1, nn.Upsample, [None, 2, nearest]]
  - [[-1, 8], 1, Concat, [1]]   # 18: 16
  - [-1, 1, Conv, [256, 3, 1]]  # 19: P4

  - [[19, 15], 1, Detect, [nc, anchors]]
)";

}  // namespace

const std::map<std::string, std::string>& ultralytics_models() {
  static const std::map<std::string, std::string> models = {
      {"yolov3", kYolov3UpToP5 + kPlainRow + kYolov3FromP5},
      {"yolov3-spp", kYolov3UpToP5 + kSppRow + kYolov3FromP5},
      {"yolov3-tiny", kYolov3Tiny}};
  return models;
}

}  // namespace sparsify::detection
