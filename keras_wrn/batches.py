"""The order of training images: a pure function of the seed and the step."""

from typing import Any

import keras
import numpy as np


class BatchStream(keras.utils.PyDataset):
    """An endless stream of training batches that can start at any step.

    Each epoch is a permutation of its own of all images, cut into whole batches; the images
    that would make a last, short one wait for another epoch (the authors' 'skip-last', and what
    batch normalisation needs on several devices).

    Args:
        images: uint8 (n, height, width, 3), n >= batch_size.
        labels: integers (n,).
        batch_size: images a step.
        seed: of the permutations.
        start_step: the step, counted from the first of the run, that item 0 is.
    """

    def __init__(
        self, images: Any, labels: Any, *, batch_size: int, seed: int, start_step: int = 0
    ) -> None:
        super().__init__()
        self.images = images
        self.labels = labels
        self.batch_size = batch_size
        self.seed = seed
        self.start_step = start_step
        self.steps_per_epoch = len(images) // batch_size
        self._epoch = -1
        self._order = np.arange(0)

    @property
    def num_batches(self) -> None:
        """Without end: `steps_per_epoch` of model.fit says where an epoch stops."""

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        """The batch (images uint8, labels) of step `start_step + index`."""
        epoch, step = divmod(self.start_step + index, self.steps_per_epoch)
        if epoch != self._epoch:
            order = np.random.default_rng([self.seed, epoch]).permutation(len(self.images))
            self._epoch, self._order = epoch, order
        chosen = np.sort(self._order[step * self.batch_size : (step + 1) * self.batch_size])
        return self.images[chosen], self.labels[chosen]
