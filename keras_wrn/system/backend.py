"""Whether Keras can start, and with which backend: one sentence instead of a stack trace."""

import contextlib
import importlib
import importlib.util
import re
from collections.abc import Iterator
from typing import Any

from keras_wrn.errors import InputError

BACKENDS = ("tensorflow", "jax", "torch")


def require_keras() -> None:
    """Import Keras, or say in one sentence what is missing.

    Raises:
        ImportError: no backend is installed, not the one that was asked for, or there is none
            of that name.
    """
    try:
        import keras  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name not in {"keras", "openvino", *BACKENDS}:
            raise
        raise ImportError(_advice(error.name)) from error
    except ValueError as error:
        asked = re.fullmatch("Unable to import backend : (.*)", str(error))
        if asked is None:
            raise
        raise ImportError(
            f"Keras has no such backend. Set the environment variable KERAS_BACKEND to one of "
            f"{', '.join(BACKENDS)}. Received: {asked[1]}."
        ) from error


def _advice(missing: str) -> str:
    if missing == "keras":
        return "keras_wrn needs Keras 3, which is not installed. Run: pip install keras"
    installed = [name for name in BACKENDS if importlib.util.find_spec(name)]
    if not installed:
        return (
            "keras_wrn needs a backend for Keras, and none is installed. Run one of: "
            'pip install "keras-wide-resnet[tf-cpu]" (TensorFlow without GPU support), '
            '"keras-wide-resnet[tf]" (TensorFlow), "keras-wide-resnet[jax]" (JAX, then set '
            "KERAS_BACKEND=jax)."
        )
    return (
        f"Keras was asked for the {missing} backend, which is not installed; installed: "
        f"{', '.join(installed)}. Set the environment variable KERAS_BACKEND={installed[0]} "
        f"or install {missing}."
    )


def tensorflow_installed() -> bool:
    """Whether TensorFlow can be imported here (it is not imported to find out)."""
    return importlib.util.find_spec("tensorflow") is not None


@contextlib.contextmanager
def float32() -> Iterator[None]:
    """Build in float32 whatever precision a program uses: for what is measured or kept."""
    import keras

    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)


def import_package(module: str, package: str, purpose: str) -> Any:
    """Import what reads a data set; raises InputError, with the command, where it is absent."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise InputError(not_installed(purpose, package)) from error


def not_installed(purpose: str, package: str) -> str:
    """The sentence on a package that is absent, with the command that installs it."""
    return f"{purpose} needs {package}, which is not installed. Run: pip install {package}"
