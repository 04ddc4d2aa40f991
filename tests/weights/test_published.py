import errno
import io
import json
import os
import re
import shutil
import socket

import numpy as np
import pytest
from model_values import equal, values
from published_folders import folder_files, only_here, serve
from quick_weights import zero_kernels  # noqa: F401 - a fixture
from tiny_run import change_card, write_run

import keras_wrn
from keras_wrn import InputError, list_weights
from keras_wrn.cli import main
from keras_wrn.images.preprocessing import PREPROCESSING
from keras_wrn.inference import trained
from keras_wrn.system import downloads
from keras_wrn.training import run_folder
from keras_wrn.weights import finding, published
from keras_wrn.weights.card import read_card

NAME = "wrn-10-1-digits"


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A folder of published weights that is not on this machine."""
    folder = write_run(tmp_path_factory.mktemp("origin") / NAME)
    change_card(folder, parameters=77_850, recipe={"epochs": 20, "schedule": "cosine"})
    return folder


@pytest.fixture
def saved_models(monkeypatch, tmp_path):
    return only_here(monkeypatch, tmp_path)


@pytest.fixture
def mirror(monkeypatch):
    """Makes an address the one that is asked before the release address."""
    return lambda url: monkeypatch.setenv(published.URL_VARIABLE, url)


def everything(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_the_package_comes_first_then_the_cache_and_no_network_is_asked(
    saved_models, original, mirror, monkeypatch
):
    def never(*_, **__):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(downloads.urllib.request, "urlopen", never)
    mirror("http://127.0.0.1:9")
    cached = write_run(published.cache() / NAME)
    assert finding.find("WRN-10-1", "digits").folder == cached
    shipped = write_run(saved_models / NAME)
    assert finding.find("WRN-10-1", "digits").folder == shipped
    assert finding.find("WRN-10-1", NAME).folder == shipped
    model = keras_wrn.WideResNet(10, 1, weights="digits")
    expected = keras_wrn.load_trained(original).model
    equal(values(model), values(expected))


def test_where_published_weights_lie(monkeypatch, tmp_path):
    package = os.path.dirname(keras_wrn.__file__)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    assert [str(home) for home in finding.homes()] == [
        os.path.join(package, "saved_models"),
        os.path.join(os.path.dirname(package), "saved_models"),
        str(tmp_path / "keras_wrn"),
    ]
    monkeypatch.delenv("KERAS_HOME")
    assert published.cache() == tmp_path.home() / ".keras" / "keras_wrn"


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_download_lands_in_the_cache_once(saved_models, original, mirror, slash):
    with serve(folder_files(original, "/v1")) as (url, asked):
        mirror(f"{url}/v1{slash}")
        keras_wrn.WideResNet(10, 1, weights="digits")
        assert asked == [f"/v1/{NAME}/card.json", f"/v1/{NAME}/model.weights.h5"]
    folder = published.cache() / NAME
    assert everything(folder) == ["card.json", "model.weights.h5"]
    assert json.loads((folder / "card.json").read_text()) == read_card(original).to_dict()
    # The server is gone.
    assert trained.load_model("10-1", "digits").path == folder


def test_a_mirror_may_be_a_folder(saved_models, original, mirror):
    mirror(original.parent.as_uri())
    assert finding.find("WRN-10-1", "digits").weights_file().parent == published.cache() / NAME
    with pytest.raises(InputError, match="no published weights 'cifar10' for WRN-10-1"):
        finding.find("WRN-10-1", "cifar10")


def test_a_card_may_come_without_weights_that_are_too_large_to_ship(saved_models, original, mirror):
    shipped = saved_models / NAME
    shipped.mkdir(parents=True)
    (shipped / "card.json").write_bytes((original / "card.json").read_bytes())
    with pytest.raises(InputError, match=f"not on this machine, .* Set {published.URL_VARIABLE}"):
        keras_wrn.WideResNet(10, 1, weights="digits")
    with serve(folder_files(original)) as (url, asked):
        mirror(url)
        keras_wrn.WideResNet(10, 1, weights="digits")
        keras_wrn.WideResNet(10, 1, weights="digits")
        assert asked == [f"/{NAME}/model.weights.h5"]
    # A download that ended before its card was written.
    (published.cache() / NAME / "card.json").unlink()
    keras_wrn.WideResNet(10, 1, weights="digits")
    assert (published.cache() / NAME / "card.json").is_file()
    # The hash that counts is the one that was shipped.
    other = published.cache() / NAME / "model.weights.h5"
    other.write_bytes(b"other")
    with pytest.raises(InputError, match="damaged or another file.*could not be reached"):
        keras_wrn.WideResNet(10, 1, weights="digits")
    assert everything(other.parent) == ["card.json", "model.weights.h5"]
    with serve(folder_files(original)) as (url, asked):
        mirror(url)
        keras_wrn.WideResNet(10, 1, weights="digits")
        assert asked == [f"/{NAME}/model.weights.h5"]
        # What is served is another file too: asked once, and refused.
        change_card(shipped, weights_sha256=64 * "0")
        (other.parent / "card.json").unlink()
        with pytest.raises(InputError, match="model.weights.h5 is damaged or another"):
            keras_wrn.WideResNet(10, 1, weights="digits")
        assert len(asked) == 2
    assert everything(other.parent) == ["model.weights.h5"]


def test_a_users_own_weights_of_a_shipped_name_are_never_replaced(saved_models, original, mirror):
    shipped, own = saved_models / NAME, write_run(published.cache() / NAME)
    shipped.mkdir(parents=True)
    (shipped / "card.json").write_bytes((original / "card.json").read_bytes())
    change_card(shipped, weights_sha256=64 * "0")
    before = {path: path.read_bytes() for path in own.iterdir()}
    with serve(folder_files(original)) as (url, asked):
        mirror(url)
        with pytest.raises(InputError, match="holds other weights of this name.* They stay"):
            keras_wrn.WideResNet(10, 1, weights="digits")
        assert asked == []
    assert {path: path.read_bytes() for path in own.iterdir()} == before


def test_a_changed_file_is_refused_before_it_is_read(saved_models, monkeypatch):
    folder = write_run(saved_models / NAME)
    with (folder / "model.weights.h5").open("r+b") as file:
        file.seek(5000)
        file.write(b"x")
    monkeypatch.setattr("h5py.File", None)
    with pytest.raises(InputError, match=r"its sha256 is [0-9a-f]{64}, and must be .*not read"):
        keras_wrn.WideResNet(10, 1, weights="digits")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize(
    ("change", "options", "sentence"),
    [
        ({"model.weights.h5": b"another"}, {}, "or another file: its sha256 is .*Nothing was kept"),
        ({"model.weights.h5": None}, {}, r"not published there: .* does not exist \(HTTP 404\)"),
        ({"card.json": b"<html>"}, {}, "card.json is damaged"),
        ({"card.json": b"[]"}, {}, "must be a card of format 1. Received: format='list'"),
        ({"card.json": b'{"format": 1}'}, {}, "is damaged: it has no name, network"),
        ({}, {"status": 503}, "was refused: HTTP 503"),
    ],
)
def test_what_goes_wrong_with_a_download_is_a_sentence(
    saved_models, original, mirror, change, options, sentence
):
    files = folder_files(original)
    files |= {f"/{NAME}/{name}": content for name, content in change.items()}
    files = {name: content for name, content in files.items() if content is not None}
    with serve(files, **options) as (url, _), pytest.raises(InputError, match=sentence):
        mirror(url)
        keras_wrn.WideResNet(10, 1, weights="digits")
    assert [path for path in published.cache().rglob("*") if path.is_file()] == []


def test_a_download_that_broke_off_goes_on(saved_models, original, mirror, monkeypatch):
    monkeypatch.setattr(downloads, "TRIES", 1)
    with serve(folder_files(original), cut=200_000) as (url, asked):
        mirror(url)
        with pytest.raises(InputError, match=r"gave 200,000 bytes of 395,864\. .*They are kept"):
            keras_wrn.WideResNet(10, 1, weights="digits")
        assert not [row for row in list_weights() if row["folder"]]
        model = keras_wrn.WideResNet(10, 1, weights="digits")
        assert len(asked) == 4
    equal(values(model), values(keras_wrn.load_trained(original).model))
    assert everything(published.cache() / NAME) == ["card.json", "model.weights.h5"]


def test_the_mirror_is_asked_before_the_release_address(
    saved_models, original, mirror, monkeypatch
):
    files, name = folder_files(original), f"/{NAME}/model.weights.h5"
    other = write_run(saved_models.parent / "other" / NAME)
    change_card(other, hours=3.0)
    with serve(files) as (url, asked), serve(folder_files(other)) as (release, asked_later):
        monkeypatch.setattr(published, "RELEASE_URL", f"{release}/")
        mirror(url)
        assert finding.find("WRN-10-1", "digits").card.hours is None
        assert (len(asked), len(asked_later)) == (1, 0)
        # The mirror has the card alone, and then nothing, and then something else.
        del files[name]
        keras_wrn.WideResNet(10, 1, weights="digits")
        assert asked_later == [name]
        shutil.rmtree(published.cache())
        files.clear()
        assert finding.find("WRN-10-1", "digits").card.hours == 3.0
        files |= {f"/{NAME}/card.json": b"<html>"}
        assert finding.find("WRN-10-1", "digits").card.hours == 3.0
        mirror(f"http://127.0.0.1:{free_port()}")
        assert finding.find("WRN-10-1", "digits").weights_file().is_file()
        assert published.addresses()[1] == release
        mirror(f"{release}")
        assert published.addresses() == (release,)
    monkeypatch.setattr(published, "RELEASE_URL", f"http://127.0.0.1:{free_port()}")
    mirror(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(InputError, match=r"could be downloaded: (.*could not be reached.*){2}"):
        keras_wrn.WideResNet(16, 1, weights="digits")


def test_an_address_that_answers_nothing_is_a_sentence(saved_models, mirror):
    for url, sentence in (
        (f"http://127.0.0.1:{free_port()}", "could not be reached: .*refused"),
        ("http://nowhere.invalid", "could not be reached"),
        ("nonsense", "is not the address of a file"),
    ):
        mirror(url)
        with pytest.raises(InputError, match=rf"no published weights 'digits'.*{sentence}"):
            keras_wrn.WideResNet(10, 1, weights="digits")


def test_a_server_that_falls_silent_is_given_up(saved_models, mirror, monkeypatch):
    monkeypatch.setattr(downloads, "TIMEOUT", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        mirror(f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(InputError, match="could not be reached: timed out"):
            keras_wrn.WideResNet(10, 1, weights="digits")


def test_a_card_without_end_is_not_read_to_its_end(saved_models, mirror, monkeypatch):
    class Endless(io.BytesIO):
        def read(self, size):
            self.given = getattr(self, "given", 0) + size
            assert self.given < 10_000_000
            return bytes(size)

    monkeypatch.setattr(downloads.urllib.request, "urlopen", lambda *_, **__: Endless())
    mirror("http://mirror")
    with pytest.raises(InputError, match="must be a short file, of 1,048,576 bytes at most"):
        finding.find("WRN-10-1", "digits")


def test_a_full_disk_leaves_nothing(saved_models, original, mirror, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(run_folder.os, "replace", full)
    with serve(folder_files(original)) as (url, _), pytest.raises(OSError, match="No space left"):
        mirror(url)
        keras_wrn.WideResNet(10, 1, weights="digits")
    assert [path for path in published.cache().rglob("*") if path.is_file()] == []


def test_the_card_of_another_network_is_not_taken(saved_models, original, mirror):
    files = {"/wrn-16-1-digits/card.json": (original / "card.json").read_bytes()}
    with (
        serve(files) as (url, _),
        pytest.raises(InputError, match="is the card of WRN-10-1 digits"),
    ):
        mirror(url)
        finding.find("WRN-16-1", "digits")


@pytest.mark.usefixtures("zero_kernels")
def test_another_architecture_is_told_which_weights_there_are(saved_models):
    write_run(saved_models / NAME)
    conventions = keras_wrn.networks.blocks.Conventions(activation="silu")
    for arguments, name in (
        ({"depth": 16, "width": 1}, "WRN-16-1"),
        ({"depth": 10, "width": 1.5}, "WRN-10-1.5"),
        ({"depth": 10, "width": 1, "block": "B(3)", "blocks_per_group": 1}, "WRN-7-1-B(3)"),
        ({"depth": 10, "width": 1, "blocks_per_group": 2}, "WRN-16-1"),
        ({"depth": 10, "width": 1, "conventions": conventions}, "WRN-10-1 with silu"),
    ):
        sentence = rf"no published weights 'digits' for {re.escape(name)}\. Published: WRN-10-1 dig"
        with pytest.raises(InputError, match=sentence):
            keras_wrn.WideResNet(**arguments, weights="digits")
    with pytest.raises(InputError, match="no published weights 'digitss' for WRN-10-1"):
        keras_wrn.WideResNet(10, 1, weights="digitss")
    # Dropout does not matter, nor does the paper's label.
    keras_wrn.WideResNet(10, 1, dropout=0.2, stochastic_depth=0.1, weights="digits")
    keras_wrn.WideResNet(28, 1, blocks_per_group=1, weights="digits")


def test_a_folder_that_is_called_like_a_name_is_told_from_one(saved_models, tmp_path, monkeypatch):
    write_run(tmp_path / "RUN")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"To load the folder RUN, write '\./RUN'"):
        keras_wrn.WideResNet(10, 1, weights="RUN")
    keras_wrn.WideResNet(10, 1, weights="./RUN")


def test_one_damaged_folder_leaves_the_others(saved_models):
    write_run(saved_models / NAME)
    change_card(write_run(saved_models / "a"), format=2)
    (saved_models / ".publish-x" / "b").mkdir(parents=True)
    keras_wrn.WideResNet(10, 1, weights="digits")
    assert [row["folder"] for row in list_weights() if row["folder"]] == [str(saved_models / NAME)]


def test_folders_are_named_after_network_and_data():
    name = published.folder_name
    assert name("WRN-16-4", "cifar10") == "wrn-16-4-cifar10"
    assert name("WRN-28-1.5-B(3,1,3)", "svhn") == "wrn-28-1.5-b-3-1-3-svhn"
    assert name("../../WRN", "a/b") == "..-..-wrn-a-b"


def test_preprocessing_travels_with_the_weights(saved_models):
    folder = write_run(saved_models / NAME)
    card = read_card(folder).to_dict()
    own = {"mean": [1, 2, 3], "std": [4, 5, 6], "size": 32, "class_names": list("abcdefghij")}
    change_card(folder, preprocessing=card["preprocessing"] | own)
    [row] = [row for row in list_weights() if row["folder"]]
    pixels = np.full((1, 2, 2, 3), 7, "uint8")
    normalised = keras_wrn.preprocess_input(pixels, row["card"])
    np.testing.assert_allclose(normalised[0, 0, 0], [6 / 4, 5 / 5, 4 / 6])
    [best] = keras_wrn.decode_predictions(np.eye(10)[2:3], top=1, dataset=row["card"])
    assert best == [(2, "c", 1.0)]
    assert trained.load_model("10-1", "digits").preprocessing.std == (4.0, 5.0, 6.0)
    named = keras_wrn.preprocess_input(pixels, card)
    np.testing.assert_array_equal(named, keras_wrn.preprocess_input(pixels, "digits"))
    assert keras_wrn.images.preprocessing.preprocessing_of(card) == PREPROCESSING["digits"]


def test_a_download_is_told_where_nobody_watches(saved_models, original, mirror, capsys):
    mirror(original.parent.as_uri())
    assert (
        main.main(main.parse(["predict", "--model", "10-1", "--weights", "digits", "no.png"])) == 2
    )
    shown = capsys.readouterr()
    size = (original / "model.weights.h5").stat().st_size
    address = f"{original.parent.as_uri()}/{NAME}/model.weights.h5"
    assert shown.out == ""  # is for the answer
    assert shown.err.startswith(f"Downloading {address}, {size / 1e6:.1f} MB\nkeras-wrn: ")
