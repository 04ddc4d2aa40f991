"""The photos of COCO as square images, with their boxes: for `predict`, and batches for `fit`."""

import contextlib
from collections.abc import Iterator
from typing import Any

from keras_wrn.detection.coco import Photos
from keras_wrn.errors import InputError
from keras_wrn.images.preprocessing import preprocessing_of


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
