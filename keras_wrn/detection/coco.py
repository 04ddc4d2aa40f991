"""COCO: photos and boxes of a JSON file, and COCO's own metrics of detections.

Boxes are (left, top, width, height) in pixels, as in COCO's files; keras-cv calls this "xywh".
Classes are 0 to n - 1 in the order of COCO's category ids, which have gaps: 1 to 90 for 80
categories.
"""

import contextlib
import dataclasses
import hashlib
import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from keras_wrn.errors import InputError
from keras_wrn.training.fingerprint import split_of

PAD = -1.0  # keras-cv's padding of boxes and classes
FIGURES = ("mAP", "mAP50", "mAP75", "mAP_small", "mAP_medium", "mAP_large")  # pycocotools'
WHERE = (
    "COCO 2017 is published at https://cocodataset.org/#download: annotations_trainval2017.zip "
    "(253 MB; the annotations are CC BY 4.0), train2017.zip (118,287 photos, 19.3 GB) and "
    "val2017.zip (5,000 photos, 816 MB; the photos are under Flickr's terms of use, each with a "
    "licence of its own). Unpack them so that FOLDER/annotations/instances_train2017.json and "
    "FOLDER/train2017/ lie beside each other, and give --data_dir FOLDER."
)


@dataclasses.dataclass(frozen=True, eq=False)
class Photos:
    """The photos of a COCO JSON file with their boxes, all tuples in the same order.

    Attributes:
        annotations: the JSON file.
        paths: image files.
        image_ids: COCO's numbers of the photos.
        sizes: (height, width) in pixels.
        boxes: float32 (n, 4) each, (left, top, width, height) in pixels of the photo.
        classes: int64 (n,) each, 0 to classes - 1.
        category_ids: COCO's number of each class.
        class_names: the name of each class.
    """

    annotations: Path
    paths: tuple[Path, ...]
    image_ids: tuple[int, ...]
    sizes: tuple[tuple[int, int], ...]
    boxes: tuple[np.ndarray, ...]
    classes: tuple[np.ndarray, ...]
    category_ids: tuple[int, ...]
    class_names: tuple[str, ...]

    def __len__(self) -> int:
        """The number of photos."""
        return len(self.paths)

    def scales(self, size: int) -> np.ndarray:
        """The factor that fits each photo into a square of `size` pixels: float64 (n,)."""
        return np.array([size / max(sides) for sides in self.sizes])

    def targets(self, size: int) -> dict[str, np.ndarray]:
        """The true boxes on squares of `size` pixels, padded with -1 to the same number.

        "boxes" are float32 (photos, most, 4), "classes" float32 (photos, most).
        """
        most = max(1, *map(len, self.boxes))
        boxes = np.full((len(self), most, 4), PAD, np.float32)
        classes = np.full((len(self), most), PAD, np.float32)
        for i, scale in enumerate(self.scales(size)):
            count = len(self.boxes[i])
            boxes[i, :count] = self.boxes[i] * scale
            classes[i, :count] = self.classes[i]
        return {"boxes": boxes, "classes": classes}

    def fingerprint(self) -> dict[str, dict[str, Any]]:
        """Describe the photos, so that a run does not go on with others.

        For each class the number of "images" that show it and, as "content", a hash of their names
        and of its boxes on them.
        """
        shown: list[int] = []  # a label for each photo and each class on it
        hashes = [hashlib.sha256() for _ in self.class_names]
        for path, boxes, classes in zip(self.paths, self.boxes, self.classes, strict=True):
            for label in np.unique(classes):
                shown.append(label)
                hashes[label].update(os.fsencode(path.name) + boxes[classes == label].tobytes())
        return split_of(self.class_names, np.array(shown, np.int64), hashes)


def read(
    annotations: Path, images: Path, *, with_boxes: bool = False, limit: int | None = None
) -> Photos:
    """Read a COCO JSON file of instances and find its photos.

    Crowds (`iscrowd`, one box around many things) and boxes without an area are left out.
    `average_precision` reads the file again, and treats crowds as COCO does.

    Args:
        annotations: the JSON file.
        images: the folder of its photos.
        with_boxes: leave out photos without a box, for training: the loss of a batch is divided
            by its boxes. For measuring they count, because every detection on them is wrong.
        limit: maximum number of photos, the first of the file; None: no limit.

    Returns:
        Photos in the order of the file.

    Raises:
        InputError: a file or the folder is missing, or the JSON is not COCO's.

    Example:
        >>> home = Path("~/.keras/datasets/coco").expanduser()  # doctest: +SKIP
        >>> json_file = home / "annotations/instances_val2017.json"  # doctest: +SKIP
        >>> len(read(json_file, home / "val2017"))  # doctest: +SKIP
        5000
    """
    if not annotations.is_file():
        raise InputError(f"The COCO annotations {annotations} do not exist. {WHERE}")
    if not images.is_dir():
        raise InputError(f"The folder of photos {images} does not exist. {WHERE}")
    try:
        content = json.loads(annotations.read_text(encoding="utf-8"))
        categories = sorted((int(c["id"]), str(c["name"])) for c in content["categories"])
        class_of = {number: index for index, (number, _) in enumerate(categories)}
        found: dict[int, list[tuple[list[float], int]]] = {}
        for entry in content["annotations"]:
            box = [float(value) for value in entry["bbox"]]
            if not entry.get("iscrowd", 0) and box[2] > 0 and box[3] > 0:
                pairs = found.setdefault(int(entry["image_id"]), [])
                pairs.append((box, class_of[entry["category_id"]]))
        entries = [
            (int(e["id"]), str(e["file_name"]), (int(e["height"]), int(e["width"])))
            for e in content["images"]
            if not with_boxes or e["id"] in found
        ][:limit]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise InputError(
            f"{annotations} is damaged, or no COCO file of instances (images with id, file_name, "
            "height and width; annotations with image_id, category_id and bbox; categories with "
            f"id and name): {type(error).__name__} {error}."
        ) from error
    _check_found(annotations, images, [name for _, name, _ in entries], with_boxes)
    pairs_of = [found.get(number, []) for number, _, _ in entries]
    return Photos(
        annotations=annotations,
        paths=tuple(images / name for _, name, _ in entries),
        image_ids=tuple(number for number, _, _ in entries),
        sizes=tuple(sides for _, _, sides in entries),
        boxes=tuple(np.array([b for b, _ in some], np.float32).reshape(-1, 4) for some in pairs_of),
        classes=tuple(np.array([c for _, c in some], np.int64) for some in pairs_of),
        category_ids=tuple(number for number, _ in categories),
        class_names=tuple(name for _, name in categories),
    )


def _check_found(annotations: Path, images: Path, names: list[str], with_boxes: bool) -> None:
    if not names:
        what = "photo with a box" if with_boxes else "photo"
        raise InputError(f"{annotations} names no {what}. Give another file.")
    missing = [name for name in names if not (images / name).is_file()]
    if missing:
        raise InputError(
            f"{len(missing):,} of the {len(names):,} photos that {annotations} names are not in "
            f"{images}, the first of them {missing[0]}. {WHERE}"
        )


def average_precision(
    photos: Photos, detections: dict[str, np.ndarray], size: int
) -> dict[str, float | None]:
    """Measure detections with pycocotools against the JSON file, in pixels of the photos.

    Args:
        photos: the photos that were searched. Detections inside crowds do not count. A box of the
            file without `area` gets width times height; one without `iscrowd` is no crowd.
        detections: "boxes" (photos, n, 4) in pixels of squares of `size`, "classes" and
            "confidence" (photos, n), padded with -1.
        size: sides of the squares, in pixels.

    Returns:
        Fractions from 0 to 1, None where the file has no such box: "mAP" at IoU 0.5 to 0.95,
        "mAP50", "mAP75", "mAP_small" (below 32x32 pixels of the photo), "mAP_medium" and
        "mAP_large" (from 96x96).
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    content = json.loads(photos.annotations.read_text(encoding="utf-8"))
    # Numbered from 1, because pycocotools counts a box of number 0 as missed.
    content["annotations"] = [
        {"area": box["bbox"][2] * box["bbox"][3], "iscrowd": 0, **box, "id": number}
        for number, box in enumerate(content["annotations"], start=1)
    ]
    boxes = detections["boxes"] / photos.scales(size)[:, None, None]
    results = [
        {
            "image_id": photos.image_ids[i],
            "category_id": photos.category_ids[int(detections["classes"][i, k])],
            "bbox": boxes[i, k].tolist(),
            "score": float(detections["confidence"][i, k]),
        }
        for i, k in zip(*np.nonzero(detections["classes"] >= 0), strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress
        truth = COCO()
        truth.dataset = content
        truth.createIndex()
        # loadRes refuses an empty list. A detection of an unknown category counts as none.
        nothing = {"image_id": photos.image_ids[0], "category_id": -1, "bbox": [0, 0, 1, 1]}
        found = truth.loadRes(results or [{**nothing, "score": 0.0}])
        evaluation = COCOeval(truth, found, "bbox")
        evaluation.params.imgIds = list(photos.image_ids)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    stats = zip(FIGURES, evaluation.stats.tolist(), strict=False)
    return {name: None if value < 0 else value for name, value in stats}
