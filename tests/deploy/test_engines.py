"""Files for other engines: every engine agrees with Keras, in floating point and in 8 bits."""

import importlib
import importlib.util
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from tiny_run import DIGITS, random_images, write_run

import keras_wrn
from keras_wrn.cli import main
from keras_wrn.deploy import checking, engines, serving_files
from keras_wrn.errors import InputError
from keras_wrn.inference.classifier import class_probabilities
from keras_wrn.inference.trained import load_trained

ENGINES = ("ai_edge_litert", "onnxruntime", "openvino", "onnx", "tf2onnx")
MISSING = [name for name in ENGINES if importlib.util.find_spec(name) is None]
needs_engines = pytest.mark.skipif(
    keras.config.backend() != "tensorflow" or bool(MISSING),
    reason=f"needs TensorFlow and the engines; not here: {', '.join(MISSING) or 'TensorFlow'}",
)
SUFFIXES = {name: row[0] for name, row in engines.FORMATS.items()}
FLOATS = [(name, None) for name in SUFFIXES]
EIGHT_BITS = [("litert", "dynamic"), *((name, "int8") for name in SUFFIXES)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = write_run(tmp_path_factory.mktemp("run") / "run")
    run = load_trained(folder)
    # Random weights give near ties; a head of its own size makes every answer clear.
    head = run.model.get_layer("predictions")
    head.set_weights([weights * 8 for weights in head.get_weights()])
    return run


def _answers(path: Path, images: np.ndarray) -> np.ndarray:
    """The answers of the engine of the file, without Keras."""
    if path.suffix == ".tflite":
        interpreter = importlib.import_module("ai_edge_litert.interpreter").Interpreter(str(path))
        runner = interpreter.get_signature_runner("serving_default")
        assert list(runner.get_input_details()) == ["images"]
        return np.concatenate([runner(images=image[None])["probabilities"] for image in images])
    if path.suffix == ".onnx":
        session = importlib.import_module("onnxruntime").InferenceSession(str(path))
        return session.run(["probabilities"], {"images": images})[0]
    openvino = importlib.import_module("openvino")
    # Without the hint, CPUs that have bfloat16 compute in it.
    hint = {"INFERENCE_PRECISION_HINT": "f32"}
    model = openvino.Core().compile_model(str(path), "CPU", hint)
    return model({"images": images})["probabilities"]


@needs_engines
def test_openvino_and_onnx_runtime_take_the_saved_model_itself(trained, tmp_path):
    folder = keras_wrn.export(trained.model, tmp_path / "served", DIGITS)
    images = random_images(3)
    expected = class_probabilities(trained.model, images, DIGITS)
    np.testing.assert_allclose(_answers(folder, images), expected, atol=1e-5)
    file = tmp_path / "wrn.onnx"
    convert = [sys.executable, "-m", "tf2onnx.convert", "--saved-model", str(folder)]
    subprocess.run([*convert, "--output", file], check=True, capture_output=True)
    np.testing.assert_allclose(_answers(file, images), expected, atol=1e-5)


@needs_engines
@pytest.mark.parametrize(("file_format", "quantize"), FLOATS + EIGHT_BITS)
def test_every_engine_agrees_with_keras(file_format, quantize, trained, tmp_path):
    path = engines.export_file(
        trained.model,
        tmp_path / f"wrn{SUFFIXES[file_format]}",
        DIGITS,
        file_format=file_format,
        quantize=quantize,
        calibration=random_images(64, seed=1),  # which alone quantise nothing
    )
    images = random_images(32, seed=2)
    expected = class_probabilities(trained.model, images, DIGITS)
    got = _answers(path, images)
    assert got.shape == expected.shape and got.dtype == np.float32
    if quantize is None:
        np.testing.assert_allclose(got, expected, atol=1e-5)
    else:
        assert np.abs(got - expected).mean() < 0.01
        assert np.abs(got - expected).max() > 1e-5  # 8 bits are not float32
    left = {path.name, "wrn.bin"} if file_format == "openvino" else {path.name}
    assert {entry.name for entry in tmp_path.iterdir()} == left


@needs_engines
def test_eight_bits_take_a_quarter_of_the_space(trained, tmp_path):
    sizes = {}
    for quantize in (None, "dynamic"):
        path = tmp_path / f"{quantize}.tflite"
        engines.export_file(trained.model, path, DIGITS, file_format="litert", quantize=quantize)
        sizes[quantize] = path.stat().st_size
    assert sizes["dynamic"] < 0.5 * sizes[None]


@needs_engines
def test_an_engine_beside_a_saved_model_does_not_look_at_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for suffix in SUFFIXES.values():
        (tmp_path / f"engine{suffix}").touch()
    for engine in serving_files.ENGINES:
        serving_files.check_engine(engine)


@needs_engines
def test_the_command_line_writes_and_refuses(tmp_path, capsys):
    folder = write_run(tmp_path / "run")

    def export(*words):
        return main.main(main.parse(["export", str(folder), *map(str, words)]))

    target = tmp_path / "out" / "wrn.tflite"
    assert export(target, "--format", "litert", "--quantize", "int8") == 0
    assert target.is_file() and str(target) in capsys.readouterr().out
    refused = [
        ((target, "--format", "litert"), "exists"),
        ((tmp_path / "a.onnx", "--format", "onnx", "--quantize", "dynamic"), "quantised to int8"),
        ((tmp_path / "a.onnx", "--format", "coreml"), "must be one of litert, onnx, openvino"),
        ((tmp_path / "a.bin", "--format", "openvino"), "must end in .xml"),
        ((tmp_path / "a", "--quantize", "int8"), "not quantised"),
        ((tmp_path / "a.onnx", "--format", "onnx", "--version", "2"), "--version is for"),
        ((tmp_path / "a.onnx", "--format", "onnx", "--calibration", "digits"), "int8"),
        ((tmp_path / "a.onnx", "--format", "onnx", "--batching"), "--batching is for a SavedModel"),
        ((tmp_path / "a", "--tpr", "0.9"), "--tpr is for --scores"),
        ((tmp_path / "a", "--data_dir", "b"), "for an --engine of int8 and --scores"),
        ((tmp_path / "a", "--scores", "vim"), "Scores must be of max_softmax, energy, knn"),
        (("--format", "onnx"), "one file to write to"),
    ]
    for words, sentence in refused:
        assert export(*words) == 2
        assert sentence in capsys.readouterr().err


@needs_engines
def test_calibration_must_be_images_of_the_networks_size(trained, tmp_path):
    def export(calibration):
        engines.export_file(
            trained.model,
            tmp_path / "wrn.tflite",
            DIGITS,
            file_format="litert",
            quantize="int8",
            calibration=calibration,
        )

    with pytest.raises(InputError, match="needs `calibration`"):
        export(None)
    with pytest.raises(InputError, match=r"`calibration` must be uint8 of shape \(n, 32, 32, 3\)"):
        export(random_images(4, size=16))
    assert not list(tmp_path.iterdir())


@needs_engines
@pytest.mark.parametrize(
    ("file_format", "policy"),
    [("litert", "mixed_float16"), ("onnx", "mixed_bfloat16"), ("openvino", "mixed_bfloat16")],
)
def test_mixed_precision_is_exported_in_float32(file_format, policy, trained, tmp_path):
    path = tmp_path / f"wrn{SUFFIXES[file_format]}"
    images = random_images(8, seed=2)
    expected = class_probabilities(trained.model, images, DIGITS)
    keras.config.set_dtype_policy(policy)
    try:
        model = keras_wrn.WideResNet(10, 1)
        model.set_weights(trained.model.get_weights())
        engines.export_file(model, path, DIGITS, file_format=file_format)
        rough = class_probabilities(model, images, DIGITS)
    finally:
        keras.config.set_dtype_policy("float32")
    np.testing.assert_allclose(_answers(path, images), expected, atol=1e-5)
    assert 1e-5 < np.abs(rough - expected).max() < 0.1  # mixed precision is not float32
    assert model.get_layer("stem_conv").compute_dtype == policy.removeprefix("mixed_")


@needs_engines
@pytest.mark.parametrize("file_format", list(SUFFIXES))
def test_logits_are_refused_as_evaluate_refuses_them(file_format, tmp_path):
    model = keras_wrn.WideResNet(10, 1, classifier_activation=None)
    path = tmp_path / f"wrn{SUFFIXES[file_format]}"
    with pytest.raises(InputError, match="must return probabilities: build it with classifier_act"):
        engines.export_file(model, path, DIGITS, file_format=file_format)
    assert not list(tmp_path.iterdir())


@needs_engines
@pytest.mark.parametrize("damage", ["other weights", "no file of this engine"])
@pytest.mark.parametrize("file_format", list(SUFFIXES))
def test_a_file_that_answers_otherwise_never_appears(
    file_format, damage, trained, tmp_path, monkeypatch
):
    write = engines._WRITERS[file_format]

    def write_wrongly(classifier, path, quantize, calibration):
        if damage == "other weights":
            other = keras.models.clone_model(classifier)
            write(other, path, quantize, calibration)
        else:
            path.write_bytes(b"nothing")

    monkeypatch.setitem(engines._WRITERS, file_format, write_wrongly)
    path = tmp_path / f"wrn{SUFFIXES[file_format]}"
    with pytest.raises(InputError, match="was not written: its (probabilities differ|engine does)"):
        engines.export_file(trained.model, path, DIGITS, file_format=file_format)
    assert not list(tmp_path.iterdir())


def test_wrong_answers_in_8_bits_are_noticed_among_many_classes(monkeypatch):
    expected = np.eye(100, dtype=np.float32)[:4]
    monkeypatch.setattr(checking, "open_engine", lambda *_: lambda _: np.roll(expected, 1, axis=1))
    with pytest.raises(InputError, match="differ from Keras' by 2 in sum, on average; at most 1"):
        checking.check_file(Path("a.onnx"), "onnx", random_images(4), expected, eight_bits=True)


def test_a_name_is_no_pattern(tmp_path, monkeypatch):
    def write(classifier, path, quantize, calibration):
        path.write_text("weights")
        path.with_suffix(".bin").write_text("more weights")

    monkeypatch.setitem(engines._WRITERS, "openvino", write)
    monkeypatch.setattr(engines, "check", lambda *_: None)
    for name in ("_classifier", "in_float32", "sample_images", "expected_answers", "check_file"):
        monkeypatch.setattr(engines, name, lambda *_, **__: None)
    path = tmp_path / "out" / "wrn[16-1].xml"
    engines.export_file(None, path, DIGITS, file_format="openvino")
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["wrn[16-1].bin", path.name]


def test_weights_beside_an_openvino_file_are_not_overwritten(tmp_path):
    (tmp_path / "model.bin").write_text("somebody's weights")
    with pytest.raises(InputError, match=r"model\.bin exists. Give a new name, or delete it"):
        engines.check(tmp_path / "model.xml", "openvino", None)


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"needs onnx, onnxruntime, tensorflow, tf2onnx.*engines"):
        engines.check(Path("wrn.onnx"), "onnx", None)
