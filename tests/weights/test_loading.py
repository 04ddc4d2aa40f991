import h5py
import keras
import numpy as np
import pytest
from checkpoint_writer import safetensors
from model_values import equal, values, with_random_weights
from published_folders import only_here
from quick_weights import zero_kernels, zeros_to_start_with  # noqa: F401 - a fixture
from tiny_run import write_run

import keras_wrn
from keras_wrn import load_weights
from keras_wrn.errors import InputError
from keras_wrn.weights.files import write_float16

pytestmark = pytest.mark.usefixtures("zero_kernels")
HEAD = ("predictions",)


def save(model, path):
    model.save_weights(path)
    return path


def as_type(arrays, kind):
    if kind == "BF16":  # the upper half of a float32, which the writer calls so
        return {name: (a.view("uint32") >> 16).astype("uint16") for name, a in arrays.items()}
    return {
        name: a.astype({"F32": "float32", "F16": "float16"}[kind]) for name, a in arrays.items()
    }


@pytest.fixture(scope="module")
def trained():
    with zeros_to_start_with():
        return with_random_weights(keras_wrn.WideResNet(10, 1))


@pytest.fixture(scope="module")
def file(trained, tmp_path_factory):
    return save(trained, tmp_path_factory.mktemp("weights") / "a.weights.h5")


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
        write_float16(file, path)
        assert path.stat().st_size < 0.7 * file.stat().st_size
    else:
        path.write_bytes(safetensors(as_type(values(trained), dtype)))
    model = keras_wrn.WideResNet(10, 1, dropout=0.3)  # dropout has no weights
    report = load_weights(model, path)
    assert report.loaded == tuple(layer.name for layer in model.layers if layer.weights)
    assert (report.missing, report.unused) == ((), ())
    equal(values(model), values(trained), tolerance)
    assert {variable.dtype for variable in model.weights} == {"float32"}
    equal(values(keras_wrn.WideResNet(10, 1, weights=path)), values(model))


def test_a_float16_file_loads_by_plain_keras(file, tmp_path):
    path = tmp_path / "half.weights.h5"
    write_float16(file, path)
    plain = keras_wrn.WideResNet(10, 1)
    plain.load_weights(path)
    equal(values(plain), values(keras_wrn.WideResNet(10, 1, weights=path)))
    with h5py.File(path) as stored:
        assert stored["layers/conv2d/vars/0"].dtype == np.float16
        assert stored["layers/conv2d_1/vars/0"].compression == "gzip"
    again = tmp_path / "again.weights.h5"
    write_float16(path, again)
    assert again.read_bytes() == path.read_bytes()


def test_layers_are_found_by_name_where_keras_goes_by_order(tmp_path):
    """WRN-16-1 into WRN-22-1: plain Keras would put weights into wrong places, and say nothing."""
    small = with_random_weights(keras_wrn.WideResNet(16, 1))
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
    equal(*({n: v for n, v in weights.items() if n not in theirs} for weights in (after, before)))
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
        dense = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
        load_weights(dense, file, strict=False)


def test_the_classifier_is_left_out_and_that_is_said(trained, file, capsys):
    model = keras_wrn.WideResNet(10, 1, classes=7)
    head = keras.ops.convert_to_numpy(model.get_layer("predictions").kernel)
    report = load_weights(model, file)
    assert (report.missing, report.unused) == (HEAD, HEAD)
    told = f"wide_resnet10_1 has the weights of {file}: "
    kept, unused = "predictions left as the model had it", "predictions of the file not used"
    assert capsys.readouterr().out == f"{told}{kept}; {unused}.\n"
    np.testing.assert_array_equal(model.get_layer("predictions").kernel, head)
    body = {n: v for n, v in values(trained).items() if not n.startswith("predictions")}
    equal({n: v for n, v in values(model).items() if n in body}, body)

    topless = keras_wrn.WideResNet(10, 1, include_top=False, pooling="avg", weights=file)
    equal(values(topless), body)
    assert capsys.readouterr().out == f"{told}{unused}.\n"  # by the builder, too
    report = load_weights(topless, file)
    assert (report.missing, report.unused) == ((), HEAD)
    assert capsys.readouterr().out == f"{told}{unused}.\n"
    load_weights(keras_wrn.WideResNet(10, 1), file)
    keras.config.disable_interactive_logging()
    load_weights(topless, file)
    keras.config.enable_interactive_logging()
    assert capsys.readouterr().out == ""


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
    write_float16(whole, tmp_path / "half.weights.h5")
    with h5py.File(tmp_path / "half.weights.h5") as stored:
        assert list(stored) == ["layers"]


def test_a_layer_that_counts_is_no_obstacle(trained, tmp_path):
    layers = [
        keras.layers.Normalization(),
        keras.layers.Rescaling(2.0),
        keras_wrn.WideResNet(10, 1),
    ]
    model = keras.Sequential(layers)
    model.build((None, 32, 32, 3))
    layers[0].adapt(np.random.default_rng(0).normal(size=(4, 32, 32, 3)).astype("float32"))
    path = save(model, tmp_path / "adapted.weights.h5")
    assert load_weights(model, path).missing == ()
    assert load_weights(keras_wrn.WideResNet(10, 1), path, strict=False).missing == ()


def test_variables_keep_their_precision(file):
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = keras_wrn.WideResNet(10, 1, weights=file)
    assert {variable.dtype for variable in model.weights} == {"float32"}


def test_other_channels_load_from_a_path(tmp_path):
    grey = with_random_weights(keras_wrn.WideResNet(10, 1, input_shape=(32, 32, 1)))
    path = save(grey, tmp_path / "grey.weights.h5")
    model = keras_wrn.WideResNet(10, 1, input_shape=(32, 32, 1), weights=path)
    equal(values(model), values(grey))


def test_a_run_folder_and_a_keyword(monkeypatch, tmp_path):
    saved_models = only_here(monkeypatch, tmp_path)
    folder = write_run(saved_models / "wrn-10-1-digits")
    stored = keras_wrn.WideResNet(10, 1)
    stored.load_weights(folder / "model.weights.h5")
    assert values(stored)["stem_conv/kernel"].std() > 0.1
    for where in (str(folder), "digits"):
        equal(values(keras_wrn.WideResNet(10, 1, weights=where)), values(stored))
    model = keras_wrn.WideResNet(10, 1, classes=3, dropout=0.1)
    assert load_weights(model, "digits").missing == HEAD
    topless = keras_wrn.WideResNet(10, 1, classes=3, include_top=False, weights="digits")
    body = {n: v for n, v in values(stored).items() if not n.startswith("predictions")}
    equal(values(topless), body)
    ways = r"include_top=False, or .*keras_wrn.load_weights\(model, 'digits'\)"
    with pytest.raises(InputError, match=rf"have 10 classes, and the model has 3.* {ways}"):
        keras_wrn.WideResNet(10, 1, classes=3, weights="digits")
    with pytest.raises(InputError, match="no published weights 'digits' for WRN-16-1"):
        load_weights(keras_wrn.WideResNet(16, 1), "digits")


def test_a_damaged_file_changes_nothing(file, tmp_path):
    path = tmp_path / "b.weights.h5"
    with h5py.File(file) as whole, h5py.File(path, "w") as part:
        whole.copy("layers", part)
        del part["layers/dense"], part["layers/conv2d/vars/0"]
        part["layers/conv2d/vars/0"] = "text"
    model = keras_wrn.WideResNet(10, 1)
    before = values(model)
    with pytest.raises(InputError, match="must hold numbers"):
        load_weights(model, path)
    with h5py.File(file) as whole, h5py.File(path, "w") as part:
        whole.copy("layers", part)
        del part["layers/batch_normalization/vars/0"]
        part["layers/batch_normalization/vars/0"] = np.zeros(16, "int64")
    with pytest.raises(InputError, match="must hold floats. Received: int64 in group1_block1_bn1"):
        load_weights(model, path)
    equal(values(model), before)


def test_another_programs_file_is_sent_to_convert(tmp_path):
    path = tmp_path / "a.pth"
    path.write_bytes(b"PK")
    for given in (path, str(path)):
        with pytest.raises(InputError, match="keras_wrn.convert reads the checkpoints of others"):
            keras_wrn.WideResNet(10, 1, weights=given)
