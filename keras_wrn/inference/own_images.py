"""Load images for a trained network, with the size and resizing that its card states.

So evaluation, publishing and calibration use the same pixels as training.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import PureWindowsPath
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_wrn import datasets
from keras_wrn.datasets import loading, streams
from keras_wrn.errors import InputError
from keras_wrn.inference.classifier import file_shape
from keras_wrn.system.backend import tensorflow_installed

if TYPE_CHECKING:
    from keras_wrn.inference.trained import Trained


def images_of(
    trained: Trained,
    split: str,
    *,
    dataset: str | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    most: int | None = None,
    extra: bool = False,
) -> loading.Dataset:
    """Load one split of a data set for a trained network.

    Args:
        trained: the network.
        split: "train" or "test".
        dataset: a name or folder as `datasets.load` takes it, or "tfds:NAME" for a data set that
            tensorflow_datasets has prepared; default: the data set that the network was trained on.
            A folder of another name without train/ and test/ is taken as a whole.
        data_dir: the folder of the data set.
        most: maximum number of images, from all classes; None: no limit.
        extra: add SVHN's extra training images.

    Returns:
        The data set, images uint8 (n, height, width, channels) as the network takes them; the
        other split has no images.

    Raises:
        InputError: the data set is missing, damaged, or has other images than the network takes.

    Example:
        >>> run = keras_wrn.load_trained("saved_models/wrn-16-1-digits")  # doctest: +SKIP
        >>> len(images_of(run, "test").test.labels)  # doctest: +SKIP
        360
    """
    name, preprocessing = dataset or own_dataset(trained.card), trained.preprocessing
    if name.startswith(streams.PREFIX):
        return _prepared(name, data_dir, trained, split, most)
    (height, width, channels), resize = file_shape(trained.model, preprocessing)
    data = datasets.load(
        name,
        data_dir,
        extra=extra,
        size=(height, width),
        channels=channels,
        resize=resize,
        interpolation=preprocessing.interpolation,
        split=split,
        most=most,
        hold_out=_last(name) == _last(_known_dataset(trained.card) or ""),
    )
    return _in_order(data, preprocessing.class_names)


def _last(place: str) -> str:
    """The last part of a path, of this system or of Windows."""
    return PureWindowsPath(place).name


def own_dataset(card: dict[str, Any]) -> str:
    """The data set that a network was trained on: a name or a folder."""
    if not (name := _known_dataset(card)):
        raise InputError(
            "It is not known on which data set this network was trained. Name a test set, or a "
            "folder of class sub-folders: --dataset."
        )
    return name


def _known_dataset(card: dict[str, Any]) -> str | None:
    recipe = card.get("recipe")
    given = recipe.get("dataset") if isinstance(recipe, dict) else None
    return given or card["dataset"]


def _in_order(data: loading.Dataset, names: tuple[str, ...]) -> loading.Dataset:
    """Number the classes as a network does that has the same ones in another order."""
    if data.class_names == names or sorted(data.class_names) != sorted(names):
        return data
    numbers = np.array([names.index(name) for name in data.class_names])
    train, test = (loading.Images(part.images, numbers[part.labels]) for part in data)
    return dataclasses.replace(data, train=train, test=test, class_names=names)


def check_classes(data: loading.Dataset, trained: Trained) -> None:
    """Raise InputError if a data set has other classes than a network.

    Weights for ImageNet have no class names, so only the number of classes is compared. Their
    labels are in the order of the WordNet ids, which are the names of ImageNet's class folders.
    """
    names, count = trained.preprocessing.class_names, trained.model.output_shape[-1]
    if data.class_names == names or (not names and len(data.class_names) == count):
        return
    raise InputError(
        f"The model must have the classes of the data set. Received: {data.name} with "
        f"{_shown(data.class_names, len(data.class_names))} for a model with "
        f"{_shown(names, count)}."
    )


def _shown(names: tuple[str, ...], count: int) -> str:
    first = f" ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})" if names else ""
    return f"{count} classes{first}"


def _prepared(
    name: str,
    data_dir: str | os.PathLike[str] | None,
    trained: Trained,
    split: str,
    most: int | None,
) -> loading.Dataset:
    """Read a data set of tensorflow_datasets, as the streaming feed of training does."""
    if not tensorflow_installed():
        raise InputError(f"{name} is read with TensorFlow. Run: pip install tensorflow-cpu")
    import tensorflow as tf

    from keras_wrn.images.tensorflow_reader import broken_images_named, test_image

    shape, resize = file_shape(trained.model, trained.preprocessing)
    interpolation = trained.preprocessing.interpolation
    source = streams.open_source(name, None if data_dir is None else str(data_dir))

    def image(element: Any) -> tuple[Any, Any]:
        data, label, place = source.read(element)
        pixels = test_image(data, shape, resize=resize, interpolation=interpolation, source=place)
        return pixels, label

    # Records are in random order, an epoch's the same each time: the first are of all classes.
    elements = source.test() if split == "test" else source.epoch(0, 0)
    count = source.test_images if split == "test" else source.images
    count = count if most is None else min(most, count)
    images, labels = np.empty((count, *shape), np.uint8), np.empty(count, np.int64)
    pairs = elements.take(count).map(image, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    with broken_images_named():
        for position, (pixels, label) in enumerate(pairs.as_numpy_iterator()):
            images[position], labels[position] = pixels, label
    data = loading.Images(images, labels)
    parts = {"train": loading.at_most(data, 0), "test": loading.at_most(data, 0), split: data}
    return loading.Dataset(source.name, class_names=source.class_names, **parts)
