import json

import h5py
import keras
import numpy as np
import pytest
from published_folders import only_here
from quick_weights import zero_kernels  # noqa: F401 - a fixture
from tiny_run import write_run

import keras_wrn
from keras_wrn import load_weights, weight_files, weights
from keras_wrn.errors import InputError

pytestmark = pytest.mark.usefixtures("zero_kernels")
HEAD = ("predictions",)


def values(model):
    """Layer/variable -> array, as a file has them."""
    return {
        f"{layer.name}/{variable.name}": keras.ops.convert_to_numpy(variable)
        for layer in model.layers
        for variable in layer.weights
    }


def randomise(model, seed=0):
    """Weights and statistics that differ everywhere."""
    random = np.random.default_rng(seed)
    for variable in model.weights:
        variable.assign(random.uniform(0.1, 1, variable.shape).astype("float32"))
    return model


def save(model, path):
    model.save_weights(path)
    return path


def write_safetensors(path, tensors, dtype="F32"):
    """What the safetensors library writes."""
    header, blobs, offset = {"__metadata__": {"format": "np"}}, [], 0
    for name, array in tensors.items():
        if dtype == "BF16":
            blob = (array.astype("<f4").view("<u4") >> 16).astype("<u2").tobytes()
        else:
            blob = array.astype({"F32": "<f4", "F16": "<f2", "I32": "<i4"}[dtype]).tobytes()
        offsets = [offset, offset + len(blob)]
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": offsets}
        blobs.append(blob)
        offset += len(blob)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(blobs))
    return path


@pytest.fixture(scope="module")
def trained():
    return randomise(keras_wrn.WideResNet(10, 1))


@pytest.fixture(scope="module")
def file(trained, tmp_path_factory):
    return save(trained, tmp_path_factory.mktemp("weights") / "a.weights.h5")


def equal(ours, theirs, tolerance=0.0):
    assert ours.keys() == theirs.keys()
    for name in ours:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=tolerance, err_msg=name)


@pytest.mark.parametrize(
    ("kind", "tolerance"),
    [
        ("float32.h5", 0),
        ("float16.h5", 1e-3),
        ("F32.safetensors", 0),
        ("F16.safetensors", 1e-3),
        ("BF16.safetensors", 1e-2),
    ],
)
def test_every_format_comes_back(trained, file, tmp_path, kind, tolerance):
    dtype, path = kind.partition(".")[0], tmp_path / kind
    if dtype == "float32":
        path = file
    elif dtype == "float16":
        weight_files.write_float16(file, path)
        assert path.stat().st_size < 0.7 * file.stat().st_size
    else:
        write_safetensors(path, values(trained), dtype)
    model = keras_wrn.WideResNet(10, 1, dropout=0.3)  # dropout has no weights
    report = load_weights(model, path)
    assert report.loaded == tuple(layer.name for layer in model.layers if layer.weights)
    assert (report.missing, report.unused) == ((), ())
    equal(values(model), values(trained), tolerance)
    assert {variable.dtype for variable in model.weights} == {"float32"}
    equal(values(keras_wrn.WideResNet(10, 1, weights=path)), values(model))


def test_bfloat16_as_keras_writes_it(tmp_path):
    keras.config.set_dtype_policy("bfloat16")
    half = randomise(keras_wrn.WideResNet(10, 1))
    path = save(half, tmp_path / "half.weights.h5")
    keras.config.set_dtype_policy("float32")
    model = keras_wrn.WideResNet(10, 1, weights=path)
    expected = {name: np.asarray(value, "float32") for name, value in values(half).items()}
    equal(values(model), expected)


def test_a_float16_file_loads_by_plain_keras(file, tmp_path):
    path = tmp_path / "half.weights.h5"
    weight_files.write_float16(file, path)
    plain = keras_wrn.WideResNet(10, 1)
    plain.load_weights(path)
    equal(values(plain), values(keras_wrn.WideResNet(10, 1, weights=path)))
    with h5py.File(path) as stored:
        assert stored["layers/conv2d/vars/0"].dtype == np.float16
    again = tmp_path / "again.weights.h5"
    weight_files.write_float16(path, again)
    assert again.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("value", [1e5, np.nan, np.inf])
def test_what_float16_cannot_hold_is_refused(tmp_path, value):
    model = keras_wrn.WideResNet(10, 1)
    model.get_layer("head_bn").gamma.assign(np.full(64, value, "float32"))
    source = save(model, tmp_path / "a.weights.h5")
    with pytest.raises(InputError, match="head_bn has a weight that is not finite, or is above"):
        weight_files.write_float16(source, tmp_path / "b.weights.h5")


def test_layers_are_found_by_name_where_keras_goes_by_order(tmp_path):
    """WRN-16-1 into WRN-22-1: plain Keras would put weights into wrong places, and say nothing."""
    small = randomise(keras_wrn.WideResNet(16, 1))
    path = save(small, tmp_path / "16.weights.h5")
    model = keras_wrn.WideResNet(22, 1)
    before = values(model)
    with pytest.raises(InputError, match=r"group1_block3_bn1 is not in the file; .*and \d+ more"):
        load_weights(model, path)
    equal(values(model), before)
    report = load_weights(model, path, strict=False)
    assert set(report.missing) == {n.partition("/")[0] for n in values(model) if "_block3_" in n}
    assert report.unused == ()
    after, theirs = values(model), values(small)
    equal({n: v for n, v in after.items() if n in theirs}, theirs)
    equal(*({n: v for n, v in of.items() if n not in theirs} for of in (after, before)))
    # And the other way round.
    deep = save(model, tmp_path / "22.weights.h5")
    with pytest.raises(InputError, match="group1_block3_bn1 is not in the model"):
        load_weights(small, deep)
    assert len(load_weights(small, deep, strict=False).unused) == len(report.missing)


def test_a_difference_in_shape_changes_nothing(file):
    model = keras_wrn.WideResNet(10, 2)
    before = values(model)
    sentence = r"conv1 is \(3, 3, 16, 16\) there and \(3, 3, 16, 32\) in the model; .*and 12 more"
    for strict in (True, False):
        with pytest.raises(InputError, match=sentence):
            load_weights(model, file, strict=strict)
    equal(values(model), before)
    with pytest.raises(InputError, match="stem_conv is .* there and"):
        load_weights(keras_wrn.WideResNet(10, 1, input_shape=(32, 32, 1)), file)
    with pytest.raises(InputError, match="no layer of the file is in the model"):
        load_weights(
            keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)]), file, strict=False
        )


def test_the_classifier_is_left_out_and_that_is_said(trained, file, monkeypatch):
    said = []
    monkeypatch.setattr(weights.logging, "info", lambda text, *of: said.append(text % of))
    model = keras_wrn.WideResNet(10, 1, classes=7)
    head = keras.ops.convert_to_numpy(model.get_layer("predictions").kernel)
    report = load_weights(model, file)
    assert (report.missing, report.unused) == (HEAD, HEAD)
    assert any("predictions not in the file" in text for text in said)
    np.testing.assert_array_equal(model.get_layer("predictions").kernel, head)
    body = {n: v for n, v in values(trained).items() if not n.startswith("predictions")}
    equal({n: v for n, v in values(model).items() if n in body}, body)

    topless = keras_wrn.WideResNet(10, 1, include_top=False, pooling="avg", weights=file)
    equal(values(topless), body)
    report = load_weights(topless, file)
    assert (report.missing, report.unused) == ((), HEAD)
    assert any("predictions not used" in text for text in said)


def test_a_builder_never_leaves_a_classifier_untrained(file, tmp_path):
    ways = r"include_top=False, or with weights=None and call keras_wrn.load_weights\(model"
    with pytest.raises(InputError, match=f"another classifier .* {ways}"):
        keras_wrn.WideResNet(10, 1, classes=7, weights=file)
    topless = save(keras_wrn.WideResNet(10, 1, include_top=False), tmp_path / "t.weights.h5")
    with pytest.raises(InputError, match=ways):
        keras_wrn.WideResNet(10, 1, weights=topless)
    assert load_weights(keras_wrn.WideResNet(10, 1), topless).missing == HEAD


def test_a_model_around_a_network_and_an_optimizer_in_the_file(trained, file, tmp_path):
    model = keras.Sequential([keras.layers.Rescaling(1 / 255), keras_wrn.WideResNet(10, 1)])
    model.build((None, 32, 32, 3))
    assert load_weights(model, file).missing == ()
    equal(values(model.layers[1]), values(trained))
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.optimizer.build(model.trainable_variables)
    whole = save(model, tmp_path / "whole.weights.h5")
    with h5py.File(whole) as stored:
        assert "optimizer" in stored
    assert load_weights(keras_wrn.WideResNet(10, 1), whole).unused == ()
    weight_files.write_float16(whole, tmp_path / "half.weights.h5")
    with h5py.File(tmp_path / "half.weights.h5") as stored:
        assert list(stored) == ["layers"]


def test_variables_keep_their_precision(file):
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = keras_wrn.WideResNet(10, 1, weights=file)
    assert {variable.dtype for variable in model.weights} == {"float32"}


def test_other_channels_load_from_a_path(tmp_path):
    grey = randomise(keras_wrn.WideResNet(10, 1, input_shape=(32, 32, 1)))
    path = save(grey, tmp_path / "grey.weights.h5")
    model = keras_wrn.WideResNet(10, 1, input_shape=(32, 32, 1), weights=path)
    equal(values(model), values(grey))


def test_a_run_folder_and_a_keyword(monkeypatch, tmp_path):
    saved_models = only_here(monkeypatch, tmp_path)
    folder = write_run(saved_models / "wrn-10-1-digits")
    by_path, by_name = (keras_wrn.WideResNet(10, 1, weights=w) for w in (str(folder), "digits"))
    equal(values(by_path), values(by_name))
    model = keras_wrn.WideResNet(10, 1, classes=3, dropout=0.1)
    assert load_weights(model, "digits").missing == HEAD
    keras_wrn.WideResNet(10, 1, classes=3, include_top=False, weights="digits")
    ways = r"include_top=False, or .*keras_wrn.load_weights\(model, 'digits'\)"
    with pytest.raises(InputError, match=rf"have 10 classes, and the model has 3.* {ways}"):
        keras_wrn.WideResNet(10, 1, classes=3, weights="digits")
    with pytest.raises(InputError, match="no published weights 'digits' for WRN-16-1"):
        load_weights(keras_wrn.WideResNet(16, 1), "digits")


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


def store_integers(path):
    with h5py.File(path, "r+") as stored:
        del stored["layers/batch_normalization/vars/0"]
        stored["layers/batch_normalization/vars/0"] = np.zeros(16, "int64")


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
        (link_outside, r"bn1 is \(16,\), \(16,\), \(16,\) there and"),
        (store_integers, "must hold floats. Received: int64"),
    ],
)
def test_a_damaged_file_is_refused_and_changes_nothing(file, tmp_path, damage, sentence):
    path = tmp_path / "b.weights.h5"
    path.write_bytes(file.read_bytes())
    damage(path)
    model = keras_wrn.WideResNet(10, 1)
    before = values(model)
    with pytest.raises(InputError, match=sentence):
        load_weights(model, path)
    equal(values(model), before)


@pytest.mark.parametrize(
    ("write", "sentence"),
    [
        (
            lambda path, of: path.write_bytes(write_safetensors(path, of).read_bytes()[:-9]),
            "damaged",
        ),
        (lambda path, of: path.write_bytes(b"{}"), "damaged"),
        (lambda path, of: write_safetensors(path, of, "I32"), "must hold floats"),
        (
            lambda path, of: write_safetensors(
                path, {n.replace("/", "."): v for n, v in of.items()}
            ),
            "stem_conv is not in the file",
        ),
    ],
)
def test_damaged_safetensors_are_refused(trained, tmp_path, write, sentence):
    path = tmp_path / "a.safetensors"
    write(path, values(trained))
    with pytest.raises(InputError, match=sentence):
        load_weights(keras_wrn.WideResNet(10, 1), path)


def test_another_programs_file_is_sent_to_convert(tmp_path):
    path = tmp_path / "a.pth"
    path.write_bytes(b"PK")
    for given in (path, str(path)):
        with pytest.raises(InputError, match="keras_wrn.convert reads the checkpoints of others"):
            keras_wrn.WideResNet(10, 1, weights=given)


def test_a_bare_word_names_published_weights_and_all_else_is_a_path():
    words = ("cifar10", "imagenet-v2", "wrn-28-1.5-cifar10", "mars")
    assert all(weight_files.is_keyword(word) for word in words)
    paths = ("./cifar10", "a/b", "a.h5", "a.weights.h5", "a.safetensors", "a.pth", "a.keras", None)
    assert not any(weight_files.is_keyword(path) for path in paths)
