"""A run's data: held in memory, or streamed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import keras
import numpy as np

from keras_wrn import datasets
from keras_wrn.datasets import loading
from keras_wrn.datasets.images import at_most
from keras_wrn.errors import InputError
from keras_wrn.images.preprocessing import (
    Preprocessing,
    measure_preprocessing,
    preprocess_input,
    preprocessing_of,
)
from keras_wrn.inference.evaluation import evaluate
from keras_wrn.training.batches import BatchStream, InOrder, even_batch, untuned
from keras_wrn.training.fingerprint import fingerprint_images
from keras_wrn.training.recipe import Recipe

if TYPE_CHECKING:
    from keras_wrn.training.imagenet_feed import ImageStream

Feed: TypeAlias = "InMemory | ImageStream"
EVALUATION_BATCH = 500  # images; any size gives the same numbers
LOOKED_AT = 1000  # test images for the picture of predictions


def open_feed(recipe: Recipe, data_dir: str | Path | None) -> Feed:
    """Open a recipe's data; raises InputError if they are missing or damaged."""
    if recipe.random_resized_crop:
        from keras_wrn.training.imagenet_feed import ImageStream

        return ImageStream(recipe, data_dir)
    return InMemory(recipe, data_dir)


class InMemory:
    """Images held in memory, as uint8 or, whitened, as float32.

    Args:
        recipe: data set, image size, batch size, seed and augmentation.
        data_dir: folder of the data set; default ~/.keras/datasets.

    Attributes:
        dataset: the name of the data set.
        preprocessing: its statistics and classes.
        images: the number of training images.
        shape: (height, width, 3) of a training image.
        test: up to 1,000 test images as stored, uint8, and their labels, for pictures.
        fingerprint: what `fingerprint.changes` compares, of the whole data set.

    Raises:
        InputError: the data are missing or damaged, or `held_out` leaves no training image.
    """

    def __init__(self, recipe: Recipe, data_dir: str | Path | None) -> None:
        data = datasets.load(recipe.dataset, data_dir, extra=recipe.extra, size=recipe.image_size)
        self.recipe = recipe
        self.dataset = recipe.dataset
        train, test = data.train, data.test
        self.fingerprint = {
            "train": fingerprint_images(data.class_names, train),
            "test": fingerprint_images(data.class_names, test),
        }
        if recipe.held_out:
            train, test = hold_out(train, recipe.held_out)
        self._train = at_most(train, recipe.train_images or None)
        self._test = test
        self.images = len(self._train[0])
        self.shape = self._train[0].shape[1:]
        self.test = at_most(test, LOOKED_AT)
        self.preprocessing = self._statistics(data.class_names)
        self._inputs = (self._whitened(self._train[0]), self._whitened(self._test[0]))

    def _statistics(self, class_names: tuple[str, ...]) -> Preprocessing:
        whitening = self.recipe.whitening
        if self.dataset in loading.NAMES and not whitening:
            return preprocessing_of(self.dataset)
        return measure_preprocessing(self._train[0], class_names, whitening=whitening)

    def _whitened(self, images: np.ndarray) -> np.ndarray:
        """Whiten images once for the whole run, if the recipe whitens.

        The paper whitens the data set before any augmentation.
        """
        return preprocess_input(images, self.preprocessing) if self.recipe.whitening else images

    def stream(
        self, start_step: int, part: tuple[int, int] = (0, 1), replicas: int = 1
    ) -> BatchStream:
        """Make training batches without end, from a step on; they depend on seed and step only.

        Args:
            start_step: steps of the run that are done.
            part: (i, n): the i-th of n equal parts of each batch, counted from 0, for one of n
                workers.
            replicas: devices of all workers together, which share a batch.

        Returns:
            Pairs of images (batch, height, width, 3), uint8 or whitened float32, and labels:
            integers (batch,) or, after mixing, float32 shares (batch, classes).
        """
        return BatchStream(
            self._inputs[0],
            self._train[1],
            self.recipe,
            classes=len(self.preprocessing.class_names),
            start_step=start_step,
            part=part,
            replicas=replicas,
        )

    def validation(self, replicas: int) -> dict[str, Any]:
        """Make the arguments of `fit` for validation, in batches that keep all replicas busy."""
        batch_size = even_batch(len(self._test[0]), replicas, EVALUATION_BATCH)
        return {"validation_data": untuned(InOrder(self._inputs[1], self._test[1], batch_size))}

    def measure(self, network: keras.Model) -> dict[str, Any]:
        """Evaluate a network that ends in a softmax on the whole test set, as `evaluate` does."""
        return evaluate(network, *self._test, self.preprocessing)


def hold_out(images: loading.Images, count: int) -> tuple[loading.Images, loading.Images]:
    """Split off `count` images, the same for all seeds: (the rest, the held-out images)."""
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
