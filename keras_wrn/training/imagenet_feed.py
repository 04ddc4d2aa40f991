"""A feed that streams encoded images: tf.data reads, crops and resizes them."""

import dataclasses
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_wrn.datasets.streams import open_source
from keras_wrn.errors import InputError
from keras_wrn.images import tensorflow_reader
from keras_wrn.images.preprocessing import PREPROCESSING
from keras_wrn.inference.classifier import class_probabilities
from keras_wrn.inference.evaluation import measures
from keras_wrn.system.backend import tensorflow_installed
from keras_wrn.training.batches import even_batch
from keras_wrn.training.fingerprint import fingerprint_files
from keras_wrn.training.recipe import Recipe

SAMPLE = 100  # test images for the picture of predictions
EVALUATION_BATCH = 100  # images; any size gives the same numbers


class ImageStream:
    """Images that do not fit into memory, with ImageNet's crops; used like `feeds.InMemory`.

    A step's images depend on the recipe and the step only: each epoch is its own permutation, and
    each crop is drawn from the seed and the image's position in the run. So a run resumes exactly
    at any step. Layers of the model draw colours and flips on the device.

    Args:
        recipe: data set, sizes, batch size and seed.
        data_dir: folder of the data set, as `datasets.streams.open_source` takes it.

    Raises:
        InputError: the data are missing, or TensorFlow is not installed, which tf.data needs
            whatever backend Keras has.
    """

    def __init__(self, recipe: Recipe, data_dir: str | Path | None) -> None:
        if not tensorflow_installed():
            raise InputError(
                "`random_resized_crop` reads images with tf.data, which needs TensorFlow; Keras "
                f"may stay on {keras.config.backend()}. Run: pip install tensorflow-cpu"
            )
        self.recipe = recipe
        self._source = open_source(recipe.dataset, data_dir, recipe.train_images or None)
        self.dataset = self._source.name
        self.images = self._source.images
        self.shape = (recipe.image_size, recipe.image_size, 3)
        self.fingerprint = self._fingerprint()
        self.preprocessing = dataclasses.replace(
            PREPROCESSING["imagenet"],
            size=recipe.image_size,
            resize=recipe.resize or None,
            interpolation=tensorflow_reader.INTERPOLATION,
            class_names=self._source.class_names,
        )
        with tensorflow_reader.broken_images_named():
            sample = next(iter(self._test(self._source.test(SAMPLE), SAMPLE)))
        self.test: tuple[np.ndarray, np.ndarray] = (sample[0].numpy(), sample[1].numpy())

    def _fingerprint(self) -> dict[str, Any]:
        names, files = self._source.class_names, self._source.files
        if files:
            return {split: fingerprint_files(names, *pair) for split, pair in files.items()}
        counts = {"train": self.images, "test": self._source.test_images}
        return {split: {"of all classes": {"images": n}} for split, n in counts.items()}

    def stream(self, start_step: int, part: tuple[int, int] = (0, 1), replicas: int = 1) -> Any:
        """Make training batches without end, from a step on; `part` as of `InMemory.stream`.

        A worker decodes the images of its part alone. A batch is in the shuffled order, so that
        `replicas` changes nothing.
        """
        import tensorflow as tf

        size, seed = self.recipe.batch_size, self.recipe.seed
        # An epoch leaves out the images of a last, short batch.
        per_epoch = self.images // size * size
        epoch, done = divmod(start_step * size, per_epoch)

        def image(place: Any, element: Any) -> tuple[Any, Any]:
            data, label, source = self._source.read(element)
            crop = tensorflow_reader.training_image(data, [seed, place], self.shape[0], source)
            return crop, label

        epochs = tf.data.Dataset.range(epoch, np.iinfo(np.int64).max)
        elements = epochs.flat_map(lambda e: self._source.epoch(seed, e).take(per_epoch)).skip(done)
        numbered = elements.enumerate(start_step * size)
        share = size // part[1]
        if part[1] > 1:
            numbered = numbered.filter(lambda place, _: place % size // share == part[0])
        images = numbered.map(image, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        return images.batch(share, drop_remainder=True).prefetch(tf.data.AUTOTUNE)

    def validation(self, replicas: int) -> dict[str, Any]:
        """Make the arguments of `fit` for validation on the test set."""
        batch = even_batch(self._source.test_images, replicas, EVALUATION_BATCH)
        return {"validation_data": self._test(self._source.test(), batch)}

    def measure(self, network: keras.Model) -> dict[str, Any]:
        """Evaluate a network that ends in a softmax on the whole test set."""
        pairs = [
            (
                class_probabilities(
                    network, images.numpy(), self.preprocessing, batch_size=EVALUATION_BATCH
                ),
                labels.numpy(),
            )
            for images, labels in self._test(self._source.test(), EVALUATION_BATCH)
        ]
        probabilities, labels = map(np.concatenate, zip(*pairs, strict=True))
        return measures(probabilities, labels)

    def _test(self, elements: Any, batch: int) -> Any:
        """Batches of test images and labels."""
        import tensorflow as tf

        def image(*element: Any) -> tuple[Any, Any]:
            element = element if len(element) > 1 else element[0]
            data, label, source = self._source.read(element)
            resize = self.recipe.resize or None
            return tensorflow_reader.test_image(
                data, self.shape, resize=resize, source=source
            ), label

        images = elements.map(image, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        options = tf.data.Options()  # several workers share images, not files
        options.experimental_distribute.auto_shard_policy = (
            tf.data.experimental.AutoShardPolicy.DATA
        )
        return images.batch(batch).prefetch(tf.data.AUTOTUNE).with_options(options)
