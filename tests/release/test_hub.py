"""What the Hugging Face Hub gets, by its own client, against a stand-in of its HTTP API.

The real Hub and its Xet storage were not asked. The client's Xet path is turned off here, so that
large files travel by Git LFS; one test leaves it on, and is refused.
"""

import importlib
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_run import write_run

import keras_wrn
from keras_wrn import InputError, publish
from keras_wrn.cli import main
from keras_wrn.release import hub as uploading
from keras_wrn.release.hub_metadata import evaluation_results, front_matter
from keras_wrn.weights.card import read_card

client = pytest.importorskip("huggingface_hub", reason="the extra hub is not installed")
hub_server = pytest.importorskip("hub_server", reason="PyYAML comes with huggingface_hub")
# The client's own, of its HTTP library.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
NAME = f"{hub_server.OWNER}/wrn-10-1-digits"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("hub") / "run")


@pytest.fixture(scope="module")
def folder(run, tmp_path_factory):
    return publish(run, tmp_path_factory.mktemp("hub") / "published", repository=NAME)


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """The stand-in, with a user who is logged in."""
    with hub_server.running() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        monkeypatch.setenv("HF_TOKEN", hub_server.TOKEN)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")  # for processes; this one has read it
        constants = importlib.import_module("huggingface_hub.constants")
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True, raising=False)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        yield running


def call(*words):
    return main.main(main.parse([str(word) for word in words]))


def contents(folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_what_arrives_is_what_was_published(hub, run, tmp_path, capsys):
    assert call("publish", run, tmp_path, "--to-hub", NAME, "--json") == 0
    said = capsys.readouterr()
    folder = tmp_path / "wrn-10-1-digits"
    answer = json.loads(said.out)
    assert answer["url"] == f"{hub.url}/{NAME}"
    assert (answer["folder"], answer["metrics"]) == (str(folder), read_card(folder).metrics)
    assert "%|" not in said.err, "no bars where nobody watches"
    repository = hub.repositories[NAME]
    assert repository.files == contents(folder)
    assert "model.safetensors" in repository.files and not repository.private
    assert repository.summary == f"Upload wrn-10-1-digits with keras_wrn {keras_wrn.__version__}"
    sent = [line for line in hub.asked if line.startswith(("POST", "PUT"))]
    assert sent[0] == "POST /api/repos/create"
    assert sent[-1] == f"POST /api/models/{NAME}/commit/main"
    assert [line for line in sent if "/commit/" in line] == sent[-1:], "one commit"


def test_the_example_of_the_card_runs(hub, folder, tmp_path):
    """In a process of its own: download from the Hub, load, classify; and Keras alone."""
    api = uploading.open_hub(NAME)
    uploading.upload(api, folder, NAME)
    assert (f"{NAME}" in hub.repositories) and hub.repositories[NAME].files == contents(folder)
    card = client.ModelCard(hub.repositories[NAME].files["README.md"].decode())
    code = re.search("```python\n(.*?)```", card.text, re.DOTALL)[1]
    assert f'huggingface_hub.snapshot_download("{NAME}")' in code
    program = (
        "import numpy as np\nimages = np.full((2, 32, 32, 3), 90, 'uint8')\n"
        f"{code}\n"
        "import keras\n"
        "model = keras.saving.load_model(folder)\n"
        "assert (model.predict(images) == probabilities).all()\n"
        "np.save('found.npy', probabilities)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(keras_wrn.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    images = keras_wrn.preprocess_input(np.full((2, 32, 32, 3), 90, "uint8"), "digits")
    expected = keras_wrn.load_trained(folder).model.predict(images, verbose=0)
    np.testing.assert_allclose(np.load(tmp_path / "found.npy"), expected, atol=1e-6)


def test_huggingface_s_own_command_uploads_the_folder(hub, folder, tmp_path):
    """`hf upload owner/name folder .` is all it takes."""
    environment = os.environ | {"HF_HUB_DISABLE_XET": "1", "NO_COLOR": "1"}
    command = [Path(sys.executable).with_name("hf"), "upload", NAME, folder, "."]
    if not command[0].is_file():
        pytest.skip("this version of huggingface_hub has no command hf")
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert hub.repositories[NAME].files == contents(folder)


@pytest.mark.parametrize("dataset", ["cifar10", "cifar100"])
def test_the_hub_s_classes_accept_the_card(folder, dataset, tmp_path):
    found = {"n": 10000, "error": 0.0476, "top5_error": 0.0022, "nll": 0.23087, "ece": 0.0782}
    card = read_card(folder).to_dict() | {"dataset": dataset, "metrics": found}
    card = type(read_card(folder)).from_dict(card | {"measured_on": "2026-11-27"}, "card")
    data = client.ModelCard(front_matter(card) + "\n\n# text").data
    assert (data.license, data.library_name) == ("apache-2.0", "keras")
    assert (data.pipeline_tag, data.tags) == ("image-classification", ["keras-wrn", "wide-resnet"])
    assert (data.datasets, data.metrics) == ([f"uoft-cs/{dataset}"], ["accuracy"])
    assert data.model_name == "WRN-10-1"
    results = {result.metric_name: result.metric_value for result in data.eval_results}
    assert results == {
        "top-1 accuracy, %": 95.24,
        "top-5 accuracy, %": 99.78,
        "negative log-likelihood, nats": 0.2309,
        "expected calibration error, 15 bins, %": 7.82,
    }
    assert {result.dataset_split for result in data.eval_results} == {"test"}
    if not hasattr(client, "parse_eval_result_entries"):
        pytest.skip("this version of huggingface_hub has no classes for .eval_results")
    parsed = hub_server.yaml.safe_load(evaluation_results(card))
    [entry] = client.parse_eval_result_entries(parsed)
    assert (entry.dataset_id, entry.task_id) == (f"uoft-cs/{dataset}", "default")
    assert (entry.value, entry.date) == (95.24, "2026-11-27")
    assert "10,000 test images, 1 run" in entry.notes
    assert client.eval_result_entries_to_yaml([entry]) == parsed


@pytest.mark.parametrize("name", ["cifar10", "imagenet"])
def test_a_folder_of_a_data_set_s_name_is_not_that_data_set(folder, name):
    card = read_card(folder).to_dict() | {"dataset": name}  # 360 test images
    card = type(read_card(folder)).from_dict(card, "card")
    assert evaluation_results(card) is None and "datasets" not in front_matter(card)


def test_a_data_set_that_the_hub_does_not_have_is_not_named(folder):
    data = client.ModelCard((folder / "README.md").read_text(encoding="utf-8")).data
    assert (data.datasets, data.eval_results, data.metrics) == (None, None, None)
    assert evaluation_results(read_card(folder)) is None


@pytest.mark.parametrize(
    ("licence", "expected"),
    [("MIT", ("mit", None)), ("CC0", ("other", "CC0")), ('Own: ask "us"', ("other", None))],
)
def test_licences_have_the_hub_s_names(folder, licence, expected):
    card = type(read_card(folder)).from_dict(read_card(folder).to_dict() | {"licence": licence}, "")
    data = client.ModelCard(front_matter(card) + "\n").data
    assert data.license == expected[0]
    assert data.license_name == (licence if expected[0] == "other" else None)


def test_a_private_repository_stays_private(hub, run, tmp_path, capsys):
    assert call("publish", run, "--to-hub", NAME, "--private") == 0
    assert capsys.readouterr().out.startswith(f"{hub.url}/{NAME}: test error ")
    assert hub.repositories[NAME].private
    # The same again is a new version.
    assert call("publish", run, "--to-hub", NAME, "--private") == 0
    hub.repositories[NAME].private, hub.repositories[NAME].files = False, {}
    assert call("publish", run, "--to-hub", NAME, "--private") == 2
    assert f"{NAME} exists on the Hub and is public. Nothing was sent" in capsys.readouterr().err
    assert hub.repositories[NAME].files == {}
    assert call("publish", run, "--to-hub", NAME) == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--to-hub", "wrn"], "is named owner/name, with letters.*Received: wrn."),
        (["--to-hub", "a/b/c"], "is named owner/name.*Received: a/b/c."),
        (["--to-hub", "a/b c"], "is named owner/name.*Received: a/b c."),
        (["--to-hub", ""], "--to-hub needs owner/name. Received: an empty name"),
        ([""], "publish needs a folder to write to"),
        ([], "publish needs a folder to write to, or --to-hub owner/name."),
        (["published", "--private"], "--private is for --to-hub"),
        (["--to-hub", "others/wrn"], "may not write to others/wrn.*rights to create a model"),
    ],
)
def test_what_cannot_be_uploaded_is_a_sentence(hub, run, capsys, words, sentence):
    assert call("publish", run, *words) == 2
    assert re.search(rf"^keras-wrn: .*{sentence}", capsys.readouterr().err)
    assert hub.repositories == {}


def test_without_a_token_nothing_is_begun(hub, run, capsys, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    assert call("publish", run, "--to-hub", NAME) == 2
    said = capsys.readouterr().err
    assert "There is no token for the Hugging Face Hub. Make one" in said
    assert hub.asked == []
    monkeypatch.setenv("HF_TOKEN", "hf_of_yesterday")
    assert call("publish", run, "--to-hub", NAME) == 2
    assert "The Hub does not know the token." in capsys.readouterr().err
    assert not [line for line in hub.asked if line.startswith("POST")]


@pytest.mark.parametrize(
    ("path", "status", "sentence"),
    [
        (r"/api/models/.*/preupload/main", 403, "The token may not write to .* refused with 403"),
        (r".*/info/lfs/objects/batch", 404, "does not exist on the Hub, or the token may not"),
        (r".*/commit/main", 500, "could not be uploaded to the Hub. The answer was: .*500"),
        (r"/api/validate-yaml", 400, "could not be uploaded to the Hub"),
    ],
)
def test_what_the_hub_refuses_is_a_sentence(hub, folder, path, status, sentence):
    hub.refuse[path] = status
    api = uploading.open_hub(NAME)
    with pytest.raises(InputError, match=sentence):
        uploading.upload(api, folder, NAME)
    assert hub.repositories[NAME].files == {}


def test_after_a_refused_upload_the_folder_is_kept_and_named(hub, folder, tmp_path, capsys):
    hub.refuse[r".*/commit/main"] = 500
    assert call("publish", folder, tmp_path, "--to-hub", NAME) == 2
    [later] = re.findall(
        r"complete\. To upload it later: keras-wrn (.*)\n", capsys.readouterr().err
    )
    hub.refuse.clear()
    assert call(*later.split()) == 0
    assert (
        contents(tmp_path / folder.name)["card.json"] == hub.repositories[NAME].files["card.json"]
    )


def test_without_a_network_it_is_a_sentence(hub, monkeypatch):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{probe.getsockname()[1]}")
    with pytest.raises(InputError, match=f"{NAME} could not be uploaded to the Hub.*refused"):
        uploading.open_hub(NAME)


def test_xet_that_is_refused_is_a_sentence(hub, run):
    """With the client as it is installed, which sends large files to Xet where it can."""
    pytest.importorskip("hf_xet", reason="the client sends large files by Git LFS without it")
    environment = {k: v for k, v in os.environ.items() if k != "HF_HUB_DISABLE_XET"}
    done = subprocess.run(
        [sys.executable, "-m", "keras_wrn", "publish", str(run), "--to-hub", NAME],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"keras-wrn: {NAME} could not be uploaded to the Hub.")
    assert len(done.stderr.splitlines()) == 1
    assert hub.repositories[NAME].files == {}


def test_where_the_client_is_not_installed(run, capsys, monkeypatch):
    for name in ("huggingface_hub", "huggingface_hub.utils"):
        monkeypatch.setitem(sys.modules, name, None)
    assert call("publish", run, "--to-hub", NAME) == 2
    assert "pip install huggingface_hub" in capsys.readouterr().err
