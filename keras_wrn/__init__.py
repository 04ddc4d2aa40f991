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
    "applications": (
        "WideResNet",
        "WideResNet18",
        "WideResNet34",
        "WideResNet50_2",
        "WideResNet101_2",
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
    "applications.conversion": ("convert",),
    "deploy.saved_model": ("export",),
    "errors": ("InputError",),
    "images.class_names": ("decode_predictions",),
    "images.preprocessing": ("Preprocessing", "preprocess_input"),
    "inference.evaluation": ("evaluate",),
    "inference.prediction": ("predict",),
    "inference.trained": ("load_trained",),
    "insight.assessment": ("assess",),
    "insight.attacks": ("attack", "robust_error"),
    "insight.audit": ("audit",),
    "insight.corruptions": ("corrupt", "corruption_errors", "mean_corruption_error"),
    "insight.ensembles": ("ensemble",),
    "insight.features": ("features",),
    "insight.grad_cam": ("draw_grad_cam", "grad_cam"),
    "networks.blocks": ("Conventions",),
    "release.publishing": ("publish",),
    "training.recipe": ("Recipe",),
    "training.run": ("train",),
    "weights.finding": ("list_weights",),
    "weights.loading": ("load_weights",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

_WITHOUT_BACKEND = ("InputError", "Preprocessing", "Recipe", "datasets", "list_weights")

__all__ = sorted([*_HOME_OF, *_MODULES])


def __getattr__(name: str) -> object:
    if name not in _HOME_OF and name not in _MODULES:
        raise AttributeError(f"module 'keras_wrn' has no attribute {name!r}")
    if name not in _WITHOUT_BACKEND:
        from keras_wrn.system.backend import require_keras

        require_keras()
    if name in _MODULES:
        return importlib.import_module(f"keras_wrn.{name}")
    value = getattr(importlib.import_module(f"keras_wrn.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
