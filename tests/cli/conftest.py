"""A run and an image, for the tests of commands."""

import pytest
from PIL import Image
from tiny_run import random_images, write_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("cli") / "run")


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "image.png"
    Image.fromarray(random_images(1)[0]).save(path)
    return path
