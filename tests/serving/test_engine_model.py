"""The same interface on another engine: the file beside the SavedModel, and its answers."""

import io

import keras
import numpy as np
import pytest
from PIL import Image
from tiny_run import DIGITS, random_images

import keras_wrn
from keras_wrn.deploy.serving_files import export_beside
from keras_wrn.errors import InputError
from keras_wrn.insight.calibration import softmax
from keras_wrn.insight.outputs import open_reader, read
from keras_wrn.serving.engine_model import loader
from keras_wrn.serving.servable import SavedModel, warm_up

if keras.config.backend() != "tensorflow":
    pytest.skip("a SavedModel needs TensorFlow", allow_module_level=True)
TEMPERATURE = 0.5
PACKAGES = {"openvino": "openvino", "onnx": "onnxruntime", "litert": "tensorflow"}


@pytest.fixture(scope="module")
def folder(digits, tmp_path_factory):
    """The folder of a version without an engine's file."""
    parent = tmp_path_factory.mktemp("engine")
    return keras_wrn.export(digits, parent, "digits", temperature=TEMPERATURE)


@pytest.fixture(scope="module", params=["openvino-int8", "openvino", "onnx", "litert"])
def exported(request, folder, digits):
    """(engine, folder of the version)."""
    engine = request.param
    pytest.importorskip(PACKAGES[engine.partition("-")[0]])
    if engine == "openvino-int8":  # as a user exports it
        options = {"engine": engine, "calibration": random_images(64), "temperature": TEMPERATURE}
        return engine, keras_wrn.export(digits, folder.parent, "digits", version=2, **options)
    export_beside(folder, digits, DIGITS, engine, None, TEMPERATURE)
    return engine, folder


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def test_an_engine_answers_as_the_network_does(exported, digits):
    engine, folder = exported
    model, images = loader(engine)(folder), random_images(3)
    warm_up(model)
    bound = 0.2 if engine.endswith("int8") else 1e-4
    logits = read(open_reader(digits, DIGITS), images).logits
    of_pixels = model.run("serving_default", {"images": images})
    files = np.array([png(images[0]), b"no image", *map(png, images[1:])], object)
    of_files = model.run("serving_bytes", {"image_bytes": files})
    assert of_files["valid"].tolist() == [1, 0, 1, 1]
    for found in (of_pixels["probabilities"], of_files["probabilities"][[0, 2, 3]]):
        np.testing.assert_allclose(found, softmax(logits / TEMPERATURE), atol=bound)
    np.testing.assert_allclose(of_files["probabilities"][1], 0.1)
    np.testing.assert_allclose(softmax(of_pixels["logits"]), softmax(logits), atol=bound)
    best = of_files["top5_classes"]
    assert of_files["top5_labels"].tolist() == [[b"%d" % i for i in row] for row in best]
    nothing = model.run("serving_bytes", {"image_bytes": np.array([], object)})
    assert nothing["probabilities"].shape == (0, 10) and nothing["top5_labels"].shape == (0, 5)


def test_the_signatures_are_the_saved_models_but_for_the_features(exported):
    engine, folder = exported
    saved, model = SavedModel(folder), loader(engine)(folder)
    theirs, ours = saved.signatures, model.signatures
    assert set(theirs) - set(ours) == {"features"}
    for name, signature in ours.items():
        for tensors, others in (
            (signature.inputs, theirs[name].inputs),
            (signature.outputs, theirs[name].outputs),
        ):
            assert {k: (v.dtype, v.shape) for k, v in tensors.items()} == {
                k: (v.dtype, v.shape) for k, v in others.items()
            }
    arrays = {"image_bytes": np.array([png(random_images(1)[0])], object)}
    kinds = {k: v.dtype.kind for k, v in saved.run("serving_bytes", arrays).items()}
    found = model.run("serving_bytes", arrays)
    assert {k: v.dtype.kind for k, v in found.items()} == kinds


def test_a_folder_without_the_file_is_refused(tmp_path, digits):
    with pytest.raises(InputError, match="no file for onnx: export it again with --engine onnx"):
        loader("onnx")(tmp_path)
    with pytest.raises(InputError, match="--engine must be one of litert, .* Received: tensorrt"):
        loader("tensorrt")
    with pytest.raises(InputError, match=r"The engine must be one of .* Received: 'tensorrt'"):
        keras_wrn.export(digits, tmp_path / "new", "digits", engine="tensorrt")
    assert not (tmp_path / "new").exists()
