"""Wide Residual Networks for Keras 3.

Zagoruyko & Komodakis, "Wide Residual Networks", arXiv:1605.07146.

>>> import keras_wrn
>>> model = keras_wrn.WideResNet16_1(classes=10)
>>> model.count_params()
175994

Names resolve on first use, so that importing the package costs nothing and a program
that only prints its help never starts a backend.
"""

import importlib

__version__ = "0.1.0"

_MODULES = ("datasets", "optimizers", "augment", "applications")
_HOMES = {
    "wide_resnet": ("WideResNet",),
    "wide_resnet_imagenet": (
        "WideResNet18",
        "WideResNet34",
        "WideResNet50_2",
        "WideResNet101_2",
    ),
    "applications": (
        "WideResNet16_1",
        "WideResNet16_2",
        "WideResNet16_4",
        "WideResNet16_8",
        "WideResNet16_10",
        "WideResNet22_2",
        "WideResNet22_8",
        "WideResNet22_10",
        "WideResNet28_2",
        "WideResNet28_10",
        "WideResNet28_12",
        "WideResNet34_10",
        "WideResNet40_1",
        "WideResNet40_2",
        "WideResNet40_4",
        "WideResNet40_8",
        "WideResNet40_10",
        "WideResNet52_1",
        "PreActResNet164",
        "PreActResNet1001",
    ),
    "block_types": ("Conventions",),
    "errors": ("InputError",),
    "preprocessing": ("preprocess_input",),
    "decoding": ("decode_predictions",),
    "recipe": ("Recipe",),
    "training": ("train",),
    "evaluation": ("evaluate",),
    "prediction": ("predict",),
    "exporting": ("export",),
    "runs": ("load_trained",),
    "converters": ("convert",),
    "weights": ("load_weights",),
    "published_list": ("list_weights",),
    "publishing": ("publish",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = sorted([*_HOME_OF, *_MODULES])


def __getattr__(name: str) -> object:
    if name not in _HOME_OF and name not in _MODULES:
        raise AttributeError(f"module 'keras_wrn' has no attribute {name!r}")
    if name != "datasets":  # reads files with NumPy alone
        from keras_wrn.backend import require_keras

        require_keras()
    if name in _MODULES:
        return importlib.import_module(f"keras_wrn.{name}")
    value = getattr(importlib.import_module(f"keras_wrn.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
