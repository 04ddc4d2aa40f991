"""The constants of CIFAR-10-C and of ImageNet-C, and the networks whose errors count as 1.

What a constant means is said by the function of that name. Source: the authors' make_cifar_c.py and
make_imagenet_c.py, of Hendrycks & Dietterich, arXiv:1903.12261.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


def _zooms(step: float, *ends: float) -> list[np.ndarray]:
    return [np.arange(1, end, step) for end in ends]


CONSTANTS: dict[str, dict[str, Sequence[Any]]] = {
    "cifar10-c": {
        "gaussian_noise": (0.04, 0.06, 0.08, 0.09, 0.10),
        "shot_noise": (500, 250, 100, 75, 50),
        "impulse_noise": (0.01, 0.02, 0.03, 0.05, 0.07),
        "defocus_blur": ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
        "glass_blur": ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
        "motion_blur": ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
        "zoom_blur": _zooms(0.01, 1.06, 1.11, 1.16, 1.21, 1.26),
        "snow": (
            (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
            (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
        ),
        "frost": ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)),
        "fog": ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
        "brightness": (0.05, 0.1, 0.15, 0.2, 0.3),
        "contrast": (0.75, 0.5, 0.4, 0.3, 0.15),
        "elastic_transform": (
            (0, 0, 2.56),
            (1.6, 6.4, 2.24),
            (2.56, 1.92, 1.92),
            (3.2, 1.28, 1.6),
            (3.2, 0.96, 0.96),
        ),
        "pixelate": (0.95, 0.9, 0.85, 0.75, 0.65),
        "jpeg_compression": (80, 65, 58, 50, 40),
        "speckle_noise": (0.06, 0.1, 0.12, 0.16, 0.2),
        "gaussian_blur": (0.4, 0.6, 0.7, 0.8, 1),
        "spatter": (
            (0.62, 0.1, 0.7, 0.7, 0.5, 0),
            (0.65, 0.1, 0.8, 0.7, 0.5, 0),
            (0.65, 0.3, 1, 0.69, 0.5, 0),
            (0.65, 0.1, 0.7, 0.69, 0.6, 1),
            (0.65, 0.1, 0.5, 0.68, 0.6, 1),
        ),
        "saturate": ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)),
    },
    "imagenet-c": {
        "gaussian_noise": (0.08, 0.12, 0.18, 0.26, 0.38),
        "shot_noise": (60, 25, 12, 5, 3),
        "impulse_noise": (0.03, 0.06, 0.09, 0.17, 0.27),
        "defocus_blur": ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
        "glass_blur": ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
        "motion_blur": ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
        "zoom_blur": [
            *_zooms(0.01, 1.11, 1.16),
            *_zooms(0.02, 1.21, 1.26),
            *_zooms(0.03, 1.31),
        ],
        "snow": (
            (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
            (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
            (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
            (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
            (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
        ),
        "frost": ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)),
        "fog": ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
        "brightness": (0.1, 0.2, 0.3, 0.4, 0.5),
        "contrast": (0.4, 0.3, 0.2, 0.1, 0.05),
        "elastic_transform": (
            (488, 170.8, 24.4),
            (488, 19.52, 48.8),
            (12.2, 2.44, 4.88),
            (17.08, 2.44, 4.88),
            (29.28, 2.44, 4.88),
        ),
        "pixelate": (0.6, 0.5, 0.4, 0.3, 0.25),
        "jpeg_compression": (25, 18, 15, 10, 7),
        "speckle_noise": (0.15, 0.2, 0.35, 0.45, 0.6),
        "gaussian_blur": (1, 2, 3, 4, 6),
        "spatter": (
            (0.65, 0.3, 4, 0.69, 0.6, 0),
            (0.65, 0.3, 3, 0.68, 0.6, 0),
            (0.65, 0.3, 2, 0.68, 0.5, 0),
            (0.65, 0.3, 1, 0.65, 1.5, 1),
            (0.67, 0.4, 1, 0.65, 1.5, 1),
        ),
        "saturate": ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)),
    },
}


@dataclass(frozen=True)
class Reference:
    """A reference network of the mean corruption error.

    Attributes:
        name: the network, and where its errors come from.
        errors: corruption -> top-1 error, the mean over the five severities, a fraction.
    """

    name: str
    errors: Mapping[str, float]


# By data set.
REFERENCES = {
    "cifar10": Reference(
        "WRN-16-1 of keras_wrn, first 1,000 test images, `corrupt` with seed 0, 2026-11-29",
        {
            "gaussian_noise": 0.6466,
            "shot_noise": 0.5378,
            "impulse_noise": 0.4444,
            "defocus_blur": 0.1970,
            "glass_blur": 0.5472,
            "motion_blur": 0.2726,
            "zoom_blur": 0.2450,
            "snow": 0.2438,
            "frost": 0.3282,
            "fog": 0.1880,
            "brightness": 0.0962,
            "contrast": 0.3468,
            "elastic_transform": 0.2024,
            "pixelate": 0.3220,
            "jpeg_compression": 0.2364,
        },
    ),
    "imagenet": Reference(
        "AlexNet, published with ImageNet-C (Hendrycks & Dietterich, arXiv:1903.12261)",
        {
            "gaussian_noise": 0.886,
            "shot_noise": 0.894,
            "impulse_noise": 0.923,
            "defocus_blur": 0.820,
            "glass_blur": 0.826,
            "motion_blur": 0.786,
            "zoom_blur": 0.798,
            "snow": 0.867,
            "frost": 0.827,
            "fog": 0.819,
            "brightness": 0.565,
            "contrast": 0.853,
            "elastic_transform": 0.646,
            "pixelate": 0.718,
            "jpeg_compression": 0.607,
        },
    ),
}
