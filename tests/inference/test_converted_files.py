"""Files that `convert` writes keep their network: conventions, preprocessing and classes."""

import json
import shutil

import foreign_networks as foreign
import h5py
import keras
import numpy as np
import pytest
from foreign_checkpoints import CONSTANTS, MEAN, STD, small_weights, write_npz
from PIL import Image
from quick_weights import zero_kernels  # noqa: F401 - a fixture
from reference_network import softmax

import keras_wrn
from keras_wrn.applications.conversion import convert_checkpoint
from keras_wrn.cli import main
from keras_wrn.errors import InputError
from keras_wrn.images.preprocessing import PREPROCESSING
from keras_wrn.inference.classifier import class_probabilities
from keras_wrn.inference.trained import load_file, load_model
from keras_wrn.weights.description import read_description, write_description

pytestmark = pytest.mark.usefixtures("zero_kernels")
TARGETS = ("c.keras", "c.weights.h5")
OWN = {"mean": [120.0, 110.0, 100.0], "std": [60.0, 61.0, 62.0], "size": 32}
PETS = OWN | {"class_names": [f"pet {i}" for i in range(10)]}


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), np.uint8)


@pytest.fixture
def image(tmp_path, pixels):
    Image.fromarray(pixels[0]).save(tmp_path / "a.png")
    return tmp_path / "a.png"


@pytest.fixture
def checkpoint(tmp_path):
    tensors = foreign.checkpoint(foreign.xternalz, small_weights())
    # Small logits, so that a wrong normalisation shows.
    tensors["fc.weight"] = tensors["fc.weight"] / 30
    return write_npz(tmp_path / "leaky.npz", tensors)


def logits(checkpoint, pixels, mean, std):
    seen = (pixels - np.float32(mean)) / np.float32(std)
    return foreign.fixmatch_logits(seen, dict(np.load(checkpoint)), 2)


def call(*words):
    return main.main(main.parse([*map(str, words)]))


def predicted(capsys, *words):
    """The probabilities by class that `predict --json` prints, and its notes."""
    assert call("predict", *words, "--json", "--top", 10) == 0
    printed = capsys.readouterr()
    (answer,) = json.loads(printed.out)
    rows = sorted(answer["predictions"], key=lambda row: row["class_index"])
    names = [row["class_name"] for row in rows]
    return np.array([row["probability"] for row in rows]), names, printed.err


@pytest.mark.parametrize("target", TARGETS)
def test_conventions_travel_with_the_file(tmp_path, capsys, checkpoint, image, pixels, target):
    file = tmp_path / target
    assert call("convert", checkpoint, file, "--dialect", "fixmatch") == 0
    capsys.readouterr()
    row = PREPROCESSING["cifar10"]
    expected = softmax(logits(checkpoint, pixels, row.mean, row.std))[0]
    got, names, noted = predicted(capsys, image, "--weights", file)
    np.testing.assert_allclose(got, expected, atol=1e-4)
    assert tuple(names) == row.class_names
    assert (
        "does not say how its images are normalised: mean, std and class names of cifar10" in noted
    )
    got, names, noted = predicted(capsys, image, "--weights", file, "--dataset", "svhn")
    row = PREPROCESSING["svhn"]
    expected = softmax(logits(checkpoint, pixels, row.mean, row.std))[0]
    np.testing.assert_allclose(got, expected, atol=1e-4)
    assert "normalised" not in noted and names[0] == "0"
    # Keras reads the file as any other.
    if target.endswith(".keras"):
        assert keras.saving.load_model(file).name == "wide_resnet16_2"
    else:
        network = read_description(file)["network"]
        assert network.pop("builder") == "WideResNet"
        keras_wrn.WideResNet(**network | {"input_shape": (32, 32, 3)}).load_weights(file)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("when", ["convert", "predict"])
def test_own_preprocessing(tmp_path, capsys, checkpoint, image, pixels, target, when):
    (tmp_path / "pets.json").write_text(json.dumps(PETS))
    own = ("--preprocessing", tmp_path / "pets.json")
    words = ("convert", checkpoint, tmp_path / target, "--dialect", "fixmatch")
    assert call(*words, *(own if when == "convert" else ())) == 0
    capsys.readouterr()
    words = (image, "--weights", tmp_path / target, *(own if when == "predict" else ()))
    got, names, noted = predicted(capsys, *words)
    expected = softmax(logits(checkpoint, pixels, PETS["mean"], PETS["std"]))[0]
    np.testing.assert_allclose(got, expected, atol=1e-4)
    assert names == PETS["class_names"] and "normalised" not in noted


@pytest.mark.parametrize("scale", [1, 255])
@pytest.mark.parametrize("target", TARGETS)
def test_a_network_that_normalises_takes_pixels_as_they_are(tmp_path, pixels, target, scale):
    tensors = foreign.checkpoint(foreign.deepmind, small_weights(10, 1))
    tensors |= {"mean": CONSTANTS["mean"] * scale, "std": CONSTANTS["std"] * scale}
    found = convert_checkpoint(write_npz(tmp_path / "a.npz", tensors))
    found.save(tmp_path / target)
    trained = load_file(tmp_path / target)
    assert trained.preprocessing.class_names[3] == "class 3"
    expected = found.model(pixels.astype("float32") / (255 / scale))
    got = class_probabilities(trained.model, pixels, trained.preprocessing)
    np.testing.assert_allclose(got, keras.ops.convert_to_numpy(expected), atol=1e-5)
    named = load_file(tmp_path / target, "cifar10").preprocessing
    assert named.class_names[3] == "cat"
    np.testing.assert_allclose(named.std, trained.preprocessing.std)
    is_model = target.endswith(".keras")
    assert (named.mean == (0.0, 0.0, 0.0)) == is_model
    if not is_model:
        np.testing.assert_allclose(named.mean, 255 * np.array(MEAN), rtol=1e-6)
        np.testing.assert_allclose(named.std, 255 * np.array(STD), rtol=1e-6)
    other = keras_wrn.Preprocessing((1.0,) * 3, (2.0,) * 3, 32, tuple("abcdefghij"))
    with pytest.raises(InputError, match="Received: mean=\\(1.0, 1.0, 1.0\\)"):
        load_file(tmp_path / target, other)
    with pytest.raises(InputError, match="normalises its images itself: give mean 0 and std"):
        found.save(tmp_path / target, other)


def test_weights_of_other_conventions_are_refused(tmp_path, checkpoint):
    convert_checkpoint(checkpoint, "torchssl").save(tmp_path / "c.weights.h5")
    convert_checkpoint(checkpoint).save(tmp_path / "paper.weights.h5")
    other = keras_wrn.Conventions(activation="silu")
    for file, model in (
        ("c.weights.h5", keras_wrn.WideResNet(16, 2)),
        ("paper.weights.h5", keras_wrn.WideResNet(16, 2, conventions=other)),
    ):
        with pytest.raises(InputError, match=r"holds the weights of a network with .*, and wide_"):
            keras_wrn.load_weights(model, tmp_path / file)
    keras_wrn.load_weights(keras_wrn.WideResNet(16, 2), tmp_path / "paper.weights.h5")
    trained = load_model("16-2", tmp_path / "c.weights.h5", "cifar10")
    assert trained.card["network"]["conventions"].negative_slope == 0.1
    assert trained.card["name"].startswith("WRN-16-2 with leaky_relu(0.1), raw shortcut after gro")
    with pytest.raises(InputError, match="holds WRN-16-2 with .*, and '16-4' was asked for"):
        load_model("16-4", tmp_path / "c.weights.h5", "cifar10")


def test_a_keras_file_of_anybody(tmp_path, pixels):
    model = keras_wrn.WideResNet(10, 1, classes=100)
    model.save(tmp_path / "a.keras")
    trained = load_file(tmp_path / "a.keras", "cifar100")
    assert trained.card["name"] == "WRN-10-1"
    class_probabilities(trained.model, pixels, trained.preprocessing)
    with pytest.raises(InputError, match="has 100 classes, and the preprocessing names 10"):
        load_file(tmp_path / "a.keras", "cifar10")
    with pytest.raises(InputError, match="does not say how its images are normalised"):
        load_file(tmp_path / "a.keras")
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save(tmp_path / "b.keras")
    with pytest.raises(InputError, match="no Wide ResNet"):
        load_file(tmp_path / "b.keras", "cifar10")
    (tmp_path / "c.keras").write_bytes((tmp_path / "a.keras").read_bytes()[:5000])
    with pytest.raises(InputError, match="is damaged or only half there"):
        load_file(tmp_path / "c.keras", "cifar10")
    with pytest.raises(InputError, match="must be a file that exists"):
        load_file(tmp_path / "d.keras", "cifar10")
    with pytest.raises(InputError, match="must be a file that exists"):
        read_description(tmp_path / "d.keras")
    (tmp_path / "d.keras").write_text("version https://git-lfs.github.com/spec/v1")
    with pytest.raises(InputError, match="is a Git LFS pointer"):
        read_description(tmp_path / "d.keras")


def test_a_pooled_network_without_a_classifier_says_so(tmp_path, checkpoint):
    found = convert_checkpoint(checkpoint, include_top=False, pooling="avg")
    for file in ("a.weights.h5", "a.keras"):
        found.save(tmp_path / file)
        with pytest.raises(InputError, match="no classifier: it was converted with include_top"):
            load_file(tmp_path / file)


@pytest.mark.parametrize("text", ["{", "[]", '{"name": 3}', '{"name": "a", "network": {}}'])
def test_a_damaged_description_is_a_sentence(tmp_path, text, checkpoint):
    convert_checkpoint(checkpoint).save(tmp_path / "c.weights.h5")
    with h5py.File(tmp_path / "c.weights.h5", "a") as file:
        file.attrs["keras_wrn"] = text
    with pytest.raises(InputError, match="The description in .* is damaged"):
        load_file(tmp_path / "c.weights.h5", "cifar10")


def test_a_description_that_gives_other_conventions_is_refused(tmp_path, checkpoint):
    convert_checkpoint(checkpoint).save(tmp_path / "c.weights.h5")
    shutil.copy(tmp_path / "c.weights.h5", tmp_path / "d.weights.h5")
    description = read_description(tmp_path / "c.weights.h5")
    description["network"]["conventions"] = {"activation": "silu", "padding": 3}
    write_description(tmp_path / "d.weights.h5", description)
    with pytest.raises(InputError, match="keys of keras_wrn.Conventions: activation, negative_sl"):
        load_file(tmp_path / "d.weights.h5", "cifar10")


# The command line.


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (PETS | {"mean": [0.49, 0.48, 0.44], "std": [0.2, 0.2, 0.2]}, "multiply them by 255"),
        (PETS | {"mean": [0, 0, 0], "std": [1, 1, 1]}, "not normalised have mean 0 and std 255"),
        (PETS | {"mean": [1.0]}, "must be a JSON object with mean, std"),
        (PETS | {"class_names": "cat dog"}, "must be a JSON object with mean, std"),
        (PETS | {"std": [0, 60, 60]}, "statistics of pixels in"),
        (PETS | {"std": [float("nan"), 60, 60]}, "must be a JSON object with mean, std"),
        (OWN, "must be a JSON object with mean, std"),
        (PETS | {"class_names": ["cat", "dog"]}, "name 10 classes. Received: 3 channels and 2"),
        (PETS | {"mean": [1], "std": [60]}, "must have 3 channels"),
        ([1], "holds no JSON object"),
    ],
)
def test_preprocessing_that_is_none_is_a_sentence(tmp_path, capsys, checkpoint, content, sentence):
    (tmp_path / "own.json").write_text(json.dumps(content))
    words = ("convert", checkpoint, tmp_path / "c.keras", "--preprocessing", tmp_path / "own.json")
    assert call(*words) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "c.keras").exists()


def test_conventions_and_which_on_the_command_line(tmp_path, capsys, checkpoint):
    tensors = dict(np.load(checkpoint))
    ema = {f"ema.{name}": tensor for name, tensor in tensors.items()}
    both = write_npz(tmp_path / "both.npz", tensors | ema)
    (tmp_path / "c.json").write_text('{"strided_padding": [0, 1], "bn_epsilon": 0.001}')
    words = ("convert", both, tmp_path / "c.keras", "--which", "ema")
    assert call(*words, "--conventions", tmp_path / "c.json") == 0
    told = capsys.readouterr().out
    assert "Taken from the file: 'ema', an averaged copy of the weights. which=" in told
    assert "zeros (0, 1) around" in told and "epsilon 0.001" in told
    model = keras.saving.load_model(tmp_path / "c.keras")
    assert model.get_layer("head_bn").epsilon == 0.001
    (tmp_path / "c.json").write_text('{"slope": 0.1}')
    assert call(*words, "--conventions", tmp_path / "c.json") == 2
    assert "Conventions are an object with keys of" in capsys.readouterr().err


def test_the_assumed_data_set_has_as_many_classes(tmp_path, capsys, image):
    tensors = foreign.checkpoint(foreign.xternalz, small_weights(10, 1, classes=100))
    path = write_npz(tmp_path / "a.npz", tensors)
    convert_checkpoint(path).save(tmp_path / "c.weights.h5")
    assert call("predict", image, "--weights", tmp_path / "c.weights.h5") == 0
    assert "class names of cifar100 are assumed" in capsys.readouterr().err
    convert_checkpoint(path).save(tmp_path / "c.keras")
    assert call("convert", tmp_path / "c.keras", tmp_path / "d.keras") == 2
    assert "is a model of Keras, which needs no conversion" in capsys.readouterr().err


def test_what_the_command_line_does_not_know(tmp_path, capsys, image):
    keras_wrn.WideResNet(10, 1).save_weights(tmp_path / "own.weights.h5")
    assert call("predict", image, "--weights", tmp_path / "own.weights.h5") == 2
    assert "--weights needs --model, such as --model 16-4, except" in capsys.readouterr().err
    (tmp_path / "pets.json").write_text(json.dumps(PETS))
    own = ("--preprocessing", tmp_path / "pets.json")
    assert call("predict", image, "--model", "10-1", "--weights", "cifar10", *own) == 2
    assert "--preprocessing is for a file of --weights" in capsys.readouterr().err
    words = ("--model", "10-1", "--weights", tmp_path / "own.weights.h5", *own)
    _, names, _ = predicted(capsys, image, *words)
    assert names == PETS["class_names"]
    assert call("evaluate", *words) == 2
    assert "not known on which data set this network was trained" in capsys.readouterr().err
