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

TYPE_CHECKING = False  # type checkers read it as True, and `typing` need not be imported
if TYPE_CHECKING:  # what __getattr__ below finds
    from keras_wrn import applications as applications
    from keras_wrn import augment as augment
    from keras_wrn import datasets as datasets
    from keras_wrn import optimizers as optimizers
    from keras_wrn.applications import PreActResNet164 as PreActResNet164
    from keras_wrn.applications import PreActResNet1001 as PreActResNet1001
    from keras_wrn.applications import WideResNet as WideResNet
    from keras_wrn.applications import WideResNet16_1 as WideResNet16_1
    from keras_wrn.applications import WideResNet16_2 as WideResNet16_2
    from keras_wrn.applications import WideResNet16_4 as WideResNet16_4
    from keras_wrn.applications import WideResNet16_8 as WideResNet16_8
    from keras_wrn.applications import WideResNet16_10 as WideResNet16_10
    from keras_wrn.applications import WideResNet18 as WideResNet18
    from keras_wrn.applications import WideResNet22_2 as WideResNet22_2
    from keras_wrn.applications import WideResNet22_8 as WideResNet22_8
    from keras_wrn.applications import WideResNet22_10 as WideResNet22_10
    from keras_wrn.applications import WideResNet28_2 as WideResNet28_2
    from keras_wrn.applications import WideResNet28_10 as WideResNet28_10
    from keras_wrn.applications import WideResNet28_12 as WideResNet28_12
    from keras_wrn.applications import WideResNet34 as WideResNet34
    from keras_wrn.applications import WideResNet34_10 as WideResNet34_10
    from keras_wrn.applications import WideResNet40_1 as WideResNet40_1
    from keras_wrn.applications import WideResNet40_2 as WideResNet40_2
    from keras_wrn.applications import WideResNet40_4 as WideResNet40_4
    from keras_wrn.applications import WideResNet40_8 as WideResNet40_8
    from keras_wrn.applications import WideResNet40_10 as WideResNet40_10
    from keras_wrn.applications import WideResNet50_2 as WideResNet50_2
    from keras_wrn.applications import WideResNet52_1 as WideResNet52_1
    from keras_wrn.applications import WideResNet101_2 as WideResNet101_2
    from keras_wrn.applications.conversion import convert as convert
    from keras_wrn.deploy.saved_model import export as export
    from keras_wrn.errors import InputError as InputError
    from keras_wrn.images.class_names import decode_predictions as decode_predictions
    from keras_wrn.images.preprocessing import Preprocessing as Preprocessing
    from keras_wrn.images.preprocessing import preprocess_input as preprocess_input
    from keras_wrn.inference.evaluation import evaluate as evaluate
    from keras_wrn.inference.prediction import predict as predict
    from keras_wrn.inference.trained import load_trained as load_trained
    from keras_wrn.insight.assessment import assess as assess
    from keras_wrn.insight.attacks import attack as attack
    from keras_wrn.insight.attacks import robust_error as robust_error
    from keras_wrn.insight.audit import audit as audit
    from keras_wrn.insight.corruptions import corrupt as corrupt
    from keras_wrn.insight.corruptions import corruption_errors as corruption_errors
    from keras_wrn.insight.corruptions import mean_corruption_error as mean_corruption_error
    from keras_wrn.insight.ensembles import ensemble as ensemble
    from keras_wrn.insight.features import features as features
    from keras_wrn.insight.grad_cam import draw_grad_cam as draw_grad_cam
    from keras_wrn.insight.grad_cam import grad_cam as grad_cam
    from keras_wrn.networks.blocks import Conventions as Conventions
    from keras_wrn.release.publishing import publish as publish
    from keras_wrn.training.recipe import Recipe as Recipe
    from keras_wrn.training.run import train as train
    from keras_wrn.weights.finding import list_weights as list_weights
    from keras_wrn.weights.loading import load_weights as load_weights

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


if not TYPE_CHECKING:  # to a type checker, this would be any name

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
