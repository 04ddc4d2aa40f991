"""What every keras.applications network shares: how it opens, and how it closes.

`open_input` and `close_model` give `input_tensor`, `input_shape`, `include_top`, `pooling`,
`classes` and `classifier_activation` the meaning they have in keras.applications, for the
CIFAR networks and the ImageNet networks alike.
"""

import numbers
import sys
from collections.abc import Callable, Iterable
from typing import Any

import keras
from keras import layers

from keras_wrn.errors import InputError
from keras_wrn.networks.blocks import positive_integer
from keras_wrn.weights.files import is_keyword

KerasTensor = Any  # keras.KerasTensor, for which Keras ships no useful type
# The authors' linear layer: uniform in +-1/sqrt(fan_in), which is variance scaling by 1/3
# (PAPER.md 1.12, Torch's default).
CLASSIFIER_SCALE = 1.0 / 3.0
MANY_BLOCKS = 200  # residual blocks, from which on Keras may need a deeper stack of Python's


def check_arguments(
    *,
    weights: object,
    include_top: bool,
    pooling: str | None,
    classes: int,
    classifier_activation: str | Callable[..., Any] | None,
) -> None:
    """Refuse what no network of this package accepts, before any layer is made."""
    positive_integer("classes", classes)
    if pooling not in (None, "avg", "max"):
        raise InputError(f"`pooling` must be None, 'avg' or 'max'. Received: pooling={pooling!r}")
    if weights is not None and not isinstance(weights, str) and not hasattr(weights, "__fspath__"):
        raise InputError(
            "`weights` must be None, the name of a data set or the path of a weights file. "
            f"Received: weights={weights!r}"
        )
    received = f"Received: classifier_activation={classifier_activation!r}"
    try:
        activation = keras.activations.get(classifier_activation)
    except ValueError as error:
        raise InputError(
            "`classifier_activation` must be the name of a Keras activation, a function or None. "
            + received
        ) from error
    linear_or_softmax = (keras.activations.linear, keras.activations.softmax)
    if include_top and weights is not None and activation not in linear_or_softmax:
        raise InputError(
            "With pretrained weights and a classifier, `classifier_activation` must be None or "
            f"'softmax'. {received}"
        )


def open_input(
    input_tensor: KerasTensor | None,
    input_shape: tuple[int | None, ...] | None,
    *,
    include_top: bool,
    weights: object,
    default_size: int,
    min_size: int,
) -> KerasTensor:
    """The symbolic input of a network: (batch, height, width, channels).

    Args:
        input_tensor: a Keras tensor to build on, or None.
        input_shape: (height, width, channels); height and width may be None.
        include_top: with a classifier, the default size is `default_size`; without, any size.
        weights: what is going to be loaded; published weights have 3 input channels.
        default_size: height and width in pixels where nothing else is said.
        min_size: the smallest height and width in pixels that the network can take.

    Raises:
        InputError: no Keras tensor, or a shape that is not three numbers, too small, or has the
            wrong channels.
    """
    shape: tuple[Any, ...]
    if input_tensor is not None:
        if not keras.backend.is_keras_tensor(input_tensor):
            raise InputError(
                "`input_tensor` must be a Keras tensor, such as keras.Input((32, 32, 3)). "
                f"Received: input_tensor of type {type(input_tensor).__name__}"
            )
        shape = tuple(input_tensor.shape[1:])
    elif input_shape is not None:
        shape = tuple(input_shape) if isinstance(input_shape, Iterable) else (input_shape,)
    else:
        size = default_size if include_top else None
        shape = (size, size, 3)
    if len(shape) != 3 or not all(
        side is None or isinstance(side, numbers.Integral) for side in shape
    ):
        raise InputError(
            "`input_shape` must be (height, width, channels), three numbers. "
            f"Received: input_shape={shape}"
        )
    height, width, channels = shape
    if channels is None or channels < 1:
        raise InputError(
            f"`input_shape` must say how many channels there are. Received: input_shape={shape}"
        )
    if any(side is not None and side < min_size for side in (height, width)):
        raise InputError(
            f"Images must be at least {min_size}x{min_size} pixels. Received: input_shape={shape}"
        )
    if is_keyword(weights) and channels != 3:
        raise InputError(
            f"Published weights take images of 3 channels. Received: input_shape={shape} "
            f"with weights={weights!r}. Use weights=None for {channels} channels."
        )
    return keras.Input(shape=shape) if input_tensor is None else input_tensor


def close_model(
    x: KerasTensor,
    inputs: KerasTensor,
    *,
    include_top: bool,
    pooling: str | None,
    classes: int,
    classifier_activation: str | Callable[..., Any] | None,
    name: str,
) -> keras.Model:
    """Add the head and make the model; the last step of every network of the package.

    The classifier is kept in the variables' dtype, so that under mixed precision the
    probabilities are float32.
    """
    if include_top:
        x = layers.GlobalAveragePooling2D(data_format="channels_last", name="avg_pool")(x)
        x = layers.Dense(
            int(classes),
            activation=classifier_activation,
            kernel_initializer=keras.initializers.VarianceScaling(
                CLASSIFIER_SCALE, mode="fan_in", distribution="uniform"
            ),
            dtype=keras.config.dtype_policy().variable_dtype,
            name="predictions",
        )(x)
    elif pooling == "avg":
        x = layers.GlobalAveragePooling2D(data_format="channels_last", name="avg_pool")(x)
    elif pooling == "max":
        x = layers.GlobalMaxPooling2D(data_format="channels_last", name="max_pool")(x)
    # An input tensor may itself come out of other layers; the model starts at their source.
    sources = keras.utils.get_source_inputs(inputs)
    # A list of one would make Keras warn at each call with a single tensor.
    return keras.Model(sources[0] if len(sources) == 1 else sources, x, name=name)


def allow_depth(blocks: int) -> None:
    """Let Keras walk a graph of this many residual blocks.

    Keras maps a functional model by recursion, and Python stops at 1,000 frames. Along the
    shortcuts, which stand first in each addition, that is about a frame a block: with a program
    around it, a ResNet-1001 of 333 comes near the limit, and a deeper one passes it. The limit
    stays raised, because cloning and loading such a model walk it in the same way.
    """
    if blocks > MANY_BLOCKS:
        sys.setrecursionlimit(max(sys.getrecursionlimit(), 1000 + 4 * blocks))
