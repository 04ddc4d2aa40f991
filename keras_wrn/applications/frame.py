"""The arguments that every network shares with keras.applications."""

import numbers
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import keras
from keras import layers

from keras_wrn.errors import InputError
from keras_wrn.networks.blocks import positive_integer
from keras_wrn.weights.files import is_keyword

KerasTensor = Any  # keras.KerasTensor, which has no useful type
Activation = str | Callable[..., Any] | None
# The authors' linear layer is uniform in +-1/sqrt(fan_in), which is variance scaling by 1/3
# (PAPER.md 1.12, Torch's default).
CLASSIFIER_SCALE = 1.0 / 3.0
FEW_CHANNELS = 4  # grey, RGB, RGB and alpha
MOST_BANDS = 16  # of a multispectral image: Sentinel-2's has 13
MANY_BLOCKS = 200  # from this number of residual blocks on, Keras may need a deeper Python stack


@dataclass(frozen=True, eq=False)
class Frame:
    """How a network begins and ends. The arguments are those of `WideResNet`."""

    include_top: bool = True
    weights: str | None = None
    input_tensor: KerasTensor | None = None
    input_shape: tuple[int | None, ...] | None = None
    pooling: str | None = None
    classes: int = 10
    classifier_activation: Activation = "softmax"
    name: str | None = None

    def open(self, *, default_size: int, min_size: int, blocks: int) -> KerasTensor:
        """Check the arguments and make the symbolic input.

        Args:
            default_size: height and width in pixels of a network with a classifier.
            min_size: the smallest height and width in pixels that the network can take.
            blocks: how many residual blocks will follow.

        Returns:
            The input: (batch, height, width, channels).

        Raises:
            InputError: an argument that no network of this package accepts.
        """
        self._check()
        shape = self._shape(default_size)
        _require_channels_last(shape)
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
                f"`input_shape` must give the number of channels. Received: input_shape={shape}"
            )
        if any(side is not None and side < min_size for side in (height, width)):
            raise InputError(
                f"Images must be at least {min_size}x{min_size} pixels. "
                f"Received: input_shape={shape}"
            )
        if is_keyword(self.weights) and channels != 3:
            raise InputError(
                f"Published weights take images of 3 channels. Received: input_shape={shape} "
                f"with weights={self.weights!r}. Use weights=None for {channels} channels."
            )
        _allow_depth(blocks)
        return keras.Input(shape=shape) if self.input_tensor is None else self.input_tensor

    def _check(self) -> None:
        positive_integer("classes", self.classes)
        if self.pooling not in (None, "avg", "max"):
            raise InputError(
                f"`pooling` must be None, 'avg' or 'max'. Received: pooling={self.pooling!r}"
            )
        if not isinstance(self.weights, str | None) and not hasattr(self.weights, "__fspath__"):
            raise InputError(
                "`weights` must be None, the name of a data set or the path of a weights file. "
                f"Received: weights={self.weights!r}"
            )
        received = f"Received: classifier_activation={self.classifier_activation!r}"
        try:
            activation = keras.activations.get(self.classifier_activation)
        except ValueError as error:
            raise InputError(
                "`classifier_activation` must be the name of a Keras activation, a function or "
                f"None. {received}"
            ) from error
        linear_or_softmax = (keras.activations.linear, keras.activations.softmax)
        if self.include_top and self.weights is not None and activation not in linear_or_softmax:
            raise InputError(
                "With pretrained weights and a classifier, `classifier_activation` must be None or "
                f"'softmax'. {received}"
            )

    def _shape(self, default_size: int) -> tuple[Any, ...]:
        if self.input_tensor is not None:
            if not keras.backend.is_keras_tensor(self.input_tensor):
                raise InputError(
                    "`input_tensor` must be a Keras tensor, such as keras.Input((32, 32, 3)). "
                    f"Received: input_tensor of type {type(self.input_tensor).__name__}"
                )
            return tuple(self.input_tensor.shape[1:])
        if self.input_shape is not None:
            is_row = isinstance(self.input_shape, Iterable)
            return tuple(self.input_shape) if is_row else (self.input_shape,)
        size = default_size if self.include_top else None
        return (size, size, 3)

    def close(self, x: KerasTensor, inputs: KerasTensor, default_name: str) -> keras.Model:
        """Add the head, make the model and load its weights.

        The classifier has the variables' dtype: in mixed precision its output is float32.

        Args:
            x: the last feature map: (batch, height, width, planes).
            inputs: what `open` returned.
            default_name: of the model.

        Returns:
            The model.

        Raises:
            InputError: there are no such weights, or they do not fit.
        """
        if self.include_top:
            x = layers.GlobalAveragePooling2D(data_format="channels_last", name="avg_pool")(x)
            x = layers.Dense(
                int(self.classes),
                activation=self.classifier_activation,
                kernel_initializer=keras.initializers.VarianceScaling(
                    CLASSIFIER_SCALE, mode="fan_in", distribution="uniform"
                ),
                dtype=keras.config.dtype_policy().variable_dtype,
                name="predictions",
            )(x)
        elif self.pooling == "avg":
            x = layers.GlobalAveragePooling2D(data_format="channels_last", name="avg_pool")(x)
        elif self.pooling == "max":
            x = layers.GlobalMaxPooling2D(data_format="channels_last", name="max_pool")(x)
        # An input tensor may be the output of other layers; the model starts at their source.
        sources = keras.utils.get_source_inputs(inputs)
        # Keras warns at each call of a model that has a list of one input.
        source = sources[0] if len(sources) == 1 else sources
        model = keras.Model(source, x, name=self.name or default_name)
        if self.weights is not None:
            from keras_wrn.weights.loading import load_pretrained

            load_pretrained(model, self.weights, include_top=self.include_top)
        return model


def _require_channels_last(shape: tuple[Any, ...]) -> None:
    """Refuse channels-first images, which would make a network of as many channels as pixels."""
    if keras.config.image_data_format() != "channels_last":
        received = f"image_data_format {keras.config.image_data_format()!r} in Keras' configuration"
        advice = (
            "Set it to 'channels_last' in ~/.keras/keras.json, or by "
            "keras.config.set_image_data_format"
        )
    elif _looks_channels_first(shape):
        received, advice = f"input_shape={shape}", "Move the channels to the end"
    else:
        return
    raise InputError(
        "Networks of keras_wrn take channels-last images: (height, width, channels). "
        f"Received: {received}. {advice}."
    )


def _looks_channels_first(shape: tuple[Any, ...]) -> bool:
    """Whether a shape is that of a colour or multispectral image with its channels in front."""
    if len(shape) != 3 or not isinstance(shape[0], int) or not isinstance(shape[2], int | None):
        return False
    first, middle, last = shape
    if last is None:
        return first <= FEW_CHANNELS
    return first <= FEW_CHANNELS < last or (first <= MOST_BANDS and first < middle == last)


def _allow_depth(blocks: int) -> None:
    """Let Keras walk a graph of this many residual blocks.

    Keras maps a functional model by recursion, about one frame a block, and Python stops at 1,000
    frames: near a ResNet-1001 of 333 blocks with a program around it. The limit stays raised,
    because cloning and loading such a model walk it again.
    """
    if blocks > MANY_BLOCKS:
        sys.setrecursionlimit(max(sys.getrecursionlimit(), 1000 + 4 * blocks))
