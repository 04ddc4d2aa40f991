"""Networks whose errors under the 15 corruptions count as 1."""

from collections.abc import Mapping
from dataclasses import dataclass


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
