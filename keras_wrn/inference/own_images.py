"""The images that a trained network is measured on, read as its card says.

The size, the resizing and its interpolation are those that the network was trained with, so that
evaluation, publishing and calibration see the pixels that training saw.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_wrn import datasets
from keras_wrn.datasets import loading
from keras_wrn.errors import InputError
from keras_wrn.system.backend import tensorflow_installed

if TYPE_CHECKING:
    from keras_wrn.images.preprocessing import Preprocessing
    from keras_wrn.inference.trained import Trained

PREFIX = "tfds:"  # of data sets that tensorflow_datasets has prepared


def images_of(
    trained: Trained,
    split: str,
    *,
    dataset: str | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    most: int | None = None,
) -> loading.Dataset:
    """Load one split of a data set for a trained network.

    Args:
        trained: the network.
        split: "train" or "test".
        dataset: another data set than its own, as `datasets.load` takes it, or "tfds:NAME".
        data_dir: where the data set is.
        most: at most so many images, out of all classes; None for all.

    Returns:
        The data set; the other split has no images.

    Raises:
        InputError: it is not there, or cannot be read so.

    Example:
        >>> run = keras_wrn.load_trained("saved_models/wrn-16-1-digits")  # doctest: +SKIP
        >>> len(images_of(run, "test").test.labels)  # doctest: +SKIP
        360
    """
    name, preprocessing = dataset or own_dataset(trained.card), trained.preprocessing
    if name.startswith(PREFIX):
        return _prepared(name, data_dir, preprocessing, split, most)
    return datasets.load(
        name,
        data_dir,
        size=preprocessing.size,
        resize=preprocessing.resize,
        interpolation=preprocessing.interpolation,
        split=split,
        most=most,
    )


def own_dataset(card: dict[str, Any]) -> str:
    """The data set that a network was trained on, as training was given it."""
    recipe = card.get("recipe")
    given = recipe.get("dataset") if isinstance(recipe, dict) else None
    return given or card["dataset"]


def check_classes(data: loading.Dataset, trained: Trained) -> None:
    """Raise InputError where a data set has other classes than a network.

    ImageNet's owners' weights come without names; their labels are in the order of the sorted
    WordNet ids, which the class folders are called by.
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
    preprocessing: Preprocessing,
    split: str,
    most: int | None,
) -> loading.Dataset:
    """Read a data set of tensorflow_datasets as `image_stream` does."""
    if not tensorflow_installed():
        raise InputError(f"{name} is read with TensorFlow. Run: pip install tensorflow-cpu")
    import tensorflow as tf

    from keras_wrn.datasets import streams
    from keras_wrn.images import tensorflow_reader

    size, resize = preprocessing.size, preprocessing.resize
    if preprocessing.interpolation != tensorflow_reader.INTERPOLATION:
        raise InputError(
            f"{name} is resized by {tensorflow_reader.INTERPOLATION} interpolation only. The "
            f"network needs {preprocessing.interpolation}; give its images as a folder (--dataset)."
        )
    source = streams.open_source(name, None if data_dir is None else str(data_dir), 0)

    def image(element: Any) -> tuple[Any, Any]:
        data, label, _ = source.read(element)
        return tensorflow_reader.test_image(data, size, resize), label

    # An epoch comes in a random order, the same each time.
    elements = source.test() if split == "test" else source.epoch(0, 0)
    count = source.test_images if split == "test" else source.images
    count = count if most is None else min(most, count)
    images, labels = np.empty((count, size, size, 3), np.uint8), np.empty(count, np.int64)
    pairs = elements.take(count).map(image, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    for place, (pixels, label) in enumerate(pairs.as_numpy_iterator()):
        images[place], labels[place] = pixels, label
    nothing = loading.Images(images[:0], labels[:0])
    read = loading.Images(images, labels)
    parts = {"train": nothing, "test": nothing, split: read}
    return loading.Dataset(source.name, class_names=source.class_names, **parts)
