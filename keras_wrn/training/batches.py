"""Training batches in NumPy: which images a step shows depends on seed and step only."""

import itertools
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from keras_wrn.augment import mixing
from keras_wrn.augment.policies import rand_augment, trivial_augment
from keras_wrn.training.recipe import Recipe


def even_batch(images: int, replicas: int, most: int) -> int:
    """Choose a batch size for evaluation whose last batch keeps all replicas busy.

    On JAX all batches of a data set are shared out alike, as the first one is. Where the images
    do not divide by the devices, no batch does: each device then evaluates all images.

    Args:
        images: number of images.
        replicas: number of devices.
        most: maximum batch size.
    """
    if keras.config.backend() == "jax" and replicas > 1:
        if images % replicas:
            return most if most % replicas else most - 1
        return most - most % replicas
    for size in range(most - most % replicas, 0, -replicas):
        rest = images % size
        # TensorFlow gives the first devices ceil(rest / replicas) each, so that 4 on 3 are 2, 2, 0.
        if rest == 0 or -(-rest // -(-rest // replicas)) == replicas:
            return size
    return replicas


class BatchStream(keras.utils.PyDataset):
    """An endless stream of training batches that can start at any step.

    Each epoch is its own permutation of all images, cut into whole batches. The images of a last,
    short batch are left out (the authors' 'skip-last'; batch normalisation on several devices
    needs it). Augmentation that does not run on the device runs here: alternating flips,
    TrivialAugment or RandAugment, mixup and CutMix.

    Args:
        images: uint8 (n, height, width, 3), or whitened float32; n >= batch_size.
        labels: integers (n,).
        recipe: batch size, seed and the augmentation above.
        classes: number of classes.
        start_step: the run's step of item 0, counted from 0.
        part: (i, n): each item is the i-th of n equal parts of its batch, counted from 0.
        replicas: devices that share a batch, each a run of neighbours. Data in the order of their
            classes are dealt out, so that every device has images of all classes.
    """

    def __init__(
        self,
        images: Any,
        labels: Any,
        recipe: Recipe,
        *,
        classes: int,
        start_step: int = 0,
        part: tuple[int, int] = (0, 1),
        replicas: int = 1,
    ) -> None:
        super().__init__()
        self.images = images
        self.labels = labels
        self.recipe = recipe
        self.classes = classes
        self.start_step = start_step
        self.replicas = replicas
        share = recipe.batch_size // part[1]
        self.part = slice(part[0] * share, (part[0] + 1) * share)
        self.steps_per_epoch = len(images) // recipe.batch_size
        self._epoch = -1
        self._order = np.arange(0)

    @property
    def num_batches(self) -> None:
        """None, for a stream without end: `steps_per_epoch` of `fit` ends an epoch."""

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        """Make the batch of step `start_step + index`: images; labels, or shares of classes."""
        images, labels = self._whole(index)
        return images[self.part], labels[self.part]

    def _whole(self, index: int) -> tuple[Any, Any]:
        recipe = self.recipe
        step = self.start_step + index
        epoch, part = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            order = np.random.default_rng([recipe.seed, epoch]).permutation(len(self.images))
            self._epoch, self._order = epoch, order
        chosen = np.sort(self._order[part * recipe.batch_size : (part + 1) * recipe.batch_size])
        chosen = chosen.reshape(-1, self.replicas).T.ravel()
        images, labels = self.images[chosen], self.labels[chosen]
        draws = np.random.default_rng([recipe.seed, step, 1])
        if recipe.alternating_flip:
            mirrored = (chosen * 7919 + chosen // 2 + epoch) % 2 == 1
            images[mirrored] = images[mirrored, :, ::-1]
        if recipe.policy == "trivial_augment":
            images = trivial_augment(images, draws)
        if recipe.policy == "rand_augment":
            images = rand_augment(images, recipe.policy_operations, recipe.policy_magnitude, draws)
        if recipe.mixup:
            return mixing.mixup(images, labels, self.classes, recipe.mixup, draws)
        if recipe.cutmix:
            return mixing.cutmix(images, labels, self.classes, recipe.cutmix, draws)
        return images, labels


class InOrder(keras.utils.PyDataset):
    """All images once, in order; the last batch may be smaller.

    Args:
        images: (n, height, width, channels).
        labels: (n,).
        batch_size: images per batch.
    """

    def __init__(self, images: Any, labels: Any, batch_size: int) -> None:
        super().__init__()
        self.images = images
        self.labels = labels
        self.batch_size = batch_size

    @property
    def num_batches(self) -> int:
        """The number of batches."""
        return -(-len(self.images) // self.batch_size)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        """Make batch `index`: images and labels."""
        part = slice(index * self.batch_size, (index + 1) * self.batch_size)
        return self.images[part], self.labels[part]


_AHEAD = 2  # batches prepared while a step runs


def untuned(stream: Any) -> Any:
    """Disable tf.data autotuning, which can stall the end of `fit`.

    Args:
        stream: a `keras.utils.PyDataset` of (inputs, targets), NumPy arrays whose shapes differ
            in the first dimension only, with or without end. Anything else is returned unchanged.

    Returns:
        On TensorFlow a tf.data.Dataset of the same batches; elsewhere the stream.
    """
    if not isinstance(stream, keras.utils.PyDataset) or keras.config.backend() != "tensorflow":
        return stream
    import tensorflow as tf

    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA

    count = stream.num_batches

    def batches() -> Iterator[Any]:
        return (stream[i] for i in (itertools.count() if count is None else range(count)))

    signature = tuple(tf.TensorSpec((None, *part.shape[1:]), part.dtype) for part in stream[0])
    options.autotune.enabled = False
    data = tf.data.Dataset.from_generator(batches, output_signature=signature)
    if count is not None:
        data = data.apply(tf.data.experimental.assert_cardinality(count))
    return data.prefetch(_AHEAD).with_options(options)
