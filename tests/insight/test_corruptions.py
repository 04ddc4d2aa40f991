"""Corruptions: every one changes images more with its severity, and is the published one.

`-s` prints the largest difference from the package imagecorruptions, in grey levels of 255, with
the same random draws.
"""

import keras
import numpy as np
import pytest
from PIL import Image

import keras_wrn
from keras_wrn.errors import InputError
from keras_wrn.insight import corruptions_blur
from keras_wrn.insight.corruption_constants import CONSTANTS, REFERENCES, Reference
from keras_wrn.insight.corruptions import (
    _FUNCTIONS,
    CORRUPTIONS,
    EXTRA_CORRUPTIONS,
    SEVERITIES,
    corrupt,
    corruption_errors,
    mean_corruption_error,
)

pytest.importorskip("scipy", reason="the corruptions need SciPy, of the extra train")
ALL = (*CORRUPTIONS, *EXTRA_CORRUPTIONS)


def pictures(count=6, size=32, seed=0):
    """Smooth random pictures with edges, as photographs are."""
    random = np.random.default_rng(seed)
    small = random.uniform(0, 255, (count, 6, 6, 3)).astype("uint8")
    large = [np.asarray(Image.fromarray(image).resize((size, size))) for image in small]
    found = np.stack(large)
    found[:, size // 4 : size // 2, size // 3 : size // 2] = small[:, 2:3, 2:3]
    return found


def change(corruption, severity, images):
    return np.abs(corrupt(images, corruption, severity).astype(float) - images).mean()


def test_there_are_fifteen_and_four():
    assert (len(CORRUPTIONS), len(EXTRA_CORRUPTIONS)) == (15, 4)
    assert all(set(table) == set(ALL) for table in CONSTANTS.values())
    assert all(len(rows) == 5 for table in CONSTANTS.values() for rows in table.values())


@pytest.mark.parametrize("size", [32, 64])
@pytest.mark.parametrize("corruption", ALL)
def test_images_change_more_with_the_severity(corruption, size):
    images = pictures(size=size)
    changes = [change(corruption, severity, images) for severity in SEVERITIES]
    assert changes[0] > 0.2
    # The others change their kind with the severity, or their ice from draw to draw.
    if corruption not in ("saturate", "elastic_transform", "spatter", "glass_blur", "frost"):
        assert changes == sorted(changes)


@pytest.mark.parametrize("corruption", ALL)
def test_the_seed_fixes_the_images(corruption):
    images = pictures()
    one = corrupt(images, corruption, 3)
    assert one.dtype == np.uint8
    assert one.shape == images.shape
    np.testing.assert_array_equal(one, corrupt(images, corruption, 3, seed=0))
    fixed = {"defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate"}
    fixed |= {"jpeg_compression", "gaussian_blur", "saturate"}
    other = corrupt(images, corruption, 3, seed=1)
    assert np.array_equal(one, other) == (corruption in fixed)
    assert not np.array_equal(one[0], images[0])


@pytest.mark.parametrize("corruption", ALL)
def test_images_need_not_be_square(corruption):
    images = pictures(2, 48)[:, :32]
    assert corrupt(images, corruption, 5, constants="imagenet-c").shape == (2, 32, 48, 3)


def test_constants_follow_the_size():
    small, large = pictures(2, 32), pictures(2, 64)
    for images, name in ((small, "cifar10-c"), (large, "imagenet-c")):
        expected = corrupt(images, "contrast", 5, constants=name)
        np.testing.assert_array_equal(corrupt(images, "contrast", 5), expected)


def test_glass_copies_pixels_in_the_order_of_the_published_loop(monkeypatch):
    images, draws = pictures(2, 16), []

    class Recorder:
        def integers(self, low, high, size):
            draws.append(np.random.default_rng(len(draws)).integers(low, high, size))
            return draws[-1]

    found = corruptions_blur.glass_blur(images, (1e-6, 2, 3), Recorder())
    expected = images.copy()
    for image, x in enumerate(expected):
        for steps in draws:
            for i, h in enumerate(range(16 - 2, 2, -1)):
                for j, w in enumerate(range(16 - 2, 2, -1)):
                    dx, dy = steps[image, i, j]
                    x[h, w] = x[h + dy, w + dx]
    np.testing.assert_array_equal(np.round(found).astype(np.uint8), expected)


# Against the package imagecorruptions, which has ImageNet-C's constants.


class Draws(np.random.RandomState):
    """NumPy's old generator, which the package draws from, with the names of the new one."""

    def integers(self, low, high=None, size=None):
        return self.randint(low, high, size)

    def uniform(self, low, high, size):
        # The package leaves out the affine map of the elastic cloth, and so its draws.
        affine = np.shape(size) == (3,) and size[-2:] == (3, 2)
        return np.zeros(size) if affine else super().uniform(low, high, size)


def drawn_as_theirs(corruption, severity, seed):
    """The generator and the constants with which our function does what the package does."""
    constants = CONSTANTS["imagenet-c"][corruption][severity - 1]
    if corruption == "impulse_noise":
        return constants, np.random.default_rng(seed)
    if corruption == "elastic_transform":
        alpha = (12.5, 16.25, 21.25, 25, 30)[severity - 1]
        constants = (alpha * 0.005 * 32, 0.32, 0)
    return constants, Draws(seed)


EXACT = [name for name in ALL if name not in ("glass_blur", "frost")]


@pytest.fixture
def theirs():
    package = pytest.importorskip(
        "imagecorruptions", reason="imagecorruptions-imaug is a reference, never needed"
    )

    def corrupted(image, corruption, severity, seed=0):
        np.random.seed(seed)
        options = {"seed": seed} if corruption in ("impulse_noise", "glass_blur") else {}
        function = getattr(package.corruptions, corruption)
        picture = Image.fromarray(image)
        # The package's mud reads the picture as Pillow has it, the others as NumPy.
        return np.uint8(np.asarray(function(picture, severity, **options)))

    return corrupted


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("corruption", EXACT)
def test_equals_imagecorruptions_with_the_same_draws(theirs, corruption):
    largest = 0
    for severity in SEVERITIES:
        # The package smears its flakes before it cuts them to size, the published code after:
        # both are the same where nothing is cut.
        if corruption == "snow" and severity in (1, 4):
            continue
        for seed, image in enumerate(pictures()):
            constants, random = drawn_as_theirs(corruption, severity, seed)
            ours = np.uint8(_FUNCTIONS[corruption](image[None], constants, random)[0])
            expected = theirs(image, corruption, severity, seed)
            largest = max(largest, np.abs(ours.astype(int) - expected).max())
    print(f"{corruption}: {largest}")
    assert largest <= 1


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("corruption", ["glass_blur", "snow"])
def test_has_the_statistics_of_imagecorruptions(theirs, corruption):
    """Its draws are Numba's, or more than ours: the change has the same size on average."""
    images = pictures(2).repeat(30, axis=0)
    for severity in (1, 4):
        ours = corrupt(images, corruption, severity, constants="imagenet-c")
        other = np.stack(
            [theirs(image, corruption, severity, seed) for seed, image in enumerate(images)]
        )
        sizes = [np.abs(x.astype(float) - images).mean() for x in (ours, other)]
        assert sizes[0] == pytest.approx(sizes[1], rel=0.06)
        assert ours.mean() == pytest.approx(other.mean(), rel=0.03)
        assert ours.std() == pytest.approx(other.std(), rel=0.03)


@pytest.mark.filterwarnings("ignore")
def test_frost_is_about_as_bright_and_as_rough_as_the_photographs(theirs):
    """The package has six photographs and does not shrink them; the published code takes five."""
    images = pictures(1, 224).repeat(40, axis=0)
    ours = corrupt(images, "frost", 3).astype(float)
    other = np.stack([theirs(image, "frost", 3, seed) for seed, image in enumerate(images)])
    assert ours.mean() == pytest.approx(other.mean(), rel=0.1)
    rough = [np.abs(np.diff(x.astype(float), axis=2)).mean() for x in (ours, other)]
    assert rough[0] == pytest.approx(rough[1], rel=0.5)


# The error under corruptions.


def test_errors_by_corruption_and_severity():
    network = keras_wrn.WideResNet(10, 1)
    images, labels = pictures(8), np.arange(8)
    found = corruption_errors(
        network, images, labels, "cifar10", corruptions=["fog", "spatter"], severities=[2, 4]
    )
    for name in ("fog", "spatter"):
        assert list(found[name]) == [2, 4]
        x = keras_wrn.preprocess_input(corrupt(images, name, 4), "cifar10")
        outputs = keras.ops.convert_to_numpy(network(x, training=False))
        assert found[name][4] == np.mean(outputs.argmax(axis=1) != labels)


def five(*errors):
    return dict(zip(SEVERITIES, errors))


def test_the_mean_is_of_quotients_of_means():
    errors = {"fog": five(0.1, 0.2, 0.3, 0.4, 0.5), "snow": five(0.4, 0.4, 0.4, 0.4, 0.4)}
    assert mean_corruption_error(errors) == pytest.approx(0.35)
    reference = Reference("a network", {"fog": 0.6, "snow": 0.2})
    assert mean_corruption_error(errors, reference) == pytest.approx((0.5 + 2) / 2)


@pytest.mark.parametrize("dataset", ["cifar10", "imagenet"])
def test_references_name_a_network_and_have_all_fifteen(dataset):
    reference = REFERENCES[dataset]
    assert set(reference.errors) == set(CORRUPTIONS)
    assert all(0 < error < 1 for error in reference.errors.values())
    errors = {name: dict.fromkeys(SEVERITIES, e) for name, e in reference.errors.items()}
    assert mean_corruption_error(errors, reference) == pytest.approx(1)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"images": pictures().astype(float)}, "must be uint8 .* Received: float64"),
        ({"images": pictures()[..., :1]}, r"Received: uint8 of shape \(6, 32, 32, 1\)"),
        ({"images": pictures()[:, :8]}, "at least 16x16 pixels"),
        ({"corruption": "rain"}, "must be one of gaussian_noise, .* Received: 'rain'"),
        ({"severity": 6}, "must be 1, 2, 3, 4 or 5. Received: severity=6"),
        ({"constants": "cifar"}, "must be None or one of cifar10-c, imagenet-c"),
    ],
)
def test_wrong_input_gets_a_sentence(wrong, sentence):
    with pytest.raises(InputError, match=sentence):
        corrupt(**({"images": pictures(), "corruption": "fog"} | wrong))


def test_a_reference_of_other_corruptions_or_severities_is_refused():
    reference = Reference("a network", {"fog": 0.6})
    with pytest.raises(InputError, match="a network was measured on. Received: snow"):
        mean_corruption_error({"snow": five(0.1, 0.1, 0.1, 0.1, 0.1)}, reference)
    with pytest.raises(InputError, match=r"Received: fog with severities \[1\]"):
        mean_corruption_error({"fog": {1: 0.1}}, reference)
