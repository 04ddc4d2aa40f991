"""Grad-CAM: which parts of an image speak for a class."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_wrn.errors import InputError
from keras_wrn.insight.gradients import gradient_function
from keras_wrn.insight.graph import check_unique, leaf_layers, logits_function, single_input


def grad_cam(
    model: keras.Model, image: np.ndarray, class_index: int, *, layer: str | None = None
) -> np.ndarray:
    """Weigh the planes of a layer by the gradient of a class' logit.

    Args:
        model: a classifier that ends in a softmax or in logits; functional or sequential, and the
            layer may stand in a model inside it.
        image: what the model takes, one image: (height, width, channels).
        class_index: the class to explain, 0 to classes - 1.
        layer: the name of a layer with feature maps (batch, rows, columns, planes); None for the
            last one, which is the last ReLU of our networks.

    Returns:
        float32, (rows, columns) of that layer, 0 or above, in the unit of the logit's change:
        draw it by `draw_grad_cam`.

    Raises:
        InputError: the image, the class or the layer do not fit the model.

    Example:
        >>> model = keras_wrn.WideResNet(10, 1)
        >>> grad_cam(model, np.ones((32, 32, 3), "float32"), 3).shape
        (8, 8)

    Source: Selvaraju et al., "Grad-CAM", arXiv:1610.02391, equations 1 and 2.
    """
    start = _checked(model, image, class_index)
    name = _feature_layer(model, layer)
    check_unique(model, name)
    images = ops.convert_to_tensor(np.asarray(image)[None].astype(start.dtype))
    seen: dict[str, Any] = {}

    def keep(leaf: Any, result: Any) -> Any:
        if leaf.name == name:
            seen["maps"] = result
        return result

    logits_function(model, keep)(images)

    def score(maps: Any) -> Any:
        # The same graph once more, with the layer's output as a variable.
        logits = logits_function(model, lambda leaf, result: maps if leaf.name == name else result)
        return logits(images)[:, class_index]

    maps = ops.convert_to_numpy(seen["maps"]).astype(np.float32)
    _, slopes = gradient_function(score, compiled=False)(maps)
    weights = slopes.mean(axis=(1, 2), keepdims=True)
    return np.maximum((weights * maps).sum(axis=-1)[0], 0)


def draw_grad_cam(
    picture: np.ndarray, heat: np.ndarray, strength: float = 0.5, *, maximum: float | None = None
) -> np.ndarray:
    """Lay the heat of `grad_cam` over a picture, from blue (nothing) over green to red (most).

    Args:
        picture: uint8, (height, width, 3).
        heat: (rows, columns), of any size, 0 or above.
        strength: the share of the heat's colour, in [0, 1].
        maximum: the heat that is drawn red; None for the largest of this picture.

    Returns:
        A new uint8 picture of the same shape.

    Raises:
        InputError: no such picture, heat or strength.

    Example:
        >>> grey = np.full((32, 32, 3), 100, "uint8")
        >>> draw_grad_cam(grey, np.zeros((8, 8)))[0, 0].tolist()
        [50, 50, 178]
    """
    from PIL import Image

    picture, heat = np.asarray(picture), np.asarray(heat, np.float32)
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[-1] != 3:
        raise InputError(
            "`picture` must be uint8 of shape (height, width, 3). "
            f"Received: {picture.dtype} of shape {picture.shape}."
        )
    if heat.ndim != 2 or not np.isfinite(heat).all() or heat.min() < 0:
        raise InputError(
            "`heat` must be finite numbers from 0, of shape (rows, columns). "
            f"Received: shape {heat.shape}."
        )
    if not 0 <= strength <= 1:
        raise InputError(f"`strength` must be in [0, 1]. Received: strength={strength!r}.")
    height, width = picture.shape[:2]
    large = Image.fromarray(heat).resize((width, height), Image.Resampling.BILINEAR)
    most = float(heat.max()) if maximum is None else maximum
    share = np.asarray(large) / max(most, np.finfo(np.float32).tiny)
    points = np.linspace(0, 1, 3)
    colours = np.stack(
        [np.interp(share, points, channel) for channel in ((0, 0, 255), (0, 255, 0), (255, 0, 0))],
        axis=-1,
    )
    return np.round((1 - strength) * picture + strength * colours).astype(np.uint8)


def _checked(model: keras.Model, image: np.ndarray, class_index: int) -> Any:
    """The model's input, if the image and the class fit it."""
    start = single_input(model)
    shape, wanted = np.shape(image), tuple(start.shape[1:])
    fits = len(shape) == len(wanted) and all(
        side in (None, size) for side, size in zip(wanted, shape)
    )
    if not fits:
        raise InputError(
            f"`image` must be one image of the model's shape {wanted}. Received: shape {shape}."
        )
    classes = model.output_shape[-1]
    is_number = isinstance(class_index, (int, np.integer)) and not isinstance(class_index, bool)
    if not is_number or not 0 <= class_index < classes:
        raise InputError(
            f"`class_index` must be from 0 to {classes - 1}. Received: class_index={class_index!r}."
        )
    return start


def _feature_layer(model: keras.Model, wanted: str | None) -> str:
    """The name of the layer whose feature maps are explained."""
    maps = [layer for layer in leaf_layers(model) if _is_map(layer)]
    if wanted is None and (large := [m for m in maps if m.output.shape[1:3] != (1, 1)]):
        return large[-1].name
    if wanted not in [layer.name for layer in maps]:
        names = ", ".join(layer.name for layer in maps[-5:]) or "none"
        raise InputError(
            "`layer` must be a layer with feature maps (batch, rows, columns, planes). "
            f"Received: layer={wanted!r}. The last ones are {names}."
        )
    return str(wanted)


def _is_map(layer: Any) -> bool:
    """Whether a layer gives one output of four dimensions."""
    return len(getattr(getattr(layer, "output", None), "shape", ())) == 4
