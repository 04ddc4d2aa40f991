"""What networks are made of, and what is no network."""

import pytest

from keras_wrn import Conventions, InputError


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"projection_input": "activatd"}, "'activated' or 'raw'. Received: .*'activatd'"),
        ({"strided_padding": (1, 1, 1)}, r"two whole numbers.*Received: .*\(1, 1, 1\)"),
        ({"strided_padding": (0, -1)}, "two whole numbers"),
        ({"strided_padding": 1}, "two whole numbers"),
    ],
)
def test_conventions_that_nobody_has_are_refused(arguments, sentence):
    with pytest.raises(InputError, match=sentence):
        Conventions(**arguments)
