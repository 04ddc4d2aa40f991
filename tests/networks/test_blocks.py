"""What networks are made of, and what is no network."""

import pytest

from keras_wrn import Conventions, InputError, WideResNet


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"projection_input": "activatd"}, "'raw' or 'raw after group 1'. Received: .*'activatd'"),
        ({"branch_input": "half"}, "'activated' or 'raw'. Received: .*'half'"),
        ({"strided_conv": 0}, "`strided_conv` must be a positive integer"),
        ({"conv_bias": "yes"}, "`conv_bias` must be True or False. Received: 'yes'"),
        ({"negative_slope": 0.1}, "for activation='leaky_relu'. Received: negative_slope=0.1"),
        ({"activation": "leaky_relu", "negative_slope": 1.5}, "between 0 and 1"),
        ({"activation": "leaky_relu", "negative_slope": "0.1"}, "between 0 and 1"),
        ({"strided_padding": (1, 1, 1)}, r"two whole numbers.*Received: .*\(1, 1, 1\)"),
        ({"strided_padding": (0, -1)}, "two whole numbers"),
        ({"strided_padding": 1}, "two whole numbers"),
        ({"bn_epsilon": "1e-5"}, r"`bn_epsilon` must be in .0, 1.. Received: bn_epsilon='1e-5'"),
        ({"bn_momentum": 1.0}, "`bn_momentum` must be in"),
    ],
)
def test_conventions_that_nobody_has_are_refused(arguments, sentence):
    with pytest.raises(InputError, match=sentence):
        Conventions(**arguments)


def test_leaky_relu_needs_a_slope_and_a_stride_needs_a_convolution():
    with pytest.raises(InputError, match="needs `negative_slope`: 0.1 in FixMatch, 0.01 in Py"):
        WideResNet(10, 1, conventions=Conventions(activation="leaky_relu"))
    with pytest.raises(InputError, match="name of a Keras activation.* Received: .*'rleu'"):
        WideResNet(10, 1, conventions=Conventions(activation="rleu"))
    with pytest.raises(InputError, match="one of the 2 convolutions of B\\(3,3\\). Received: stri"):
        WideResNet(10, 1, conventions=Conventions(strided_conv=3))
