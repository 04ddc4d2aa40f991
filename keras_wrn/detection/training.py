"""Train a RetinaNet on a Wide ResNet's features, on COCO; see recipes/coco.py."""

import dataclasses
import sys
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

from absl import logging

from keras_wrn.detection import coco
from keras_wrn.detection.photos import images_of, training_batches
from keras_wrn.detection.pictures import draw_detections
from keras_wrn.errors import InputError
from keras_wrn.images.tensorflow_reader import broken_images_named
from keras_wrn.networks.recognition import count_parameters
from keras_wrn.system import machine
from keras_wrn.system.files import read_json, write_json, write_whole
from keras_wrn.training import run_folder
from keras_wrn.training.recipe import option
from keras_wrn.weights.card import CARD_FILE

COLUMNS = ("epoch", "step", "loss", "box_loss", "classification_loss", "mAP", "mAP50", "seconds")
DROPS = (2 / 3, 8 / 9)  # of the run, where the rate is divided by 10: 60k and 80k of 90k steps
DETECTOR_FILE = "detector.keras"
DRAWN = 8  # photos in detections.png
FILES = {  # in data_dir, unless they are given
    "annotations": "annotations/instances_train2017.json",
    "images": "train2017",
    "val_annotations": "annotations/instances_val2017.json",
    "val_images": "val2017",
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """All options of a run; each field is a flag of the command line.

    Raises:
        InputError: a number is out of range. The network and the files are checked in `train`.
    """

    data_dir: str = option("~/.keras/datasets/coco", "annotations/, train2017/ and val2017/")
    annotations: str = option("", "COCO JSON to train on; default instances_train2017.json")
    images: str = option("", "folder of its photos")
    val_annotations: str = option("", "COCO JSON to measure on; default instances_val2017.json")
    val_images: str = option("", "folder of its photos")
    limit: int = option(0, "maximum training photos, the first with boxes; 0: no limit")
    val_limit: int = option(0, "maximum photos to measure on; 0: no limit")
    depth: int = option(34, "18 or 34, or with width 2 also 50 or 101")
    width: float = option(2.0, "widening factor")
    weights: str = option("", "of the features: 'imagenet' for depth 50 and 101, or a path")
    image_size: int = option(512, "pixels, a multiple of 32; photos keep their proportions")
    anchor_size: float = option(0.0, "pixels of the smallest anchor; 0: 32, or 16 to 256 pixels")
    epochs: int = option(12, "passes over the training photos")
    batch_size: int = option(16, "photos per step")
    learning_rate: float = option(1e-4, "of Adam")
    flip: bool = option(True, "mirror half of the photos")
    evaluate_every: int = option(1, "epochs between measurements of mAP")
    seed: int = option(1, "of weights, order and flips")

    def __post_init__(self) -> None:
        """Check the ranges."""
        above_0 = ("epochs", "batch_size", "learning_rate", "evaluate_every")
        for name in (*above_0, "limit", "val_limit", "anchor_size"):
            value, bound = getattr(self, name), "above 0" if name in above_0 else "0 or above"
            if not 0 <= value < float("inf") or (value == 0 and name in above_0):
                raise InputError(f"`{name}` must be {bound}. Received: {name}={value}")
        if not 0 <= self.seed < 2**32:
            raise InputError(f"`seed` must be 0 or more and below 2**32. Received: {self.seed}")


def train(settings: Settings, workdir: Path) -> dict[str, Any]:
    """Train a detector, and leave the stored detector, its metrics and its card in a folder.

    The same call resumes a stopped run at its step.

    Args:
        settings: what to train, on what.
        workdir: the run folder; it is made.

    Returns:
        The card, as in card.json.

    Raises:
        InputError: the data cannot be read, or the folder holds another run or one on other data.
        Interrupted: SIGTERM or Ctrl-C came; the state is saved.
    """
    import keras

    from keras_wrn.detection import retinanet
    from keras_wrn.training.workers import cluster

    if cluster() is not None:
        raise InputError("A detector trains on one machine. Run it without TF_CONFIG.")
    ours, defaults = dataclasses.asdict(settings), dataclasses.asdict(Settings())
    run_folder.check_run(workdir, ours, defaults)
    if (workdir / CARD_FILE).exists():
        logging.info("the run in %s is finished", workdir)
        return read_json(workdir / CARD_FILE)
    photos, held_out = _photos(settings)
    keras.utils.set_random_seed(settings.seed)
    detector = retinanet.build_detector(
        len(photos.class_names),
        depth=settings.depth,
        width=settings.width,
        image_size=settings.image_size,
        anchor_size=settings.anchor_size or None,
        weights=settings.weights or None,
    )
    steps = max(1, len(photos) // settings.batch_size)
    boundaries = [round(share * steps * settings.epochs) for share in DROPS]
    rates = [settings.learning_rate * factor for factor in (1, 0.1, 0.01)]
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, rates)
    retinanet.compile_detector(detector, schedule)
    data = {"train": photos.fingerprint(), "test": held_out.fingerprint()}
    with run_folder.open_run(workdir, ours, defaults, data), broken_images_named():
        keeper = _fit(detector, settings, workdir, photos, held_out, steps)
        return _finish(detector, settings, keeper, photos, held_out)


def _fit(
    detector: Any,
    settings: Settings,
    workdir: Path,
    photos: coco.Photos,
    held_out: coco.Photos,
    steps: int,
) -> Any:
    """Run the remaining epochs; returns the `RunKeeper` of the run."""
    import keras

    from keras_wrn.detection import retinanet
    from keras_wrn.training import run_keeper

    keeper = run_keeper.RunKeeper(workdir, settings, steps, columns=COLUMNS)
    keeper.restore(detector)

    size = settings.image_size
    batches = partial(training_batches, photos, size, settings.batch_size, flip=settings.flip)

    def measure(epoch: int, logs: dict[str, Any]) -> None:
        if (epoch + 1) % settings.evaluate_every == 0 and epoch + 1 < settings.epochs:
            found = _find(detector, held_out, settings)
            logs.update(retinanet.box_coco_metrics(held_out.targets(size), found))

    keeper.catch_signals()
    try:
        for first, last, each in keeper.stretches():
            detector.fit(
                batches(seed=settings.seed, start_step=keeper.step),
                initial_epoch=first,
                epochs=last,
                steps_per_epoch=each,
                shuffle=False,  # the batches are shuffled
                callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=measure), keeper],
                verbose="auto" if sys.stdout.isatty() else 2,
            )
    finally:
        keeper.release_signals()
    return keeper


def _finish(
    detector: Any, settings: Settings, keeper: Any, photos: coco.Photos, held_out: coco.Photos
) -> dict[str, Any]:
    """Store the detector, measure and draw what the stored file finds, and write the card last."""
    from keras_wrn.detection import retinanet

    size, workdir = settings.image_size, keeper.workdir
    plain = detector.from_config(detector.get_config())  # without Adam's state, twice as large
    plain.set_weights(detector.get_weights())
    write_whole(workdir / DETECTOR_FILE, plain.save)
    found = _find(retinanet.load_detector(workdir / DETECTOR_FILE), held_out, settings)
    truth = held_out.targets(size)
    card = {
        "format": 1,
        "name": f"RetinaNet on WRN-{settings.depth}-{settings.width:g}",
        "metrics": {
            "n": len(held_out),
            "photos": "those it was trained on" if held_out is photos else "held out",
            "box_coco_metrics": retinanet.box_coco_metrics(truth, found),
            "pycocotools": coco.average_precision(held_out, found, size),
        },
        "class_names": list(held_out.class_names),
        "category_ids": list(held_out.category_ids),
        "training_photos": len(photos),
        "parameters": count_parameters(detector),
        "recipe": dataclasses.asdict(settings),
        "steps": keeper.step,
        "hours": round(keeper.seconds / 3600, 3),
        "versions": {**machine.versions(), "keras-cv": metadata.version("keras-cv")},
        "hardware": machine.hardware(),
    }
    shown = next(iter(images_of(held_out, size, DRAWN))).numpy()
    picture = workdir / "detections.png"
    draw_detections(shown, found, held_out.class_names, picture, truth=truth)
    write_json(workdir / CARD_FILE, card)
    run_folder.forget_state(workdir)
    return card


def _find(detector: Any, photos: coco.Photos, settings: Settings) -> Any:
    return detector.predict(images_of(photos, settings.image_size, settings.batch_size), verbose=0)


def _photos(settings: Settings) -> tuple[coco.Photos, coco.Photos]:
    """Photos to train on and to measure on: the same object if the files are the same."""
    annotations, images, val_annotations, val_images = (
        Path(getattr(settings, name) or Path(settings.data_dir, default)).expanduser()
        for name, default in FILES.items()
    )
    photos = coco.read(annotations, images, with_boxes=True, limit=settings.limit or None)
    if val_annotations == annotations:
        if settings.val_limit or (settings.val_images and val_images != images):
            raise InputError(
                f"{annotations} is given to train on and to measure on, so the training photos are "
                "measured: leave `val_limit` and `val_images` out. Received: "
                f"val_limit={settings.val_limit}, val_images={settings.val_images!r}."
            )
        return photos, photos
    held_out = coco.read(val_annotations, val_images, limit=settings.val_limit or None)
    if held_out.category_ids != photos.category_ids or held_out.class_names != photos.class_names:
        raise InputError(f"{annotations} and {val_annotations} must have the same categories.")
    return photos, held_out


def export(workdir: Path, directory: Path) -> None:
    """Write the detector of a finished run as a SavedModel; see `retinanet.export_detector`.

    Args:
        workdir: the run folder.
        directory: the folder of the served model.
    """
    from keras_wrn.detection.retinanet import export_detector, load_detector

    names = read_json(workdir / CARD_FILE)["class_names"]
    export_detector(load_detector(workdir / DETECTOR_FILE), directory, names)
