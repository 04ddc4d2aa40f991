"""examples/anomaly_detection.py finds a spot on stripes, with a small network."""

import importlib
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import keras_wrn

EXAMPLES = Path(keras_wrn.__file__).parents[1] / "examples"
pytest.importorskip("scipy", reason="the example needs SciPy, of the extra train")


@pytest.fixture
def example(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    return importlib.import_module("anomaly_detection")


def stripes(count, seed, size=64):
    """Stripes of four phases with some noise."""
    random = np.random.default_rng(seed)
    phases = np.pi / 2 * (np.arange(count)[:, None, None, None] % 4)
    wave = 128 + 80 * np.sin(np.arange(size)[None, None, :, None] * 0.7 + phases)
    noisy = wave + random.normal(0, 6, (count, size, size, 3))
    return noisy.clip(0, 255).astype("uint8")


def spotted(images):
    images = images.copy()
    images[:, 40:52, 12:24] = 128
    return images


@pytest.fixture
def network():
    return keras_wrn.WideResNet(10, 1, include_top=False, input_shape=(64, 64, 3))


def test_the_spot_is_found_and_where_it_is(example, network):
    extract = example.patch_extractor(network, "cifar10")
    memory = example.remember(extract, stripes(8, 0))
    assert memory.shape == (round(0.1 * 8 * 32 * 32), 32 + 64)
    good = example.score(extract, stripes(4, 1), memory)
    bad = example.score(extract, spotted(stripes(4, 2)), memory)
    assert good.shape == (4, 32, 32)
    assert bad.max(axis=(1, 2)).min() > good.max(axis=(1, 2)).max()
    for heat in bad:
        row, column = np.unravel_index(heat.argmax(), heat.shape)
        assert 18 <= row <= 28
        assert 4 <= column <= 14


def test_the_coreset_is_the_greedy_one(example):
    patches = np.random.default_rng(0).normal(size=(40, 3))
    chosen = example.coreset(patches, 0.25)
    assert len(set(chosen)) == len(chosen) == 10
    for count in range(1, 10):
        gaps = np.linalg.norm(patches[:, None] - patches[chosen[:count]], axis=2).min(axis=1)
        assert chosen[count] == gaps.argmax()


def test_what_is_remembered_has_distance_zero(example, network):
    extract = example.patch_extractor(network, "cifar10")
    images = stripes(1, 3)
    memory = example.remember(extract, images, share=1.0)
    assert example.score(extract, images, memory).max() < 0.05


@pytest.mark.filterwarnings("ignore")
def test_scores_are_the_same_after_export_to_onnx(example, network, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs onnxruntime")
    pytest.importorskip("tf2onnx", reason="needs tf2onnx")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("Keras writes ONNX from TensorFlow by tf2onnx")
    model = keras_wrn.features(network, example.GROUPS)
    path = tmp_path / "features.onnx"
    signature = [keras.InputSpec(dtype="float32", shape=model.input_shape, name="images")]
    model.export(path, format="onnx", verbose=False, input_signature=signature)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def exported(images):
        x = keras_wrn.preprocess_input(images, "cifar10")
        maps = dict(zip(names, session.run(None, {session.get_inputs()[0].name: x})))
        return example.join([maps[name] for name in example.GROUPS])

    extract = example.patch_extractor(network, "cifar10")
    memory = example.remember(extract, stripes(4, 0))
    images = spotted(stripes(2, 1))
    ours, theirs = (example.score(function, images, memory) for function in (extract, exported))
    np.testing.assert_allclose(theirs, ours, atol=1e-3)


def test_the_program_ranks_pictures_and_draws_them(example, network, tmp_path, monkeypatch):
    monkeypatch.setattr(keras_wrn, "WideResNet50_2", lambda **options: network)
    (tmp_path / "good").mkdir()
    for number, image in enumerate(stripes(6, 0, 80)):
        Image.fromarray(image).save(tmp_path / "good" / f"{number}.png")
    files = [str(tmp_path / "fine.png"), str(tmp_path / "spot.png")]
    Image.fromarray(stripes(1, 1, 80)[0]).save(files[0])
    Image.fromarray(spotted(stripes(1, 1, 80))[0]).save(files[1])
    words = [str(tmp_path / "good"), *files, "--size", "64", "--save", str(tmp_path / "drawn")]
    lines = example.main(example.parse(words)).splitlines()
    assert [line.split()[1] for line in lines] == files
    drawn = np.asarray(Image.open(tmp_path / "drawn" / "spot.png"))
    assert drawn.shape == (64, 64, 3)
    with pytest.raises(keras_wrn.InputError, match="pictures of different names"):
        example.main(example.parse(words))  # they are there
    twice = [words[0], files[0], str(tmp_path / "good" / "fine.png"), "--save", str(tmp_path / "a")]
    with pytest.raises(keras_wrn.InputError, match="pictures of different names"):
        example.main(example.parse(twice))
    (tmp_path / "empty").mkdir()
    with pytest.raises(keras_wrn.InputError, match="must hold pictures"):
        example.main(example.parse([str(tmp_path / "empty"), files[0]]))
