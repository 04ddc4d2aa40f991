"""Mixup and CutMix: two images in one, with both labels in their shares."""

import numpy as np


def mixup(
    images: np.ndarray, labels: np.ndarray, classes: int, alpha: float, draws: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Blend each image with another of the batch, all in one proportion.

    Args:
        images: uint8 (n, height, width, channels).
        labels: integers (n,).
        classes: how many there are.
        alpha: > 0; the proportion is drawn from Beta(alpha, alpha), once a batch.
        draws: the source of chance.

    Returns:
        uint8 images and float32 labels (n, classes) whose rows sum to 1.

    Source: Zhang et al. 2018, arXiv:1710.09412, and the authors' code. Differs: pixels are
    blended before the crop, rounded to whole numbers.
    """
    share = draws.beta(alpha, alpha)
    other = draws.permutation(len(images))
    blended = share * images.astype(np.float32) + (1 - share) * images[other]
    return np.rint(blended).astype(np.uint8), _mixed_labels(labels, other, share, classes)


def cutmix(
    images: np.ndarray, labels: np.ndarray, classes: int, alpha: float, draws: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Paste a rectangle of another image of the batch into each, at one place for all.

    Arguments and return values are those of `mixup`. The labels' shares are those of the pixels
    that were really pasted, where the border cuts the rectangle off.

    Source: Yun et al. 2019, arXiv:1905.04899, algorithm A1. Differs: pasted before the crop, of
    which the labels know nothing. Its reflection doubles some pixels and others are cut off, so
    that a label's share and that of the pixels a network is shown are 0.043 apart (mean absolute
    difference after `augment.RandomCropFlip(pad=4)`, 5,000 draws of the rectangle with alpha 1,
    each for 128 images of 32x32).
    """
    height, width = images.shape[1:3]
    side = np.sqrt(1 - draws.beta(alpha, alpha))
    row, column = draws.integers(height), draws.integers(width)
    half_height, half_width = int(height * side) // 2, int(width * side) // 2
    rows = slice(max(row - half_height, 0), row + half_height)
    columns = slice(max(column - half_width, 0), column + half_width)
    other = draws.permutation(len(images))
    pasted = images.copy()
    pasted[:, rows, columns] = images[other][:, rows, columns]
    area = images[0, rows, columns, 0].size
    return pasted, _mixed_labels(labels, other, 1 - area / (height * width), classes)


def _mixed_labels(labels: np.ndarray, other: np.ndarray, share: float, classes: int) -> np.ndarray:
    certain = np.eye(classes, dtype=np.float32)
    return (share * certain[labels] + (1 - share) * certain[labels[other]]).astype(np.float32)
