import dataclasses
import hashlib
import importlib.util
import math
import sys

import foreign_networks as foreign
import keras
import numpy as np
import pytest
import torch_writer
from checkpoint_writer import safetensors
from published_folders import only_here, serve
from quick_weights import zero_kernels  # noqa: F401 - a fixture
from reference_network import random_weights

import keras_wrn
from keras_wrn import InputError
from keras_wrn.inference.trained import load_model
from keras_wrn.networks.names import NETWORKS, Network
from keras_wrn.weights import owners as imagenet_weights
from keras_wrn.weights import owners_table, published
from keras_wrn.weights.card import read_card
from keras_wrn.weights.owners_table import OWNERS_FILES

pytestmark = pytest.mark.usefixtures("zero_kernels")
SMALL = "18-0.25"  # the layout of torchvision's ResNets with a sixteenth of the numbers
V1, V2, RACM = OWNERS_FILES[:3]
HAS_CLIENT = importlib.util.find_spec("huggingface_hub") is not None
REVISION = "30f73aceaaa1911830a9795b83ab1908dba18719"


@pytest.fixture(scope="module")
def weights():
    return random_weights(foreign.imagenet_shapes((2, 2, 2, 2), 16, 16, classes=1000))


@pytest.fixture(scope="module")
def tensors(weights):
    return foreign.checkpoint(foreign.torchvision, weights)


@pytest.fixture(scope="module")
def pth(tensors, tmp_path_factory):
    path = tmp_path_factory.mktemp("owner") / "small.pth"
    half = {name: array.astype("float16") for name, array in tensors.items() if array.ndim}
    torch_writer.write_zip(path, {name: torch_writer.tensor(array) for name, array in half.items()})
    return path.read_bytes()


@pytest.fixture
def owners(monkeypatch, tmp_path, pth, tensors):
    """Small files of the same layout, and a table that has their names; yields what is served."""
    only_here(monkeypatch, tmp_path)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)  # not installed
    small = Network("WideResNet18", "basic", 0, 1000, (("width", 0.25),))
    monkeypatch.setitem(NETWORKS, SMALL, small)
    timm = safetensors(tensors)
    digits = hashlib.sha256(pth).hexdigest()[:8]
    table = [
        dataclasses.replace(V1, network=SMALL, sha256=digits),
        dataclasses.replace(V2, network=SMALL, sha256="00000000"),
        dataclasses.replace(RACM, network=SMALL, size=len(timm)),
    ]
    monkeypatch.setattr(imagenet_weights, "OWNERS_FILES", table)
    files = {
        f"/models/wide_resnet18_0.25-{digits}.pth": pth,
        "/models/wide_resnet18_0.25-00000000.pth": pth,
        f"/timm/wide_resnet50_2.racm_in1k/resolve/{REVISION}/model.safetensors": timm,
    }
    with serve(files) as (url, asked):
        monkeypatch.setattr(owners_table, "TORCHVISION_URL", f"{url}/models")
        monkeypatch.setenv("HF_ENDPOINT", url)
        yield files, asked


def build(**options):
    return keras_wrn.WideResNet18(0.25, **{"input_shape": (32, 32, 3)} | options)


def assert_has(model, weights, tolerance=0.0):
    places = {layer.name: layer for layer in model.layers if layer.weights}
    assert places.keys() == weights.keys()
    for name, layer in places.items():
        for ours, theirs in zip(layer.get_weights(), weights[name], strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance, err_msg=name)


def test_the_table_is_the_owners():
    assert [(row.network, row.keyword, row.file, row.top1, row.top5) for row in OWNERS_FILES] == [
        ("50-2", "imagenet-v1", "wide_resnet50_2-95faca4d.pth", 78.468, 94.086),
        ("50-2", "imagenet-v2", "wide_resnet50_2-9ba9bcbe.pth", 81.602, 95.758),
        ("50-2", "imagenet-racm", "model.safetensors", 82.260, 96.062),
        ("101-2", "imagenet-v1", "wide_resnet101_2-32ee1156.pth", 78.848, 94.284),
        ("101-2", "imagenet-v2", "wide_resnet101_2-d733dc28.pth", 82.510, 96.020),
    ]
    assert V2.url == "https://download.pytorch.org/models/wide_resnet50_2-9ba9bcbe.pth"
    assert RACM.url.startswith("https://huggingface.co/timm/wide_resnet50_2.racm_in1k/resolve/30f7")
    assert all(
        row.sha256 in row.file and len(row.sha256) == 8
        for row in OWNERS_FILES
        if not row.repository
    )


def test_imagenet_is_the_best_of_a_network():
    find = imagenet_weights.find_owned
    assert find("WRN-50-2 (ImageNet)", "imagenet").card.keyword == "imagenet-racm"
    assert find("WRN-101-2 (ImageNet)", "imagenet").card.keyword == "imagenet-v2"
    assert find("WRN-50-2 (ImageNet)", "wrn-50-2-imagenet-v1").card.keyword == "imagenet-v1"
    assert find("WRN-101-2 (ImageNet)", "imagenet-racm") is None
    assert find("WRN-50-2", "imagenet") is None
    assert imagenet_weights.input_size("WideResNet50_2", "imagenet", 224) == 288
    assert imagenet_weights.input_size("WideResNet50_2", "imagenet-v2", 200) == 224
    assert imagenet_weights.input_size("WideResNet18", "imagenet", 200) == 200


def test_each_has_a_card_with_its_own_preprocessing():
    listed = [row for row in keras_wrn.list_weights() if "owner" in row["card"]]
    rows = {(row["name"], row["weights"]): row for row in listed}
    assert len(rows) == 5
    row = rows["WRN-50-2", "imagenet-racm"]
    assert row["measured_by"] == "published by its owner, not measured here"
    assert (row["error"], row["top5_error"], row["nll"]) == (0.1774, 0.03938, None)
    assert (row["licence"], row["size"]) == ("Apache-2.0 (timm)", 275_835_296)
    of = {key: row["card"]["preprocessing"] for key, row in rows.items()}
    sizes = {key: (p["resize"], p["size"], p["interpolation"]) for key, p in of.items()}
    assert sizes == {
        ("WRN-50-2", "imagenet-v1"): (256, 224, "bilinear"),
        ("WRN-50-2", "imagenet-v2"): (232, 224, "bilinear"),
        ("WRN-50-2", "imagenet-racm"): (303, 288, "bicubic"),
        ("WRN-101-2", "imagenet-v1"): (256, 224, "bilinear"),
        ("WRN-101-2", "imagenet-v2"): (232, 224, "bilinear"),
    }
    pixels = np.full((1, 1, 1, 3), 255, "uint8")
    for row in rows.values():
        expected = keras_wrn.preprocess_input(pixels, "imagenet")
        np.testing.assert_allclose(keras_wrn.preprocess_input(pixels, row["card"]), expected)


def test_torchvision_s_file_is_converted_on_first_use(owners, weights, pth):
    _, asked = owners
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = build(weights="imagenet-v1")
    assert_has(model, weights, tolerance=2e-3)  # its numbers are float16
    assert_has(build(weights="imagenet-v1"), weights, tolerance=2e-3)
    assert len(asked) == 1
    folder = published.cache() / "wrn-18-0.25-imagenet-v1"
    assert sorted(path.name for path in folder.iterdir()) == ["card.json", "model.weights.h5"]
    assert [path.name for path in published.cache().iterdir()] == [folder.name]
    card = read_card(folder).to_dict()
    assert card["owners_sha256"] == hashlib.sha256(pth).hexdigest()
    assert card["measured_by"] == "published by its owner, not measured here"
    keras.config.set_dtype_policy("float32")
    plain = build()
    keras_wrn.load_weights(plain, folder / "model.weights.h5")
    assert_has(plain, weights, tolerance=2e-3)


def test_a_download_that_broke_off_goes_on(owners, weights, monkeypatch):
    files, _ = owners
    [(path, content)] = [(path, content) for path, content in files.items() if "timm" in path]
    half = len(content) // 2 + 1
    with serve({path: content}, cut=half) as (url, asked):
        monkeypatch.setenv("HF_ENDPOINT", url)
        monkeypatch.setattr(imagenet_weights.downloads, "TRIES", 1)
        with pytest.raises(InputError, match=rf"belong to timm.* gave {half:,} bytes of .*kept"):
            build(weights="imagenet")
        assert_has(build(weights="imagenet"), weights)
        assert asked == [path] * 2
    assert [path.name for path in published.cache().iterdir()] == ["wrn-18-0.25-imagenet-racm"]


def test_a_damaged_conversion_is_made_again(owners, weights):
    build(weights="imagenet-v1")
    kept = published.cache() / "wrn-18-0.25-imagenet-v1" / "model.weights.h5"
    kept.write_bytes(b"half")
    assert_has(build(weights="imagenet-v1"), weights, tolerance=2e-3)
    assert sorted(path.name for path in kept.parent.iterdir()) == ["card.json", kept.name]


def test_imagenet_is_timm_s_here_and_runs_as_its_card_says(owners, weights):
    model = build(weights="imagenet", include_top=False)
    body = {name: values for name, values in weights.items() if name != "predictions"}
    assert_has(model, body)
    trained = load_model(SMALL, "imagenet")
    assert trained.card["weights"] == "imagenet-racm"
    assert trained.model.input_shape == (None, 288, 288, 3)
    assert (trained.preprocessing.resize, trained.preprocessing.interpolation) == (303, "bicubic")
    assert len(owners[1]) == 1
    rows = [row for row in keras_wrn.list_weights() if row["folder"]]
    assert [(row["weights"], row["sha256"]) for row in rows] == [
        ("imagenet-racm", trained.card["weights_sha256"])
    ]


def test_other_classes_are_refused_before_anything_is_fetched(owners):
    with pytest.raises(InputError, match="have 1000 classes, and the model has 5"):
        build(weights="imagenet", classes=5)
    assert owners[1] == []
    report = keras_wrn.load_weights(build(classes=5), "imagenet")
    assert report.missing == ("predictions",)


def test_a_file_with_another_hash_is_refused(owners):
    sentence = "imagenet-v2 weights .*torchvision.* must start with 00000000. Nothing was kept"
    with pytest.raises(InputError, match=sentence):
        build(weights="imagenet-v2")
    assert list(published.cache().iterdir()) == []


@pytest.mark.parametrize(
    ("keyword", "change", "sentence"),
    [
        ("imagenet-v1", lambda content: None, "HTTP 404"),
        ("imagenet-v1", lambda content: content[:-5], "must start with"),
        ("imagenet-racm", lambda content: content[:-5], r"has [\d,]+ bytes, and must have [\d,]+"),
        ("imagenet-racm", lambda content: bytes(len(content)), "A checkpoint must be"),
    ],
)
def test_what_goes_wrong_is_a_sentence_and_leaves_nothing(owners, keyword, change, sentence):
    files, _ = owners
    for name in list(files):
        files[name] = change(files[name])
    with pytest.raises(InputError, match=sentence):
        build(weights=keyword)
    assert list(published.cache().iterdir()) == []


def test_another_network_in_the_file_is_refused(owners, monkeypatch):
    files, _ = owners
    other = random_weights(foreign.imagenet_shapes((3, 4, 6, 3), 16, 16, classes=1000))
    content = safetensors(foreign.checkpoint(foreign.torchvision, other))
    timm = dataclasses.replace(imagenet_weights.OWNERS_FILES[2], size=len(content))
    monkeypatch.setattr(imagenet_weights, "OWNERS_FILES", [timm])
    for name in files:
        files[name] = content
    with pytest.raises(InputError, match=r"must hold a WRN-18-0.25 .*Received: WRN-34-0.25"):
        build(weights="imagenet")
    assert list(published.cache().iterdir()) == []


def test_a_file_put_there_by_hand_is_taken(owners, weights, pth):
    """The way without a network."""
    files, asked = owners
    name, timm = imagenet_weights.OWNERS_FILES[0].file, files[next(n for n in files if "timm" in n)]
    files.clear()
    with pytest.raises(InputError, match=f"also put {name} of .*/{name} into {published.cache()}"):
        build(weights="imagenet-v1")
    asked.clear()
    (published.cache() / name).write_bytes(pth[:-1])
    with pytest.raises(InputError, match=rf"{name} is damaged or another file.*Delete it"):
        build(weights="imagenet-v1")
    (published.cache() / name).write_bytes(pth)
    assert_has(build(weights="imagenet-v1"), weights, tolerance=2e-3)
    # timm's hash is not known, its length is; and it is what "imagenet" stands for.
    (published.cache() / "model.safetensors").write_bytes(timm + b" ")
    with pytest.raises(InputError, match=rf"it has {len(timm) + 1:,} bytes, and must have"):
        build(weights="imagenet")
    (published.cache() / "model.safetensors").write_bytes(timm)
    assert_has(build(weights="imagenet"), weights)
    assert asked == []


@pytest.mark.skipif(not HAS_CLIENT, reason="needs huggingface_hub")
def test_hugging_face_s_client_is_used(owners, weights, tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "huggingface_hub")
    import huggingface_hub
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    assert_has(build(weights="imagenet-racm"), weights)
    assert len(list((tmp_path / "hub").rglob("model.safetensors"))) == 1

    def refuse(*_, **__):
        raise RuntimeError("gated")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", refuse)
    imagenet_weights.shutil.rmtree(published.cache())
    with pytest.raises(InputError, match="belong to timm.* could not be fetched: gated"):
        build(weights="imagenet-racm")


@pytest.mark.slow
@pytest.mark.skipif(
    keras.config.backend() != "tensorflow", reason="a file is read alike on every backend"
)
def test_a_file_of_the_size_and_layout_of_timm_s(monkeypatch, tmp_path):
    """All 275,835,296 bytes: random numbers under timm's names, through loopback."""
    only_here(monkeypatch, tmp_path)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    shapes = foreign.imagenet_shapes((3, 4, 6, 3), 128, 256, classes=1000)
    weights = {
        name: [np.full(shape, 1 + 1 / math.prod(shape), "float32") for shape in of]
        for name, of in shapes.items()
    }
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors(foreign.checkpoint(foreign.torchvision, weights)))
    assert path.stat().st_size == RACM.size == 275_835_296
    with serve({f"/{RACM.repository}/resolve/{REVISION}/model.safetensors": path}) as (url, _):
        monkeypatch.setenv("HF_ENDPOINT", url)
        model = keras_wrn.WideResNet50_2(weights="imagenet")
    assert model.input_shape == (None, 288, 288, 3)
    assert_has(model, weights)
    imagenet_weights.shutil.rmtree(tmp_path)  # more than pytest should keep
