"""Networks take channels-last images only, and say so."""

import keras
import pytest
from quick_weights import zero_kernels  # noqa: F401 - a fixture

from keras_wrn.applications import WideResNet, WideResNet18
from keras_wrn.errors import InputError

pytestmark = pytest.mark.usefixtures("zero_kernels")


def small(build, **options):
    return build(**({"depth": 10} if build is WideResNet else {}), width=1, classes=5, **options)


BOTH = pytest.mark.parametrize(
    "build", [WideResNet, WideResNet18], ids=lambda build: build.__name__
)


@BOTH
def test_channels_first_in_the_config_is_refused(build):
    """As keras.applications.ConvNeXt refuses it."""
    model = small(build, input_shape=(33, 40, 3))
    keras.config.set_image_data_format("channels_first")
    try:
        with pytest.raises(
            InputError, match=r"\(height, width, channels\)\. .*'channels_first' in"
        ):
            small(build, input_shape=(33, 40, 3))
        # A network that exists says itself how it takes images.
        again = keras.models.model_from_json(model.to_json())
        assert again(keras.Input((33, 40, 3))).shape == (None, 5)
    finally:
        keras.config.set_image_data_format("channels_last")


@BOTH
@pytest.mark.parametrize(
    "shape", [(3, 64, 64), (1, 40, 48), (4, 64, 64), (3, None, None), (13, 64, 64)], ids=str
)
def test_channels_first_images_are_refused(build, shape):
    for how in ({"input_shape": shape}, {"input_tensor": keras.Input(shape)}):
        with pytest.raises(
            InputError, match=r"\(height, width, channels\)\. Received: input_shape"
        ):
            small(build, **how)


@pytest.mark.parametrize("shape", [(64, 64, 64), (16, 32, 64), (17, 40, 40), (64, 64, 13)], ids=str)
def test_images_of_many_channels_are_taken(shape):
    assert small(WideResNet, input_shape=shape).input_shape == (None, *shape)
