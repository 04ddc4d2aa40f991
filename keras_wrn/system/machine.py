"""The hardware and the versions that a figure was measured with."""

import collections
import datetime
import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any


def conditions() -> dict[str, Any]:
    """The conditions of a measurement: "hardware", "versions" and "date"."""
    return {
        "hardware": hardware(),
        "versions": versions(),
        "date": datetime.date.today().isoformat(),
    }


def versions() -> dict[str, str]:
    """Installed version of each package that matters to a run, and Keras' "backend"."""
    import keras

    import keras_wrn

    found = {"python": platform.python_version(), "keras_wrn": keras_wrn.__version__}
    found["backend"] = keras.config.backend()
    for package in ("keras", "tensorflow", "tensorflow-cpu", "jax", "torch", "numpy"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def hardware() -> str:
    """The processors that this process may use and, if Keras is imported, its accelerators.

    Example: "2 x EPYC 9R14, 1 x H200".
    """
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(line.split(":", 1)[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        pass
    allowed = getattr(os, "sched_getaffinity", None)  # Linux has it
    processors = len(allowed(0)) if allowed else os.cpu_count()
    found = collections.Counter(_accelerators())
    return ", ".join([f"{processors} x {model}", *(f"{n} x {name}" for name, n in found.items())])


def _accelerators() -> list[str]:
    """The name of each accelerator; empty if Keras is not imported, to start no backend."""
    keras = sys.modules.get("keras")
    backend = keras.config.backend() if keras else None
    if backend == "tensorflow":
        import tensorflow as tf

        devices = [d for d in tf.config.get_visible_devices() if d.device_type in ("GPU", "TPU")]
        details = [tf.config.experimental.get_device_details(device) for device in devices]
        return [d.get("device_name", v.device_type) for d, v in zip(details, devices, strict=True)]
    if backend == "jax":
        import jax

        return [device.device_kind for device in jax.devices() if device.platform != "cpu"]
    if backend == "torch":
        import torch

        return [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return []
