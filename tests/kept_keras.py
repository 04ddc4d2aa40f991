"""A fixture in the place of conftest's, for tests that leave nothing behind in Keras.

To clear Keras before each of many short tests takes longer than they do.
"""

import pytest


@pytest.fixture(autouse=True)
def fresh_keras():
    """Keras as the test before has left it."""
