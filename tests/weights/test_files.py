import h5py
import keras
import numpy as np
import pytest
from checkpoint_writer import safetensors
from model_values import equal, values, with_random_weights
from quick_weights import zero_kernels  # noqa: F401 - a fixture

import keras_wrn
from keras_wrn.errors import InputError
from keras_wrn.weights.files import is_keyword, read_weights, write_float16

pytestmark = pytest.mark.usefixtures("zero_kernels")


@pytest.fixture(scope="module")
def trained():
    return with_random_weights(keras_wrn.WideResNet(10, 1))


@pytest.fixture(scope="module")
def file(trained, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "a.weights.h5"
    trained.save_weights(path)
    return path


def flat(layers):
    return {f"{layer}/{name}": array for layer, of in layers.items() for name, array in of.items()}


def numbered(model):
    return {
        f"{layer.name}/{i}": array
        for layer in model.layers
        for i, array in enumerate(layer.get_weights())
    }


def test_hdf5_by_numbers_and_safetensors_by_names(trained, file, tmp_path):
    equal(flat(read_weights(file)), numbered(trained))
    path = tmp_path / "a.safetensors"
    path.write_bytes(safetensors(values(trained)))
    equal(flat(read_weights(path)), values(trained))


def test_bfloat16_as_keras_writes_it(tmp_path):
    keras.config.set_dtype_policy("bfloat16")
    model = with_random_weights(keras_wrn.WideResNet(10, 1))
    model.save_weights(tmp_path / "half.weights.h5")
    found = flat(read_weights(tmp_path / "half.weights.h5"))
    equal(found, {name: np.asarray(array, "float32") for name, array in numbered(model).items()})


def test_float16_holds_the_layers_and_nothing_else(trained, file, tmp_path):
    path, again = tmp_path / "half.weights.h5", tmp_path / "again.weights.h5"
    write_float16(file, path)
    assert path.stat().st_size < 0.7 * file.stat().st_size
    found = flat(read_weights(path))
    assert {array.dtype for array in found.values()} == {np.dtype("float16")}
    equal(found, numbered(trained), tolerance=1e-3)
    write_float16(path, again)
    assert again.read_bytes() == path.read_bytes()
    with h5py.File(file) as whole, h5py.File(tmp_path / "more.weights.h5", "w") as more:
        whole.copy("layers", more)
        more.create_group("optimizer/vars")["0"] = np.ones(3)
    write_float16(tmp_path / "more.weights.h5", again)
    assert again.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("value", [1e5, np.nan, np.inf])
def test_what_float16_cannot_hold_is_refused(tmp_path, value):
    model = keras_wrn.WideResNet(10, 1)
    model.get_layer("head_bn").gamma.assign(np.full(64, value, "float32"))
    source = tmp_path / "a.weights.h5"
    model.save_weights(source)
    with pytest.raises(InputError, match="head_bn has a weight that is not finite, or is above"):
        write_float16(source, tmp_path / "b.weights.h5")


def cut(path):
    path.write_bytes(path.read_bytes()[:-1000])


def rename_layer(path):
    with h5py.File(path, "r+") as stored:
        stored["layers/conv2d/vars"].attrs["name"] = "head_bn"


def forget_names(path):
    with h5py.File(path, "r+") as stored:
        del stored["layers/conv2d/vars"].attrs["name"]


def point_outside(path):
    secret = path.with_name("secret")
    secret.write_bytes(bytes(16 * 4))
    with h5py.File(path, "r+") as stored:
        group = stored["layers/batch_normalization/vars"]
        del group["0"]
        group.create_dataset("0", (16,), "f4", external=[(str(secret), 0, 64)])


def link_outside(path):
    other = path.with_name("other.h5")
    other.write_bytes(path.read_bytes())
    with h5py.File(path, "r+") as stored:
        del stored["layers/batch_normalization/vars/0"]
        stored["layers/batch_normalization/vars/0"] = h5py.ExternalLink(
            str(other), "layers/batch_normalization/vars/0"
        )


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda path: path.unlink(), "must be a file that exists"),
        (cut, "damaged or only half there"),
        (lambda path: path.write_bytes(b"not HDF5"), "damaged or only half there"),
        (lambda path: h5py.File(path, "w").close(), "holds no layers as Keras 3 writes them"),
        (rename_layer, "two layers that are named head_bn"),
        (forget_names, "stores no layer names"),
        (point_outside, "would be read from another file"),
    ],
)
def test_a_damaged_file_is_refused(file, tmp_path, damage, sentence):
    path = tmp_path / "b.weights.h5"
    path.write_bytes(file.read_bytes())
    damage(path)
    with pytest.raises(InputError, match=sentence):
        read_weights(path)


def test_links_out_of_a_file_are_not_followed(file, tmp_path):
    path = tmp_path / "b.weights.h5"
    path.write_bytes(file.read_bytes())
    link_outside(path)
    assert len(read_weights(path)["group1_block1_bn1"]) == 3


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (lambda of: safetensors(of)[:-9], "damaged"),
        (lambda of: b"{}", "damaged"),
    ],
)
def test_damaged_safetensors_are_refused(trained, tmp_path, content, sentence):
    path = tmp_path / "a.safetensors"
    path.write_bytes(content(values(trained)))
    with pytest.raises(InputError, match=sentence):
        read_weights(path)


def test_a_bare_word_names_published_weights_and_all_else_is_a_path():
    words = ("cifar10", "imagenet-v2", "wrn-28-1.5-cifar10", "mars")
    assert all(is_keyword(word) for word in words)
    paths = ("./cifar10", "a/b", "a.h5", "a.weights.h5", "a.safetensors", "a.pth", "a.keras", None)
    assert not any(is_keyword(path) for path in paths)
