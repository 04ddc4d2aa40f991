"""The command `doctor`: what is installed and found here, for a bug report."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import re
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_wrn.errors import InputError

if TYPE_CHECKING:
    import argparse

DISTRIBUTION = "keras-wide-resnet"
EXTRAS = "train insight hub imagenet detection engines serve".split()
WRONG = "not usable"


def add_doctor(commands: Any) -> None:
    """Add `doctor` to the command line."""
    parser = commands.add_parser(
        "doctor", help="say what is installed and found here", usage="keras-wrn doctor [--json]"
    )
    parser.description = (
        "Say which versions, backends, GPUs, extras, data sets and weights are here. Put the "
        "answer into a bug report."
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(answer=_doctor)


def _doctor(arguments: argparse.Namespace) -> str:
    found = examine()
    if arguments.json:
        return json.dumps(found)
    lines = []
    for title, content in found.items():
        pairs = content.items() if isinstance(content, dict) else [(title, content)]
        lines.append(title)
        lines += [f"  {key:<26} {value}" for key, value in pairs]
    return "\n".join(lines)


def examine() -> dict[str, Any]:
    """What there is: "system", "backend", "extras", "data sets" and "weights", in words."""
    return {
        "system": _system(),
        "backend": _backend(),
        "extras": _extras(),
        "data sets": _data_sets(),
        "weights": _weights(),
    }


def _system() -> dict[str, str]:
    import keras_wrn

    names = ("keras", "tensorflow", "tensorflow-cpu", "jax", "torch", "numpy", "pillow")
    return {
        "keras_wrn": f"{keras_wrn.__version__} in {Path(__file__).parents[1]}",
        "python": f"{platform.python_version()} on {platform.platform()}",
        **{name: version for name in names if (version := _version(name))},
    }


def _backend() -> dict[str, str]:
    from keras_wrn.cli.program import start_keras
    from keras_wrn.system import machine

    found = {"KERAS_BACKEND": os.environ.get("KERAS_BACKEND") or "not set"}
    try:
        start_keras()
        import keras

        return found | {
            "used": keras.config.backend(),
            "hardware": machine.hardware(),
            "image_data_format": keras.config.image_data_format(),
            "dtype_policy": keras.config.dtype_policy().name,
        }
    except ImportError as error:
        return found | {WRONG: str(error)}
    except Exception as error:  # packages that do not fit each other can raise any exception
        reason = str(error).strip().partition("\n")[0]
        return found | {WRONG: f"{type(error).__name__}: {reason}"}


def _extras() -> dict[str, str]:
    """Of each extra, "complete", or what is missing."""
    try:
        requirements = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return {WRONG: f"{DISTRIBUTION} is not installed: pip install --editable . in its folder"}
    found = {}
    for extra in EXTRAS:
        named = [r for r in requirements if re.search(rf"""extra == ['"]{extra}['"]""", r)]
        packages = [re.split(r"[<>=!~;\[ ]", requirement, maxsplit=1)[0] for requirement in named]
        missing = [name for name in packages if not _version(name)]
        found[extra] = f"lacks {', '.join(missing)}" if missing else "complete"
        if not packages:
            found[extra] = "unknown here: the installed metadata are older than the package"
    if importlib.util.find_spec("tensorflow_serving") is None:
        found["serve"] += "; for gRPC: pip install --no-deps tensorflow-serving-api"
    return found


def _data_sets() -> dict[str, str]:
    from keras_wrn.datasets.loading import default_dir

    folder = default_dir()
    names = sorted(entry.name for entry in folder.glob("[!.]*"))
    return {"folder": str(folder), "there": ", ".join(names) or "nothing"}


def _weights() -> dict[str, str]:
    from keras_wrn.weights.card import WEIGHTS_FILE
    from keras_wrn.weights.finding import local
    from keras_wrn.weights.published import addresses, cache

    try:
        there = [one.folder for one in local() if (one.folder / WEIGHTS_FILE).is_file()]
    except InputError as error:
        return {WRONG: str(error)}
    return {
        "there": ", ".join(dict.fromkeys(folder.name for folder in there)) or "none",
        "cache": str(cache()),
        "addresses": ", ".join(addresses()) or "none",
    }


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
