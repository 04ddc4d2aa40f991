"""Whether Keras can start, and with which backend: one sentence instead of a stack trace."""

import importlib.util
import os

_PACKAGE_OF = {"tensorflow": "tensorflow", "jax": "jax", "torch": "torch"}


def require_keras() -> None:
    """Import Keras, or say in one sentence what is missing.

    Raises:
        ImportError: no backend is installed, or not the one that was asked for.
    """
    try:
        import keras  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name not in {"keras", *_PACKAGE_OF.values()}:
            raise
        raise ImportError(_advice(error.name)) from error


def _advice(missing: str) -> str:
    if missing == "keras":
        return "keras_wrn needs Keras 3, which is not installed. Run: pip install keras"
    installed = [name for name in _PACKAGE_OF if importlib.util.find_spec(name)]
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


def name() -> str:
    """The backend that Keras runs on: "tensorflow", "jax" or "torch"."""
    require_keras()
    import keras

    return keras.config.backend()


def quiet_tensorflow() -> None:
    """Ask TensorFlow for warnings and errors only, unless the user has asked for more."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
