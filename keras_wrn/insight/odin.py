"""ODIN's change of images: a small step that makes the network surer of what it sees."""

from __future__ import annotations

import numpy as np

from keras_wrn.errors import InputError
from keras_wrn.insight.gradients import gradient_function
from keras_wrn.insight.out_of_distribution import ODIN_TEMPERATURE
from keras_wrn.insight.outputs import Reader
from keras_wrn.system.console import progress


def perturb(
    reader: Reader,
    images: np.ndarray,
    epsilon: float,
    temperature: float = ODIN_TEMPERATURE,
) -> np.ndarray:
    """Step along the sign of the gradient of the top-1 log-probability.

    Images of the data set gain more probability by the step than others do.

    Args:
        reader: of the classifier; of an ensemble the mean of the logits counts.
        images: uint8 or float on 0..255, (n, height, width, channels).
        epsilon: the step, in pixel values of 255; the paper's 0.0014 of images in [0, 1] is 0.357.
        temperature: that the logits are divided by.

    Returns:
        float32 images of the same shape, not clipped, which `outputs.read_pixels` takes.

    Raises:
        InputError: `epsilon` is not above 0.

    Example:
        >>> from keras_wrn.insight.outputs import open_reader
        >>> from keras_wrn.images.preprocessing import PREPROCESSING
        >>> opened = open_reader(keras_wrn.WideResNet(10, 1), PREPROCESSING["digits"])
        >>> perturb(opened, np.zeros((2, 32, 32, 3), "uint8"), 0.357).shape
        (2, 32, 32, 3)

    Source: Liang et al., arXiv:1706.02690, section 3.
    """
    import keras
    from keras import ops

    from keras_wrn.images.preprocessing import normalization

    if not 0 < epsilon < 255:
        raise InputError(f"`epsilon` must be between 0 and 255. Received: epsilon={epsilon!r}.")
    normalise, head = normalization(reader.preprocessing), reader.head

    def confidence(pixels: object) -> object:
        features = reader.features(normalise(pixels), training=False)
        features = features if isinstance(features, (list, tuple)) else [features]
        logits = ops.concatenate([ops.cast(each, "float32") for each in features], axis=-1)
        logits = ops.add(ops.matmul(logits, head.kernel), head.bias) / temperature
        return ops.max(keras.activations.log_softmax(logits, axis=-1), axis=-1)

    gradient, size = gradient_function(confidence), min(reader.batch_size, len(images))
    changed = np.empty(images.shape, np.float32)
    with progress("Changing images", len(images)) as advance:
        for start in range(0, len(images), size):
            rows = np.arange(start, start + size) % len(images)  # a full batch, traced once
            part = images[rows].astype(np.float32)
            part += np.float32(epsilon) * np.sign(gradient(part)[1])
            changed[start : start + size] = part[: len(images) - start]
            advance(min(size, len(images) - start))
    return changed
