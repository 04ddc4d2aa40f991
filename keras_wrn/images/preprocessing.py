"""Statistics and class names of each data set, and functions that apply the statistics.

Source: paper, section 3, and the authors' train.lua: mean and standard deviation per channel for
CIFAR (the same numbers for CIFAR-10 and CIFAR-100), division by 255 for SVHN.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from keras_wrn.errors import InputError
from keras_wrn.images.whitening import Whitening, check_images, fit_whitening, read_whitening


@dataclass(frozen=True)
class Preprocessing:
    """The statistics, image size and class names that a network needs.

    Functions that take the name of a data set, such as `keras_wrn.predict`, take a
    `Preprocessing` of your own classes too. `measure_preprocessing` measures one.

    Attributes:
        mean: mean of each channel, for pixels on 0..255.
        std: standard deviation of each channel, for pixels on 0..255.
        size: height and width of the images, in pixels.
        class_names: in the order of the labels; empty for ImageNet, whose 1,000 names Keras has.
        resize: pixels of the shorter side before the square in the middle is cropped; None: crop
            the largest square, then resize it.
        interpolation: of the resizing, "bilinear" or "bicubic".
        whitening: replaces `mean` and `std`, which then are 0 and 1.

    Example:
        >>> pets = keras_wrn.Preprocessing(
        ...     mean=(124.0, 116.0, 104.0), std=(58.0, 57.0, 57.0), size=32,
        ...     class_names=("cat", "dog"),
        ... )
        >>> keras_wrn.decode_predictions([[0.2, 0.8]], top=1, dataset=pets)
        [[(1, 'dog', 0.8)]]
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: int
    class_names: tuple[str, ...]
    resize: int | None = None
    interpolation: str = "bilinear"
    whitening: Whitening | None = None

    def __post_init__(self) -> None:
        """Check what would give black borders."""
        if self.resize is not None and self.resize < self.size:
            raise InputError(
                "`resize` must be None or at least `size`, which is cut out of the resized image. "
                f"Received: resize={self.resize!r}, size={self.size!r}."
            )

    def to_card(self, folder: Path | None = None) -> dict[str, Any]:
        """Return plain values for card.json; write a whitening into the card's folder."""
        values = dict(vars(self))
        if (whitening := values.pop("whitening")) is not None:
            values["whitening"] = whitening.write(folder)
        return values


# Public functions take a name, the card of a network, or a `Preprocessing`.
AnyPreprocessing = str | Preprocessing | Mapping[str, Any]
INTERPOLATIONS = ("bilinear", "bicubic")
_CIFAR_MEAN = (125.3, 123.0, 113.9)
_CIFAR_STD = (63.0, 62.1, 66.7)
_DIGIT_NAMES = tuple("0123456789")
_CIFAR10_NAMES = tuple("airplane automobile bird cat deer dog frog horse ship truck".split())
_CIFAR100_NAMES = tuple(
    """
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle
    bowl boy bridge bus butterfly camel can castle caterpillar cattle
    chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur
    dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard
    lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain
    mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree
    plain plate poppy porcupine possum rabbit raccoon ray road rocket
    rose sea seal shark shrew skunk skyscraper snail snake spider
    squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor
    train trout tulip turtle wardrobe whale willow_tree wolf woman worm
    """.split()
)
PREPROCESSING: dict[str, Preprocessing] = {
    "cifar10": Preprocessing(_CIFAR_MEAN, _CIFAR_STD, 32, _CIFAR10_NAMES),
    "cifar100": Preprocessing(_CIFAR_MEAN, _CIFAR_STD, 32, _CIFAR100_NAMES),
    "svhn": Preprocessing((0.0,) * 3, (255.0,) * 3, 32, _DIGIT_NAMES),
    # Measured on the 1,437 training images of `datasets.load`, which enlarges them.
    "digits": Preprocessing((78.895,) * 3, (88.762,) * 3, 32, _DIGIT_NAMES),
    # torchvision's and fb.resnet.torch's constants, times 255.
    "imagenet": Preprocessing((123.675, 116.28, 103.53), (58.395, 57.12, 57.375), 224, ()),
}


def preprocessing_of(dataset: AnyPreprocessing) -> Preprocessing:
    """Return the preprocessing of a data set or of a network.

    Args:
        dataset: a name in `PREPROCESSING`, the card of a run or of published weights, or a
            `Preprocessing`, which is returned unchanged.

    Raises:
        InputError: an unknown name, a damaged card, or the card of a network of whitened images.

    Example:
        >>> preprocessing_of("svhn").std
        (255.0, 255.0, 255.0)
    """
    if isinstance(dataset, Preprocessing):
        return dataset
    if isinstance(dataset, Mapping):
        return from_card(dataset)
    if not isinstance(dataset, str) or dataset not in PREPROCESSING:
        raise InputError(
            f"`dataset` must be one of {', '.join(PREPROCESSING)}, or for your own classes a "
            "keras_wrn.Preprocessing(mean, std, size, class_names). "
            f"Received: dataset={dataset!r}."
        )
    return PREPROCESSING[dataset]


def from_card(card: Mapping[str, Any], folder: Path | None = None) -> Preprocessing:
    """Read the preprocessing in a card.

    Args:
        card: the content of card.json.
        folder: the folder of the card, where the file of a whitening is.

    Raises:
        InputError: the card or the whitening is damaged, or there is a whitening and no `folder`.
    """
    try:
        values = card["preprocessing"]
        resize, interpolation = values.get("resize"), values.get("interpolation", "bilinear")
        if interpolation not in INTERPOLATIONS:
            raise ValueError(f"interpolation={interpolation!r}")
        row = Preprocessing(
            mean=tuple(float(value) for value in values["mean"]),
            std=tuple(float(value) for value in values["std"]),
            size=int(values["size"]),
            class_names=tuple(str(name) for name in values["class_names"]),
            resize=None if resize is None else int(resize),
            interpolation=interpolation,
        )
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        place = f" of {folder}" if folder else ""
        raise InputError(f"The preprocessing in the card{place} is damaged: {error!r}.") from error
    if (entry := values.get("whitening")) is None:
        return row
    if folder is None:
        raise InputError(
            "The card of a network of whitened images is not enough: the whitening is in a file "
            "beside it. Give keras_wrn.load_trained(FOLDER).preprocessing in its place."
        )
    return replace(row, whitening=read_whitening(entry, folder))


def measure_preprocessing(
    images: np.ndarray, class_names: Sequence[str], *, whitening: bool = False
) -> Preprocessing:
    """Measure the preprocessing of your own data set.

    Args:
        images: uint8 (n, size, size, channels), the training images only.
        class_names: in the order of the labels.
        whitening: fit a whitening (`fit_whitening`) in place of mean and standard deviation.

    Returns:
        Mean and standard deviation of each channel for pixels on 0..255, exact for any number of
        images; 0 and 1 beside a whitening.

    Raises:
        InputError: not uint8 images, a channel that never varies, or images that are too large to
            be whitened.

    Example:
        >>> images = np.full((2, 4, 4, 3), [[[[0]]], [[[100]]]], np.uint8)
        >>> measure_preprocessing(images, ("cat", "dog")).mean
        (50.0, 50.0, 50.0)
    """
    check_images(images)
    size, channels, names = images.shape[1], images.shape[3], tuple(class_names)
    if whitening:
        fitted = fit_whitening(images)
        return Preprocessing((0.0,) * channels, (1.0,) * channels, size, names, whitening=fitted)
    values = np.arange(256.0)
    means, stds = [], []
    for channel in range(channels):
        # A histogram of 256 bins is exact and needs no float copy of the images. It is made in
        # parts, because NumPy copies its argument to 8 bytes a value.
        counts = np.zeros(256)
        for start in range(0, len(images), 256):
            part = images[start : start + 256, ..., channel]
            counts += np.bincount(part.ravel(), minlength=256)
        share = counts / counts.sum()
        mean = float(share @ values)
        means.append(mean)
        stds.append(float(np.sqrt(share @ (values - mean) ** 2)))
    if min(stds) == 0:
        raise InputError(f"Channel {stds.index(0)} of `images` has one value in every pixel.")
    return Preprocessing(tuple(means), tuple(stds), size, names)


def normalization(preprocessing: Preprocessing) -> Any:
    """Return a Keras layer from pixels on 0..255 to a network's input, float32 of the same shape.

    Training, evaluation, prediction and export use this layer, so they cannot differ. It is a
    stock Keras layer, except for whitening.
    """
    import keras

    if preprocessing.whitening is not None:
        from keras_wrn.images.whitening_layer import Whiten

        return Whiten.from_whitening(preprocessing.whitening, name="normalization")

    return keras.layers.Normalization(
        mean=np.array(preprocessing.mean, np.float32),
        variance=np.square(np.array(preprocessing.std, np.float32)),
        dtype="float32",
        name="normalization",
    )


def preprocess_input(images: Any, dataset: AnyPreprocessing = "cifar10") -> Any:
    """Subtract the mean and divide by the standard deviation, per channel; or whiten.

    Args:
        images: values on 0..255, shape (..., channels), of any number type: a NumPy array, nested
            lists, or a tensor of the Keras backend, symbolic or not.
        dataset: a name ("cifar10"), the card of a network or a `Preprocessing`.

    Returns:
        float32 of the same shape: a new NumPy array for NumPy and lists, else a tensor.

    Raises:
        InputError: an unknown data set, or images of other channels; for whitening, another shape
            than (n, height, width, channels) of the fitted images.

    Example:
        >>> pixels = np.array([[[[0, 255, 255]]]], "uint8")
        >>> preprocess_input(pixels, "svhn").tolist()
        [[[[0.0, 1.0, 1.0]]]]
    """
    row = preprocessing_of(dataset)
    if not hasattr(images, "shape"):
        images = np.asarray(images)
    is_numpy = isinstance(images, (np.ndarray, np.generic))
    if is_numpy and images.dtype.kind not in "buif":
        raise InputError(f"`images` must be numbers on 0..255. Received: dtype {images.dtype}.")
    if len(images.shape) == 0 or images.shape[-1] != len(row.mean):
        raise InputError(
            f"`images` must have {len(row.mean)} channels in the last axis. "
            f"Received: shape {tuple(images.shape)}."
        )
    if row.whitening is not None:
        from keras_wrn.images.whitening_layer import whitened

        return whitened(images, row.whitening)
    mean, std = np.asarray(row.mean, "float32"), np.asarray(row.std, "float32")
    if is_numpy:
        pixels = images.astype("float32")
        pixels -= mean
        pixels /= std
        return pixels
    from keras import ops

    return ops.divide(ops.subtract(ops.cast(images, "float32"), mean), std)
