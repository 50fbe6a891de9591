#!/usr/bin/env python3
"""Prints the numbers that tests/detection/test_average_precision.cpp expects, made by COCO's own evaluation.

  pip install pycocotools numpy
  tests/accuracy/average_precision_cases.py

The random cases are drawn in integers, so that both languages draw the same. Precision, recall and F1
are those at the confidence of the best mean F1, by the formula of Ultralytics' ap_per_class, over COCO's
matches at IoU 0.5."""
import contextlib
import io

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

# seed, images, classes, objects at most, detections, jitter, score levels, max_det
CASES = [(1, 40, 3, 6, 12, 6, 1 << 20, 300),
         (2, 60, 5, 8, 20, 4, 8, 300),
         (3, 12, 2, 30, 260, 3, 1 << 20, 100),
         (4, 12, 2, 30, 260, 3, 64, 300),
         (5, 25, 8, 4, 6, 1, 1024, 300)]


class Generator:
    def __init__(self, seed):
        self.state = seed

    def pick(self, n):
        self.state = (self.state * 1103515245 + 12345) & 0x7FFFFFFF
        return (self.state >> 8) % n

    def box(self):
        return [self.pick(400), self.pick(400), 8 + self.pick(80), 8 + self.pick(80)]

    def near(self, box, jitter):
        return [max(1 if i > 1 else 0, side + self.pick(2 * jitter + 1) - jitter) for i, side in enumerate(box)]


def draw(seed, images, classes, most_objects, detections, jitter, levels):
    """Objects and detections as COCO writes them. Nothing finds class 0; nothing is of the last class."""
    generator = Generator(seed)
    objects, found = [], []
    for image in range(images):
        boxes = []
        for _ in range(generator.pick(most_objects + 1)):
            label = generator.pick(classes)
            boxes.append((label, generator.box()))
        objects += [(image, label, box) for label, box in boxes]
        for _ in range(detections):
            if boxes and generator.pick(4) > 0:
                label, box = boxes[generator.pick(len(boxes))]
                box = generator.near(box, jitter)
                label = label if label > 0 else 1
            else:
                label, box = 1 + generator.pick(classes), generator.box()
            found.append((image, label, box, (1 + generator.pick(levels)) / levels))
    return objects, found


def evaluate(objects, found, images, classes, max_det):
    truth = COCO()
    truth.dataset = {
        "images": [{"id": i} for i in range(images)],
        "categories": [{"id": i} for i in range(classes + 1)],
        "annotations": [{"id": i + 1, "image_id": image, "category_id": label, "bbox": box,
                         "area": box[2] * box[3], "iscrowd": 0} for i, (image, label, box) in enumerate(objects)]}
    truth.createIndex()
    results = truth.loadRes([{"image_id": image, "category_id": label, "bbox": box, "score": score}
                             for image, label, box, score in found])
    evaluation = COCOeval(truth, results, "bbox")
    evaluation.params.maxDets = [1, 10, max_det]
    evaluation.evaluate()
    evaluation.accumulate()
    return evaluation


def at_best_f1(evaluation, objects, images):
    x = np.linspace(0, 1, 1000)
    present = sorted({label for _, label, _ in objects})
    precision, recall = np.zeros((len(present), 1000)), np.zeros((len(present), 1000))
    areas = len(evaluation.params.areaRng)
    for row, label in enumerate(present):
        per_image = evaluation.evalImgs[label * areas * images:label * areas * images + images]
        per_image = [each for each in per_image if each is not None]
        scores = np.concatenate([each["dtScores"] for each in per_image])
        if len(scores) == 0:
            continue
        order = np.argsort(-scores, kind="mergesort")
        hits = np.concatenate([each["dtMatches"][0] > 0 for each in per_image])[order]
        count = sum(1 for _, other, _ in objects if other == label)
        reached = np.cumsum(hits)
        recall[row] = np.interp(-x, -scores[order], reached / count, left=0)
        precision[row] = np.interp(-x, -scores[order], reached / np.arange(1, len(hits) + 1), left=1)
    f1 = 2 * precision * recall / (precision + recall + 1e-16)
    padded = np.pad(f1.mean(0), 50, mode="edge")
    best = np.convolve(padded, np.ones(101) / 101, mode="valid").argmax()
    return precision[:, best].mean(), recall[:, best].mean(), f1[:, best].mean(), x[best]


for case in CASES:
    with contextlib.redirect_stdout(io.StringIO()):
        objects, found = draw(*case[:7])
        evaluation = evaluate(objects, found, case[1], case[2], case[7])
    curves = evaluation.eval["precision"][:, :, :, 0, -1]
    means = [part[part > -1].mean() for part in (curves[0], curves)]
    means += at_best_f1(evaluation, objects, case[1])
    numbers = ", ".join(f"{value:.12f}" for value in means)
    print(f"{{{', '.join(map(str, case))}, {len(found)}, {numbers}}},")
