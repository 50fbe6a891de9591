#!/usr/bin/env python3
"""Compares the mAP of `sparsify validate` with that of COCO's own evaluation on the same detections.

  sparsify validate RUN --save-json found.json --json result.json
  pip install pycocotools numpy
  tests/accuracy/coco_agreement.py found_ground_truth.json found.json result.json

Exit code 1 when mAP@0.5 or mAP@0.5:0.95 differ by more than 0.001. found_ground_truth.json holds the
objects as they were judged. With a COCO set's own annotations in its place, detections in crowds are
ignored, where sparsify counts them as wrong, and boxes that it clips or leaves out are as they were: the
numbers then differ by that.

sparsify keeps 300 detections of an image, so maxDets is 300 here; COCO's own summary has 100 a class. Images
are taken in the order of their ids here, in the data's order there, which matters only between equal
scores."""
import contextlib
import io
import json
import sys

from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

MAX_DET = 300
TOLERANCE = 0.001


def coco_map(annotations, results):
    """mAP at IoU 0.5, and the mean over 0.5 to 0.95: over all areas and the classes that have objects."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(annotations)
        with open(results) as file:
            found = json.load(file)
        if not found:  # loadRes takes no empty list
            return 0.0, 0.0
        evaluation = COCOeval(truth, truth.loadRes(found), "bbox")
        evaluation.params.maxDets = [1, 10, MAX_DET]
        evaluation.evaluate()
        evaluation.accumulate()
    curves = evaluation.eval["precision"][:, :, :, 0, -1]
    return tuple(float(part[part > -1].mean()) if (part > -1).any() else 0.0 for part in (curves[0], curves))


def main():
    if len(sys.argv) != 4:
        sys.exit("usage: coco_agreement.py ANNOTATIONS.json RESULTS.json VALIDATED.json")
    with open(sys.argv[3]) as file:
        ours = json.load(file)
    agree = True
    for name, key, coco in zip(("mAP@0.5", "mAP@0.5:0.95"), ("map50", "map"), coco_map(*sys.argv[1:3])):
        print(f"{name}: sparsify {ours[key]:.5f}, COCO {coco:.5f}, difference {ours[key] - coco:+.5f}")
        agree = agree and abs(ours[key] - coco) <= TOLERANCE
    sys.exit(0 if agree else 1)


if __name__ == "__main__":
    main()
