"""The corruptions of CIFAR-10-C and ImageNet-C for any images, and the error under them."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_wrn.errors import InputError
from keras_wrn.images.preprocessing import PREPROCESSING, AnyPreprocessing, preprocessing_of
from keras_wrn.inference.classifier import class_probabilities
from keras_wrn.inference.evaluation import checked_labels, top_k_error
from keras_wrn.insight import corruptions_blur as blur
from keras_wrn.insight import corruptions_pixels as pixels
from keras_wrn.insight import corruptions_weather as weather
from keras_wrn.insight.corruption_constants import CONSTANTS, REFERENCES, Reference
from keras_wrn.system.backend import import_package
from keras_wrn.system.console import progress

Corruption = Callable[[np.ndarray, Any, Any], np.ndarray]
_FUNCTIONS: dict[str, Corruption] = {
    "gaussian_noise": pixels.gaussian_noise,
    "shot_noise": pixels.shot_noise,
    "impulse_noise": pixels.impulse_noise,
    "defocus_blur": blur.defocus_blur,
    "glass_blur": blur.glass_blur,
    "motion_blur": blur.motion_blur,
    "zoom_blur": blur.zoom_blur,
    "snow": weather.snow,
    "frost": weather.frost,
    "fog": weather.fog,
    "brightness": pixels.brightness,
    "contrast": pixels.contrast,
    "elastic_transform": blur.elastic_transform,
    "pixelate": pixels.pixelate,
    "jpeg_compression": pixels.jpeg_compression,
    "speckle_noise": pixels.speckle_noise,
    "gaussian_blur": blur.gaussian_blur,
    "spatter": weather.spatter,
    "saturate": pixels.saturate,
}
CORRUPTIONS = tuple(_FUNCTIONS)[:15]
EXTRA_CORRUPTIONS = tuple(_FUNCTIONS)[15:]
SEVERITIES = (1, 2, 3, 4, 5)
SMALL = 48  # pixels, up to which images have CIFAR-10-C's constants
_PIXELS = 2**18  # of a part of the images that is worked on at once


def corrupt(
    images: np.ndarray,
    corruption: str,
    severity: int = 1,
    *,
    seed: int = 0,
    constants: str | None = None,
) -> np.ndarray:
    """Corrupt images as CIFAR-10-C and ImageNet-C do.

    Args:
        images: uint8, (n, height, width, 3), at least 16x16 pixels.
        corruption: one of the 15, `CORRUPTIONS`, or the 4 extra ones, `EXTRA_CORRUPTIONS`.
        severity: 1 to 5.
        seed: of what is random; equal seeds give equal images.
        constants: "cifar10-c" (made for 32 pixels) or "imagenet-c" (for 224); None for the
            first up to 48 pixels of height and width, and for the second above.

    Returns:
        New uint8 images of the same shape.

    Raises:
        InputError: other images, no such corruption, severity or constants, or no SciPy.

    Example:
        >>> grey = np.full((2, 32, 32, 3), 100, "uint8")
        >>> corrupt(grey, "brightness", 3)[0, 0, 0].tolist()
        [138, 138, 138]

    Source: Hendrycks & Dietterich, arXiv:1903.12261. Differs: motion blur is not ImageMagick's,
    and the ice of frost is made of random numbers instead of photographs.
    """
    images, table = _checked(images, corruption, severity, constants)
    import_package("scipy.ndimage", "scipy", "Corrupting images")
    random = np.random.default_rng([seed, zlib.crc32(corruption.encode()), severity])
    chosen = table[corruption][severity - 1]
    found = np.empty_like(images)
    size = max(1, _PIXELS // int(np.prod(images.shape[1:3])))
    for start in range(0, len(images), size):
        part = slice(start, start + size)
        changed = _FUNCTIONS[corruption](images[part], chosen, random)
        found[part] = changed.astype(np.uint8)  # truncated, as the published code does
    return found


def _checked(
    images: np.ndarray, corruption: str, severity: int, constants: str | None
) -> tuple[np.ndarray, dict[str, Sequence[Any]]]:
    images = np.asarray(images)
    is_batch = images.ndim == 4 and images.shape[-1] == 3 and images.dtype == np.uint8
    if not is_batch or min(images.shape[1:3]) < 16:
        raise InputError(
            "`images` must be uint8 of shape (n, height, width, 3), at least 16x16 pixels. "
            f"Received: {images.dtype} of shape {images.shape}."
        )
    if corruption not in _FUNCTIONS:
        raise InputError(
            f"`corruption` must be one of {', '.join(_FUNCTIONS)}. Received: {corruption!r}."
        )
    if severity not in SEVERITIES:
        raise InputError(f"`severity` must be 1, 2, 3, 4 or 5. Received: severity={severity!r}.")
    if constants is None:
        constants = "cifar10-c" if max(images.shape[1:3]) <= SMALL else "imagenet-c"
    if constants not in CONSTANTS:
        raise InputError(
            f"`constants` must be None or one of {', '.join(CONSTANTS)}. Received: {constants!r}."
        )
    return images, CONSTANTS[constants]


def corruption_errors(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    preprocessing: AnyPreprocessing,
    *,
    corruptions: Sequence[str] = CORRUPTIONS,
    severities: Sequence[int] = SEVERITIES,
    seed: int = 0,
    batch_size: int = 250,
) -> dict[str, dict[int, float]]:
    """Measure the top-1 error of a classifier on corrupted images.

    Args:
        model: a classifier that ends in a softmax and takes normalised images.
        images: uint8, (n, height, width, 3), as stored.
        labels: integers, (n,).
        preprocessing: the statistics that the model was trained with, as in `evaluate`.
        corruptions: their names.
        severities: of 1 to 5.
        seed: of `corrupt`.
        batch_size: images a step.

    Returns:
        Corruption -> severity -> error, a fraction.

    Raises:
        InputError: as `corrupt` and `evaluate`.

    Example:
        >>> network = keras_wrn.WideResNet(10, 1)
        >>> images, labels = np.zeros((2, 32, 32, 3), "uint8"), np.array([0, 1])
        >>> found = corruption_errors(
        ...     network, images, labels, "cifar10", corruptions=["fog"], severities=[1, 5]
        ... )
        >>> sorted(found["fog"])
        [1, 5]
    """
    labels = checked_labels(labels, len(images), model.output_shape[-1])
    statistics = preprocessing_of(preprocessing)
    errors: dict[str, dict[int, float]] = {}
    with progress("Corruptions", len(corruptions) * len(severities)) as advance:
        for corruption in corruptions:
            errors[corruption] = {}
            for severity in severities:
                changed = corrupt(images, corruption, severity, seed=seed)
                found = class_probabilities(model, changed, statistics, batch_size=batch_size)
                errors[corruption][severity] = top_k_error(found, labels, 1)
                advance(1)
    return errors


def mean_corruption_error(
    errors: Mapping[str, Mapping[int, float]], reference: Reference | None = None
) -> float:
    """Average the errors under corruptions, as a share of a reference network's.

    Args:
        errors: as `corruption_errors` returns them.
        reference: the network that counts as 1, such as `REFERENCES["cifar10"]`, for all five
            severities; None for the plain mean, which papers on CIFAR-10-C report.

    Returns:
        The mean over the corruptions, a fraction: of the errors, or of the quotients of the
        network's and the reference's mean errors.

    Raises:
        InputError: the reference has no error above 0 for a corruption, or severities are missing.

    Example:
        >>> mean_corruption_error({"fog": {1: 0.1, 5: 0.3}, "snow": {1: 0.2, 5: 0.4}})
        0.25

    Source: Hendrycks & Dietterich, arXiv:1903.12261, section 4.
    """
    means = {name: float(np.mean(list(rows.values()))) for name, rows in errors.items()}
    if reference is None:
        return float(np.mean(list(means.values())))
    for name, rows in errors.items():
        if set(rows) != set(SEVERITIES) or not reference.errors.get(name):
            raise InputError(
                f"`errors` must have the severities 1 to 5 of corruptions that {reference.name} "
                f"was measured on. Received: {name} with severities {sorted(rows)}."
            )
    return float(np.mean([mean / reference.errors[name] for name, mean in means.items()]))


def corruption_figures(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    preprocessing: AnyPreprocessing,
    corruptions: Sequence[str],
    *,
    seed: int,
    batch_size: int,
) -> dict[str, Any]:
    """Return "n", the mean "error", per corruption the "errors", "mce" and its "reference".

    Networks of CIFAR-10's classes are compared with the reference network of CIFAR-10; for others
    "mce" is None. Arguments and errors as of `corruption_errors`.
    """
    reference, names = REFERENCES["cifar10"], preprocessing_of(preprocessing).class_names
    compared = names == PREPROCESSING["cifar10"].class_names
    compared = compared and set(corruptions) <= set(reference.errors)
    errors = corruption_errors(
        model,
        images,
        labels,
        preprocessing,
        corruptions=corruptions,
        seed=seed,
        batch_size=batch_size,
    )
    return {
        "n": len(labels),
        "error": mean_corruption_error(errors),
        "mce": mean_corruption_error(errors, reference) if compared else None,
        "reference": reference.name if compared else "none: the plain mean of the errors",
        "errors": {name: {str(s): e for s, e in rows.items()} for name, rows in errors.items()},
    }
