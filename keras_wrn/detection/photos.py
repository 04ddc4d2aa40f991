"""COCO's photos as square images: batches for `predict`, and with boxes for `fit`."""

from typing import Any

from keras_wrn.detection.coco import Photos
from keras_wrn.errors import InputError
from keras_wrn.images.graph_decoder import by_pillow, decode
from keras_wrn.images.preprocessing import preprocessing_of


def letterbox(image: Any, size: int) -> Any:
    """Fit an image into the top left of a square; proportions stay.

    The rest of the square has ImageNet's mean colour, which normalisation makes zero.

    Args:
        image: a TensorFlow tensor, uint8 (height, width, 3).
        size: sides of the square, in pixels.

    Returns:
        uint8 (size, size, 3). Boxes are scaled by size / max(height, width).
    """
    import tensorflow as tf

    sides = tf.cast(tf.shape(image)[:2], tf.float32)
    scaled = tf.round(sides * (size / tf.reduce_max(sides)))
    scaled = tf.clip_by_value(tf.cast(scaled, tf.int32), 1, size)
    colour = tf.constant(preprocessing_of("imagenet").mean)
    # Subtracted and added again, because padding adds zeros.
    image = tf.image.resize(image, scaled, antialias=True) - colour
    image = tf.image.pad_to_bounding_box(image, 0, 0, size, size) + colour
    image = tf.cast(tf.round(tf.clip_by_value(image, 0.0, 255.0)), tf.uint8)
    return tf.ensure_shape(image, (size, size, 3))


def read(path: Any, height: Any, width: Any) -> Any:
    """Read a photo, upright by its EXIF orientation: uint8 (height, width, 3).

    Any kind that Pillow reads is read, with the pixels of `keras_wrn.predict`.

    Args:
        path: scalar string tensor, the file.
        height: of the photo in the annotations, in pixels: its boxes are on a photo of this size.
        width: the same.

    Raises:
        InputError: within `broken_images_named`: the file cannot be read, or has another size.
    """
    import tensorflow as tf

    data = tf.io.read_file(path)
    image = decode(data, 3, lambda: by_pillow(data, path))
    sides = tf.shape(image)[:2]

    def other_size() -> Any:
        return tf.numpy_function(_refuse_size, [path, sides, height, width], tf.uint8)

    fits = tf.reduce_all(sides == tf.cast([height, width], tf.int32))
    return tf.ensure_shape(tf.cond(fits, lambda: image, other_size), (None, None, 3))


def _refuse_size(path: bytes, sides: Any, height: Any, width: Any) -> Any:
    raise InputError(
        f"{path.decode(errors='replace')} is {sides[1]}x{sides[0]} pixels, upright, but "
        f"{width}x{height} in the annotations. Its boxes would be wrong: mend one of them."
    )


def images_of(photos: Photos, size: int, batch_size: int) -> Any:
    """Batches of the photos in order, for `predict`.

    Returns:
        A tf.data.Dataset of uint8 (batch, size, size, 3); the last batch may be smaller.
    """
    import tensorflow as tf

    def load(path: Any, sides: Any) -> Any:
        return letterbox(read(path, sides[0], sides[1]), size)

    paths = [str(path) for path in photos.paths]
    files = tf.data.Dataset.from_tensor_slices((paths, list(photos.sizes)))
    return files.map(load, num_parallel_calls=tf.data.AUTOTUNE).batch(batch_size).prefetch(2)


def training_batches(
    photos: Photos, size: int, batch_size: int, *, flip: bool, seed: int, start_step: int = 0
) -> Any:
    """Endless shuffled batches for `fit`; seed and step determine a batch.

    Args:
        photos: the training photos.
        size: sides of the images, in pixels.
        batch_size: images per batch; a batch may contain the end of an epoch.
        flip: mirror half of the images, left to right.
        seed: of order and flips.
        start_step: batches to skip, to resume a run.

    Returns:
        A tf.data.Dataset of (images, targets): uint8 (batch, size, size, 3), and a dict of
        "boxes", float32 (batch, most, 4), and "classes", float32 (batch, most), padded with -1.
    """
    import tensorflow as tf

    targets = photos.targets(size)
    paths = tf.constant([str(path) for path in photos.paths])
    boxes, classes = tf.constant(targets["boxes"]), tf.constant(targets["classes"])
    sides = tf.constant(photos.sizes)
    widths = tf.constant([width for _, width in photos.sizes] * photos.scales(size), tf.float32)

    def load(count: Any, i: Any) -> Any:
        image, truth = read(paths[i], sides[i, 0], sides[i, 1]), boxes[i]
        if flip and tf.random.stateless_uniform((), (seed, count)) < 0.5:
            # Before the letterbox, so that the padding stays on the right.
            image = tf.image.flip_left_right(image)
            left, top, width, height = tf.unstack(truth, axis=-1)
            mirrored = tf.stack([widths[i] - left - width, top, width, height], axis=-1)
            truth = tf.where(classes[i][:, None] >= 0, mirrored, truth)
        return letterbox(image, size), {"boxes": truth, "classes": classes[i]}

    order = tf.data.Dataset.range(len(photos)).shuffle(len(photos), seed=seed).repeat()
    order = order.enumerate().skip(start_step * batch_size)
    loaded = order.map(load, num_parallel_calls=tf.data.AUTOTUNE)
    return loaded.batch(batch_size, drop_remainder=True).prefetch(2)
