"""ImageNet as a run's feed: encoded images, read, cropped and resized by tf.data as needed."""

import contextlib
import dataclasses
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_wrn.datasets.streams import open_source
from keras_wrn.errors import InputError
from keras_wrn.images import tensorflow_reader
from keras_wrn.images.preprocessing import PREPROCESSING
from keras_wrn.inference import classifier, evaluation
from keras_wrn.system.backend import tensorflow_installed
from keras_wrn.training.batches import even_batch
from keras_wrn.training.recipe import Recipe

SAMPLE = 100  # test images that are held in memory, to look at
EVALUATION_BATCH = 100  # images; any size gives the same numbers
_ELSEWHERE = ("policy", "mixup", "cutmix", "alternating_flip")


class ImageStream:
    """Images that do not fit into memory, with ImageNet's crops; see `feeds.Feed`.

    What is shown at which step is a pure function of the recipe and the step: each epoch is a
    permutation of its own, each crop is drawn from the seed and the image's place in the run. A
    run therefore goes on at any step, wherever it stopped. Colour and flips are drawn on the
    device, by the layers of `photometric` and `augment`.

    tf.data needs TensorFlow, on whichever backend Keras runs.

    Args:
        recipe: data set, sizes, batch size and seed.
        data_dir: where the data set is, see `image_sources.open_source`.

    Raises:
        InputError: missing data, a recipe that asks for what this feed does not do, or no
            TensorFlow.
    """

    def __init__(self, recipe: Recipe, data_dir: str | Path | None) -> None:
        if not tensorflow_installed():
            raise InputError(
                "`random_resized_crop` reads images with tf.data, which needs TensorFlow; Keras "
                f"may stay on {keras.config.backend()}. Run: pip install tensorflow-cpu"
            )
        _check(recipe)
        _leave_gpus()
        self.recipe = recipe
        self._source = open_source(recipe.dataset, data_dir, recipe.train_images)
        self.dataset = self._source.name
        self.images = self._source.images
        self.shape = (recipe.image_size, recipe.image_size, 3)
        self.preprocessing = dataclasses.replace(
            PREPROCESSING["imagenet"],
            size=recipe.image_size,
            resize=recipe.resize or None,
            interpolation=tensorflow_reader.INTERPOLATION,
            class_names=self._source.class_names,
        )
        sample = next(iter(self._test(self._source.sample(SAMPLE), SAMPLE)))
        self.test: tuple[np.ndarray, np.ndarray] = (sample[0].numpy(), sample[1].numpy())

    def stream(self, start_step: int) -> Any:
        """See `Feed`."""
        import tensorflow as tf

        size, seed = self.recipe.batch_size, self.recipe.seed
        # The images that would make a last, short batch wait for another epoch.
        whole = self.images // size * size
        epoch, done = divmod(start_step * size, whole)

        def image(place: Any, element: Any) -> tuple[Any, Any]:
            data, label = self._read(element)
            return tensorflow_reader.training_image(data, [seed, place], self.shape[0]), label

        epochs = tf.data.Dataset.range(epoch, np.iinfo(np.int64).max)
        elements = epochs.flat_map(lambda e: self._source.epoch(seed, e).take(whole)).skip(done)
        images = elements.enumerate(start_step * size).map(
            image, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
        )
        return images.batch(size, drop_remainder=True).prefetch(tf.data.AUTOTUNE)

    def validation(self, replicas: int) -> dict[str, Any]:
        """See `Feed`."""
        batch = even_batch(self._source.test_images, replicas, EVALUATION_BATCH)
        return {"validation_data": self._test(self._source.test(), batch)}

    def measure(self, network: keras.Model) -> dict[str, Any]:
        """See `Feed`."""
        full = classifier.with_preprocessing(network, self.preprocessing)
        batches = self._test(self._source.test(), EVALUATION_BATCH)
        probabilities, labels = [], []
        for images, of_images in batches:
            probabilities.append(full.predict_on_batch(images.numpy()))
            labels.append(of_images.numpy())
        found = np.concatenate(probabilities).astype(np.float32, copy=False)
        classifier.check_distribution(found)
        return evaluation.measures(found, np.concatenate(labels))

    def _test(self, elements: Any, batch: int) -> Any:
        """Batches of test images and labels."""
        import tensorflow as tf

        def image(*element: Any) -> tuple[Any, Any]:
            data, label = self._read(element if len(element) > 1 else element[0])
            size, resize = self.recipe.image_size, self.recipe.resize or None
            return tensorflow_reader.test_image(data, size, resize), label

        images = elements.map(image, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        return images.batch(batch).prefetch(tf.data.AUTOTUNE)

    def _read(self, element: Any) -> tuple[Any, Any]:
        data, label, source = self._source.read(element)
        return tensorflow_reader.checked(data, source), label


def _leave_gpus() -> None:
    """Keep TensorFlow from taking the GPUs' memory where Keras runs on another backend."""
    if keras.config.backend() != "tensorflow":
        import tensorflow as tf

        # Too late where a program has used TensorFlow on them before.
        with contextlib.suppress(RuntimeError):
            tf.config.set_visible_devices([], "GPU")


def _check(recipe: Recipe) -> None:
    """Refuse what the crops leave no room for and what only images in memory can have."""
    if 0 < recipe.resize < recipe.image_size:
        raise InputError(
            "`resize` must be 0 or at least image_size, which is cut out of the resized image. "
            f"Received: resize={recipe.resize}, image_size={recipe.image_size}."
        )
    for name in _ELSEWHERE:
        value = getattr(recipe, name)
        if value not in (0, "none"):
            raise InputError(
                f"`{name}` works with images in memory and not with random_resized_crop. "
                f"Received: {name}={value!r}."
            )
