"""Start Keras, or say in one sentence why it cannot start; optional packages."""

import contextlib
import importlib
import importlib.util
import re
from collections.abc import Iterator, Sequence
from typing import Any

from keras_wrn.errors import InputError

BACKENDS = ("tensorflow", "jax", "torch")


def require_keras() -> None:
    """Import Keras.

    Raises:
        ImportError: Keras or its backend is not installed, or KERAS_BACKEND names no backend. The
            message says what to do.
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
    """Whether TensorFlow is installed; it is not imported."""
    return importlib.util.find_spec("tensorflow") is not None


@contextlib.contextmanager
def float32() -> Iterator[None]:
    """Build networks in float32, whatever Keras' dtype policy is."""
    import keras

    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)


def import_package(module: str, package: str, purpose: str) -> Any:
    """Import an optional package.

    Args:
        module: the module to import, such as "scipy.io".
        package: the package that has it, as pip knows it.
        purpose: what needs it, as the subject of the error's sentence.

    Raises:
        InputError: it is not installed; the message has the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise InputError(not_installed(purpose, package)) from error


def require_packages(packages: Sequence[str], purpose: str) -> None:
    """Check that packages, whose modules have their names, are installed; none is imported.

    Raises:
        InputError: some are not; the message names all of them, and the command that installs them.
    """
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            f"{purpose} needs {', '.join(missing)}, not installed here. "
            f"Run: pip install {' '.join(missing)}"
        )


def not_installed(purpose: str, package: str) -> str:
    """The sentence about a missing package, with the command that installs it."""
    return f"{purpose} needs {package}, which is not installed. Run: pip install {package}"


def leave_gpus() -> None:
    """Hide the GPUs from TensorFlow, which would take their memory from another backend."""
    import keras

    if keras.config.backend() != "tensorflow" and tensorflow_installed():
        import tensorflow as tf

        # A program that has used them through TensorFlow before gets this error.
        with contextlib.suppress(RuntimeError):
            tf.config.set_visible_devices([], "GPU")
