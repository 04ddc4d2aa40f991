"""What a run learns from and is measured on: images in memory, or read as they are needed."""

from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np

from keras_wrn import datasets
from keras_wrn.datasets import folders, loading
from keras_wrn.errors import InputError
from keras_wrn.images.preprocessing import (
    Preprocessing,
    measure_preprocessing,
    preprocess_input,
    preprocessing_of,
)
from keras_wrn.inference.evaluation import evaluate
from keras_wrn.training.batches import BatchStream, InOrder, even_batch, untuned
from keras_wrn.training.recipe import Recipe

EVALUATION_BATCH = 500  # images; any size gives the same numbers
LOOKED_AT = 1000  # test images for pictures of what the network says


class Feed(Protocol):
    """Where a run's images come from.

    Attributes:
        dataset: the name of the data set.
        preprocessing: its statistics and classes.
        images: the number of training images.
        shape: (height, width, 3) of a training image.
        test: test images as stored, uint8, and their labels, at most 1,000, to look at.
    """

    dataset: str
    preprocessing: Preprocessing
    images: int
    shape: tuple[int, int, int]
    test: tuple[np.ndarray, np.ndarray]

    def stream(self, start_step: int) -> Any:
        """Training batches without end, from a step on: a pure function of seed and step."""

    def validation(self, replicas: int) -> dict[str, Any]:
        """The arguments of `fit` that say what it is validated on."""

    def measure(self, network: keras.Model) -> dict[str, Any]:
        """`evaluation.evaluate` of a network, ending in a softmax, on the whole test set."""


def open_feed(recipe: Recipe, data_dir: str | Path | None) -> Feed:
    """Find a recipe's data; raises InputError where they are not to be had."""
    if recipe.random_resized_crop:
        from keras_wrn.training.imagenet_feed import ImageStream

        return ImageStream(recipe, data_dir)
    return InMemory(recipe, data_dir)


class InMemory:
    """A data set held in memory as uint8, or whitened as float32.

    The attributes and methods are those of `Feed`.
    """

    def __init__(self, recipe: Recipe, data_dir: str | Path | None) -> None:
        data = datasets.load(recipe.dataset, data_dir, extra=recipe.extra, size=recipe.image_size)
        self.recipe = recipe
        self.dataset = recipe.dataset
        train, test = data.train, data.test
        if recipe.held_out:
            train, test = _apart(train, recipe.held_out)
        self._train = self._some(train, recipe.train_images)
        self._test = test
        self.images = len(self._train[0])
        self.shape = self._train[0].shape[1:]
        self.test = self._some(test, LOOKED_AT)
        self.preprocessing = self._preprocessing(data.class_names)
        self._seen = (self._as_seen(self._train[0]), self._as_seen(self._test[0]))

    def _some(self, images: loading.Images, most: int) -> tuple[np.ndarray, np.ndarray]:
        """So many images and their labels; all for 0.

        The first, as the sets come in a random order; but a folder's are sorted by class.
        """
        count = len(images.labels)
        if not 0 < most < count:
            return images.images, images.labels
        if self.dataset in loading.NAMES:
            return images.images[:most], images.labels[:most]
        chosen = folders.spread(count, most)
        return images.images[chosen], images.labels[chosen]

    def _preprocessing(self, class_names: tuple[str, ...]) -> Preprocessing:
        if self.recipe.whitening:
            from keras_wrn.images.preprocessing import whitening_preprocessing

            return whitening_preprocessing(self._train[0], class_names)
        if self.dataset in loading.NAMES:
            return preprocessing_of(self.dataset)
        return measure_preprocessing(self._train[0], class_names)

    def _as_seen(self, images: np.ndarray) -> np.ndarray:
        """The images that are cropped and flipped: whitened ones once for the whole run.

        The paper whitens the data set before anything else is done to it.
        """
        if not self.recipe.whitening:
            return images
        return preprocess_input(images, self.preprocessing)

    def stream(self, start_step: int) -> BatchStream:
        """See `Feed`."""
        return BatchStream(
            self._seen[0],
            self._train[1],
            self.recipe,
            classes=len(self.preprocessing.class_names),
            start_step=start_step,
        )

    def validation(self, replicas: int) -> dict[str, Any]:
        """See `Feed`."""
        batch_size = even_batch(len(self._test[0]), replicas, EVALUATION_BATCH)
        return {"validation_data": untuned(InOrder(self._seen[1], self._test[1], batch_size))}

    def measure(self, network: keras.Model) -> dict[str, Any]:
        """See `Feed`."""
        return evaluate(network, *self._test, self.preprocessing)


def _apart(images: loading.Images, count: int) -> tuple[loading.Images, loading.Images]:
    """All but `count` of the images, and those, always the same ones."""
    if count >= len(images.labels):
        raise InputError(
            f"`held_out` must be below the number of training images, {len(images.labels)}. "
            f"Received: held_out={count}."
        )
    order = np.random.default_rng(0).permutation(len(images.labels))
    kept, held = np.sort(order[count:]), np.sort(order[:count])
    return (
        loading.Images(images.images[kept], images.labels[kept]),
        loading.Images(images.images[held], images.labels[held]),
    )
