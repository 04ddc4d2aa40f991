"""Load weights into a model, strictly and by layer name.

Keras' own `load_weights` reads a `.weights.h5` file by class and order: with
`skip_mismatch=True`, WRN-16-2's file fills four layers of WRN-22-2 with other layers' weights,
in silence. Here a layer takes what was stored under its name, and everything is checked before
anything is copied.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from keras_wrn.errors import InputError
from keras_wrn.networks.recognition import architecture, conventions_of, layers_by_name
from keras_wrn.system.console import say
from keras_wrn.weights.card import WEIGHTS_FILE
from keras_wrn.weights.description import read_description
from keras_wrn.weights.files import SUFFIXES, Layers, is_keyword, read_weights
from keras_wrn.weights.finding import find

if TYPE_CHECKING:
    import keras

HEAD = "predictions"  # the classifier, the only layer whose shape depends on the classes
_PAPER = "the paper's conventions"
_SHOWN = 3  # layers named in a message


class LoadReport(NamedTuple):
    """What became of each layer.

    Attributes:
        loaded: names of the layers that were filled from the file.
        missing: names of the model's layers that the file lacks; they keep their weights.
        unused: names of the file's layers that the model lacks.
    """

    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]


def load_weights(
    model: keras.Model, source: str | os.PathLike[str], *, strict: bool = True
) -> LoadReport:
    """Copy weights into the layers of the same names, or change nothing.

    If the model has no classifier (`include_top=False`) or another number of classes, the
    classifier is left out; the report and a line on the screen say so.

    Args:
        model: a network of keras_wrn; with a path, any model whose layers have these names.
        source: the data set of published weights, such as "cifar10", or a path: a `.weights.h5`
            or `.safetensors` file, or a run folder ("./run", because a bare word is a data set).
        strict: refuse layers, other than the classifier, that only the model or only the file
            has. False: leave them out and report them.

    Returns:
        The names of the layers loaded, missing and unused.

    Raises:
        InputError: there are no such weights, they are damaged, or they do not fit; the model
            is unchanged.

    Example:
        >>> model = keras_wrn.WideResNet16_4(classes=7)
        >>> load_weights(model, "cifar10").missing  # doctest: +SKIP
        ('predictions',)
    """
    path = _path(source)
    if path is None:
        path = find(architecture(model), str(source)).weights_file()
    report = _load(model, path, strict=strict)
    _say(report, model, path)
    return report


def load_pretrained(
    model: keras.Model, source: str | os.PathLike[str], *, include_top: bool
) -> None:
    """Load a builder's `weights`; here the classifier is never left out.

    Args:
        model: the new network.
        source: as for `load_weights`.
        include_top: whether the model has a classifier.

    Raises:
        InputError: as by `load_weights`, or the classifier has another number of classes.
    """
    path = _path(source)
    if path is None:
        published = find(architecture(model), str(source))
        classes = published.card.network.get("classes")
        if include_top and classes != model.output_shape[-1]:
            raise InputError(_other_classes(source, model, f"{classes} classes"))
        path = published.weights_file()
    report = _load(model, path)
    if HEAD in report.missing and include_top:
        raise InputError(_other_classes(source, model, "another classifier or none"))
    _say(report, model, path)


def load_exactly(model: keras.Model, path: Path) -> None:
    """Load a file that has exactly the layers of the model. Raises InputError otherwise."""
    report = _load(model, path)
    if report.missing or report.unused:
        raise InputError(
            f"{path} does not hold the weights of {model.name}: it is another classifier's."
        )


def _path(source: str | os.PathLike[str]) -> Path | None:
    """The weights file of a path, or None for the keyword of published weights."""
    if is_keyword(source):
        return None
    path = Path(source)
    return path / WEIGHTS_FILE if path.is_dir() else path


def _load(model: keras.Model, path: Path, *, strict: bool = True) -> LoadReport:
    _check_conventions(model, path)
    report, pairs = _match(model, read_weights(path), path, strict)
    for variable, values in pairs:
        variable.assign(values)
    return report


def _check_conventions(model: keras.Model, path: Path) -> None:
    """Refuse a file's weights for a network that computes something else with them."""
    if path.suffix not in SUFFIXES or not path.is_file():
        return
    description = read_description(path)
    theirs = description["conventions"] if description else None
    ours = conventions_of(model)
    if theirs is not None and ours is not None and theirs != ours:
        raise InputError(
            f"{path} holds the weights of a network with {theirs or _PAPER}, and {model.name} "
            f"has {ours or _PAPER}. Build the network with "
            f"conventions={description and description['network'].get('conventions')!r}."
        )


def _say(report: LoadReport, model: keras.Model, path: Path) -> None:
    """Show what was left out, if anything."""
    parts = ((report.missing, "left as the model had it"), (report.unused, "of the file not used"))
    left_out = [f"{', '.join(names)} {what}" for names, what in parts if names]
    if left_out:
        say(f"{model.name} has the weights of {path}: {'; '.join(left_out)}.")


def _match(
    model: keras.Model, stored: Layers, path: Path, strict: bool
) -> tuple[LoadReport, list[tuple[Any, np.ndarray]]]:
    """Pair the variables of a model with the tensors of a file."""
    places = {name: layer.weights for name, layer in layers_by_name(model).items() if layer.weights}
    loaded, missing, wrong = [], [], []
    pairs: list[tuple[Any, np.ndarray]] = []
    for name, variables in places.items():
        if name not in stored:
            missing.append(name)
            continue
        numbered = "0" in stored[name]
        keys = [str(i) if numbered else v.name for i, v in enumerate(variables)]
        ours = {key: tuple(v.shape) for key, v in zip(keys, variables, strict=True)}
        theirs = {key: tensor.shape for key, tensor in stored[name].items()}
        if ours == theirs:
            loaded.append(name)
            for key, variable in zip(keys, variables, strict=True):
                tensor = stored[name][key]
                if "float" in variable.dtype and tensor.dtype.kind != "f":
                    raise InputError(
                        f"{path} must hold floats. Received: {tensor.dtype} in {name} {key}."
                    )
                pairs.append((variable, tensor))
        elif name == HEAD and _without_classes(ours) == _without_classes(theirs):
            missing.append(name)
        else:
            shapes = (", ".join(map(str, layer.values())) for layer in (theirs, ours))
            wrong.append(f"{name} is {' there and '.join(shapes)} in the model")
    unused = sorted(name for name in stored if name not in places or name in missing)
    report = LoadReport(tuple(loaded), tuple(missing), tuple(unused))
    if not wrong and strict:
        wrong += [f"{name} is not in the file" for name in missing if name != HEAD]
        wrong += [f"{name} is not in the model" for name in unused if name != HEAD]
    if not wrong and not loaded:
        wrong.append("no layer of the file is in the model")
    if wrong:
        more = f"; and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise InputError(
            f"{path} does not hold the weights of {model.name}: {'; '.join(wrong[:_SHOWN])}{more}."
        )
    return report, pairs


def _without_classes(shapes: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    return {key: shape[:-1] for key, shape in shapes.items()}


def _other_classes(source: object, model: keras.Model, what: str) -> str:
    return (
        f"The weights {str(source)!r} have {what}, and the model has {model.output_shape[-1]}. "
        "Build it with include_top=False, or with weights=None and call "
        f"keras_wrn.load_weights(model, {str(source)!r}), which leaves the classifier as it is. "
        f"Received: weights={str(source)!r}, classes={model.output_shape[-1]}."
    )
