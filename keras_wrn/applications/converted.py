"""A converted network, and the files that it is written to."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import keras

from keras_wrn.checkpoints.dialects import Statistics
from keras_wrn.errors import InputError
from keras_wrn.images.preprocessing import Preprocessing
from keras_wrn.networks.blocks import PAPER, Conventions
from keras_wrn.networks.recognition import architecture, conventions_of, count_parameters
from keras_wrn.system.files import write_whole
from keras_wrn.weights.description import write_description

_MODEL, _WEIGHTS = ".keras", ".weights.h5"


@dataclasses.dataclass(frozen=True, eq=False)
class Converted:
    """A converted network.

    Attributes:
        model: the network with the checkpoint's weights.
        dialect: whose names the checkpoint has.
        builder: the function of keras_wrn that builds the network.
        arguments: of that function.
        statistics: mean and std of images if the model normalises them, else None.
        notes: sentences: which network of the file it is, and what was assumed of it.
    """

    model: keras.Model
    dialect: str
    builder: str
    arguments: dict[str, Any]
    statistics: tuple[tuple[float, ...], tuple[float, ...]] | None
    notes: tuple[str, ...] = ()

    def save(self, path: str | os.PathLike[str], preprocessing: Preprocessing | None = None) -> str:
        """Write the model or its weights; the file appears when it is complete.

        The file describes its network, so that `keras-wrn predict --weights FILE` builds it.

        Args:
            path: ends in .keras for the model, in .weights.h5 for the weights alone.
            preprocessing: of the images; kept in the file for predicting and evaluating. Without
                it a network that normalises its images is known to take them as they are.

        Returns:
            Sentences for a person: the network, what was assumed of it, and what a weights file
            leaves out.

        Raises:
            InputError: another ending, or a preprocessing that does not fit the network.

        Example:
            >>> text = convert_checkpoint("wrn.pth").save("wrn.keras")  # doctest: +SKIP
            >>> text.splitlines()[0]  # doctest: +SKIP
            "wide_resnet28_10, 36,479,194 parameters named as by 'xternalz', is in wrn.keras."
        """
        target = check_target(path)
        is_model = target.name.endswith(_MODEL)
        description = self._description(preprocessing, is_model)

        def write(part: Path) -> None:
            (self.model.save if is_model else self.model.save_weights)(part)
            write_description(part, description)

        write_whole(target, write)
        count = count_parameters(self.model)
        lines = [
            f"{self.model.name}, {count:,} parameters named as by {self.dialect!r}, is in {target}."
        ]
        if not is_model:
            lines.append(f"Load it into {self._call()}")
            if self.statistics is not None:
                mean, std = (tuple(round(v, 6) for v in values) for values in self.statistics)
                scale = "0..255" if _on_255(self.statistics) else "[0, 1]"
                lines.append(
                    f"Its images are (x - mean) / std of {scale} with mean {mean}, std {std}; a "
                    f"{_MODEL} file does that itself."
                )
        return "\n".join((*lines, *self.notes))

    def to_json(self) -> dict[str, Any]:
        """The network, whose names its checkpoint had, and the notes, for JSON."""
        return {
            "architecture": architecture(self.model),
            "parameters": count_parameters(self.model),
            "dialect": self.dialect,
            "notes": list(self.notes),
        }

    def _description(self, preprocessing: Preprocessing | None, is_model: bool) -> dict[str, Any]:
        """What the file says of its network."""
        arguments = dict(self.arguments)
        if (conventions := arguments.get("conventions")) is not None:
            arguments["conventions"] = dataclasses.asdict(conventions)
        shape = self.model.input_shape[1:]
        arguments["input_shape"] = list(shape)
        arguments["include_top"] = any(x.name == "predictions" for x in self.model.layers)
        return {
            "name": architecture(self.model),
            "network": {"builder": self.builder, **arguments},
            "conventions": conventions_of(self.model),
            "preprocessing": self._card(preprocessing, is_model),
        }

    def _card(self, preprocessing: Preprocessing | None, is_model: bool) -> dict[str, Any] | None:
        """The preprocessing of the file's images, as in a card; None if nobody knows it."""
        size, _, channels = self.model.input_shape[1:]
        classes = self.model.output_shape[-1]
        if preprocessing is not None:
            names = len(preprocessing.class_names)
            if len(preprocessing.mean) != channels or names not in (0, classes):
                raise InputError(
                    f"The preprocessing must have {channels} channels and name {classes} classes. "
                    f"Received: {len(preprocessing.mean)} channels and {names} class names."
                )
        if self.statistics is None:
            return preprocessing.to_card() if preprocessing is not None else None
        scale = 1.0 if _on_255(self.statistics) else 255.0
        inside = {"mean": (0.0,) * channels, "std": (scale,) * channels}
        if preprocessing is not None:
            if (preprocessing.mean, preprocessing.std) != (inside["mean"], inside["std"]):
                raise InputError(
                    "This network normalises its images itself: give mean 0 and std "
                    f"{scale:g} for each channel. Received: mean={preprocessing.mean}, "
                    f"std={preprocessing.std}."
                )
            card = preprocessing.to_card()
        else:
            card = {"size": size or 32, "class_names": None}
        if not is_model:
            mean, std = self.statistics
            inside = {
                "mean": tuple(scale * value for value in mean),
                "std": tuple(scale * value for value in std),
            }
        return card | inside

    def _call(self) -> str:
        """Write the Python that builds the network."""
        arguments = dict(self.arguments)
        conventions = arguments.pop("conventions", None)
        given = [f"{name}={value!r}" for name, value in arguments.items()]
        differences = [
            f"{field.name}={getattr(conventions, field.name)!r}"
            for field in (dataclasses.fields(conventions) if conventions else ())
            if getattr(conventions, field.name) != field.default
        ]
        if differences:
            given.append(f"conventions=keras_wrn.Conventions({', '.join(differences)})")
        return f"keras_wrn.{self.builder}({', '.join(given)})"


def check_target(path: str | os.PathLike[str]) -> Path:
    """Check the ending of a file to write a model to.

    Args:
        path: must end in .keras or .weights.h5.

    Returns:
        The path.

    Raises:
        InputError: the path has another ending.
    """
    target = Path(path)
    if not target.name.endswith((_MODEL, _WEIGHTS)):
        raise InputError(f"The file to write must end in {_MODEL} or {_WEIGHTS}. Received: {path}")
    return target


def assumed(conventions: Conventions | None, statistics: Statistics | None) -> str:
    """Write a sentence about what the names of a checkpoint do not tell.

    Args:
        conventions: of the network that was built; None: of an ImageNet network.
        statistics: mean and std of images, if the network normalises them.

    Example:
        >>> conventions = keras_wrn.Conventions()
        >>> "epsilon 1e-05; images in [0, 1]" in assumed(conventions, ((0.5,), (0.25,)))
        True
    """
    if conventions is None:
        parts = ["relu, also after additions", "zeros (1, 1) around a strided convolution"]
        parts += ["the stride in the first 3x3 convolution of a block"]
        epsilon = PAPER.bn_epsilon
    else:
        slope, epsilon = conventions.negative_slope, conventions.bn_epsilon
        source, _, where = conventions.projection_input.partition(" ")
        parts = [
            conventions.activation + (f" of slope {slope:g}" if slope else ""),
            f"zeros {conventions.strided_padding} around a strided convolution",
            f"the stride in convolution {conventions.strided_conv} of a block",
            f"projections of the {source} input{' ' if where else ''}{where}",
        ]
        if conventions.branch_input == "raw":
            parts.append("beside them convolutions of the raw input")
    parts.append(f"batch normalisation's epsilon {epsilon:g}")
    if statistics is None:
        images = "images that are normalised as their owner did"
    else:
        images = (
            f"images {'on 0..255' if _on_255(statistics) else 'in [0, 1]'}, which it normalises"
        )
    return (
        f"Assumed, because names do not tell: {', '.join(parts)}; {images}. If one is wrong, so "
        "are the logits: compare one batch with the original."
    )


def _on_255(statistics: Statistics) -> bool:
    """Whether mean and std are of pixels on 0..255; in [0, 1] neither can be above 1."""
    return max(*statistics[0], *statistics[1]) > 1
