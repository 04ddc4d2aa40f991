"""COCO: a JSON file and its photos -> square images with boxes, and COCO's measure of boxes found.

Boxes are (left, top, width, height) in pixels throughout, as in COCO's files; keras-cv calls it
"xywh". Classes are 0 to n - 1 in the order of COCO's category ids, which have gaps: 1 to 90 for
80 categories.
"""

import contextlib
import dataclasses
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from keras_wrn.errors import InputError
from keras_wrn.preprocessing import preprocessing_of

PAD = -1.0  # keras-cv's mark of a row without a box, in boxes and classes alike
FIGURES = ("mAP", "mAP50", "mAP75", "mAP_small", "mAP_medium", "mAP_large")  # pycocotools'
WHERE = (
    "COCO 2017 is offered at https://cocodataset.org/#download: annotations_trainval2017.zip "
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
        """How many photos there are."""
        return len(self.paths)

    def scales(self, size: int) -> np.ndarray:
        """What the pixels of each photo are multiplied by to fit a square: float64 (n,)."""
        return np.array([size / max(sides) for sides in self.sizes])

    def targets(self, size: int) -> dict[str, np.ndarray]:
        """What is there on squares of `size` pixels, padded with -1 to the same number of boxes.

        "boxes" are float32 (photos, most, 4), "classes" float32 (photos, most).
        """
        most = max([len(of_photo) for of_photo in self.boxes] + [1])
        boxes = np.full((len(self), most, 4), PAD, np.float32)
        classes = np.full((len(self), most), PAD, np.float32)
        for i, scale in enumerate(self.scales(size)):
            count = len(self.boxes[i])
            boxes[i, :count] = self.boxes[i] * scale
            classes[i, :count] = self.classes[i]
        return {"boxes": boxes, "classes": classes}


def read(
    annotations: Path, images: Path, *, with_boxes: bool = False, limit: int | None = None
) -> Photos:
    """Read a COCO JSON file of instances and find its photos.

    Crowds (`iscrowd`, one box around many things) are left out, and so are boxes without an
    area; COCO's own measure, `average_precision`, knows what to do with crowds.

    Args:
        annotations: the JSON file.
        images: the folder of its photos.
        with_boxes: leave out photos without a box, as detectors are trained (a batch without any
            box has nothing to divide the loss by). They are kept for measuring, where whatever
            is found on them is wrong.
        limit: so many photos at most, the first in the file's order.

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
                here = found.setdefault(int(entry["image_id"]), [])
                here.append((box, class_of[entry["category_id"]]))
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
    boxes_of = [found.get(number, []) for number, _, _ in entries]
    return Photos(
        annotations=annotations,
        paths=tuple(images / name for _, name, _ in entries),
        image_ids=tuple(number for number, _, _ in entries),
        sizes=tuple(sides for _, _, sides in entries),
        boxes=tuple(np.array([b for b, _ in of], np.float32).reshape(-1, 4) for of in boxes_of),
        classes=tuple(np.array([c for _, c in of], np.int64) for of in boxes_of),
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


def letterbox(image: Any, size: int) -> Any:
    """Fit an image into a square of `size` pixels, its sides in proportion, at the top left.

    What is left over has the mean colour of ImageNet, which normalisation makes zero. Boxes are
    to be multiplied by size / max(height, width). Images are TensorFlow tensors, uint8
    (height, width, 3).
    """
    import tensorflow as tf

    sides = tf.cast(tf.shape(image)[:2], tf.float32)
    scaled = tf.round(sides * (size / tf.reduce_max(sides)))
    scaled = tf.clip_by_value(tf.cast(scaled, tf.int32), 1, size)
    colour = tf.constant(preprocessing_of("imagenet").mean)
    # Padding adds zeros: to the difference from the colour.
    image = tf.image.resize(image, scaled, antialias=True) - colour
    image = tf.image.pad_to_bounding_box(image, 0, 0, size, size) + colour
    return tf.cast(tf.round(tf.clip_by_value(image, 0.0, 255.0)), tf.uint8)


def read_image(path: Any) -> Any:
    """Decode an image file, uint8 (height, width, 3), as stored: COCO's boxes know no EXIF."""
    import tensorflow as tf

    return tf.io.decode_image(tf.io.read_file(path), channels=3, expand_animations=False)


def images_of(photos: Photos, size: int, batch_size: int) -> Any:
    """The photos in order, for `predict`: a tf.data.Dataset of uint8 (batch, size, size, 3)."""
    import tensorflow as tf

    def load(path: Any) -> Any:
        return tf.ensure_shape(letterbox(read_image(path), size), (size, size, 3))

    paths = tf.data.Dataset.from_tensor_slices([str(path) for path in photos.paths])
    return paths.map(load, num_parallel_calls=tf.data.AUTOTUNE).batch(batch_size).prefetch(2)


def training_batches(
    photos: Photos, size: int, batch_size: int, *, flip: bool, seed: int, start_step: int = 0
) -> Any:
    """Endless shuffled batches for `fit`, the same for the same seed at the same step.

    Args:
        photos: what to train on.
        size: sides of the images, in pixels.
        batch_size: images in each batch; one that passes the end of an epoch goes on in the next.
        flip: mirror half of the images, left to right.
        seed: of order and flips.
        start_step: how many batches to leave out at the start, to go on with an interrupted run.

    Returns:
        A tf.data.Dataset of (images, targets): uint8 (batch, size, size, 3), and "boxes",
        float32 (batch, most, 4), with "classes", float32 (batch, most), padded with -1.
    """
    import tensorflow as tf

    targets = photos.targets(size)
    paths = tf.constant([str(path) for path in photos.paths])
    boxes, classes = tf.constant(targets["boxes"]), tf.constant(targets["classes"])
    widths = tf.constant([width for _, width in photos.sizes] * photos.scales(size), tf.float32)

    def load(count: Any, i: Any) -> Any:
        image, of_image = read_image(paths[i]), boxes[i]
        if flip and tf.random.stateless_uniform((), (seed, count)) < 0.5:
            # Before the letterbox, so that the padding stays on the right.
            image = tf.image.flip_left_right(image)
            left, top, width, height = tf.unstack(of_image, axis=-1)
            mirrored = tf.stack([widths[i] - left - width, top, width, height], axis=-1)
            of_image = tf.where(classes[i][:, None] >= 0, mirrored, of_image)
        image = tf.ensure_shape(letterbox(image, size), (size, size, 3))
        return image, {"boxes": of_image, "classes": classes[i]}

    order = tf.data.Dataset.range(len(photos)).shuffle(len(photos), seed=seed).repeat()
    order = order.enumerate().skip(start_step * batch_size)
    loaded = order.map(load, num_parallel_calls=tf.data.AUTOTUNE)
    return loaded.batch(batch_size, drop_remainder=True).prefetch(2)


@contextlib.contextmanager
def name_the_damaged(*sets: Photos) -> Iterator[None]:
    """Raise an InputError with the photo that cannot be read; TensorFlow does not name it."""
    import tensorflow as tf

    try:
        yield
    except tf.errors.InvalidArgumentError:
        for path in (path for photos in sets for path in photos.paths):
            try:
                read_image(str(path))
            except tf.errors.InvalidArgumentError as error:
                raise InputError(f"{path} cannot be read as an image. Replace it.") from error
        raise


def average_precision(
    photos: Photos, detections: dict[str, np.ndarray], size: int
) -> dict[str, float | None]:
    """COCO's own figures: pycocotools on the JSON file, on the pixels of the photos.

    Args:
        photos: what was searched. All of it counts, but what is found in crowds. A box of the
            file without `area` has its sides' product, one without `iscrowd` is no crowd.
        detections: "boxes" (photos, n, 4) in pixels of squares of `size`, "classes" and
            "confidence" (photos, n), padded with -1.
        size: sides of the squares, in pixels.

    Returns:
        "mAP" at IoU 0.5 to 0.95, "mAP50", "mAP75", "mAP_small" (below 32x32 pixels of the
        photo), "mAP_medium" and "mAP_large" (from 96x96), fractions between 0 and 1; None where
        there is no such box.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    content = json.loads(photos.annotations.read_text(encoding="utf-8"))
    # Numbered anew: pycocotools takes a box of number 0 for missed, whatever was found.
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
    with contextlib.redirect_stdout(io.StringIO()):  # it prints what it is doing
        truth = COCO()
        truth.dataset = content
        truth.createIndex()
        # loadRes cannot take an empty list: a detection of no category says the same.
        nothing = {"image_id": photos.image_ids[0], "category_id": -1, "bbox": [0, 0, 1, 1]}
        found = truth.loadRes(results or [{**nothing, "score": 0.0}])
        evaluation = COCOeval(truth, found, "bbox")
        evaluation.params.imgIds = list(photos.image_ids)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    stats = zip(FIGURES, evaluation.stats.tolist(), strict=False)
    return {name: None if value < 0 else value for name, value in stats}
