import errno
import json
import os
import re
import subprocess
import sys

import keras
import pytest
from PIL import Image
from tiny_run import DIGITS, random_images

import keras_wrn
from keras_wrn import datasets
from keras_wrn.cli import main, program
from keras_wrn.networks.names import NETWORKS
from keras_wrn.weights import finding

ON_TENSORFLOW = keras.backend.backend() == "tensorflow"


def call(*words):
    return main.main(main.parse([str(word) for word in words]))


def process(*words, **options):
    """The command line as a process of its own, as the user has it."""
    command = [sys.executable, "-m", "keras_wrn", *map(str, words)]
    options = {"stdout": subprocess.PIPE} | options
    return subprocess.run(
        command, stderr=subprocess.PIPE, text=True, timeout=120, check=False, **options
    )


@pytest.mark.parametrize("words", [["--help"], ["evaluate", "--help"], ["list"]])
def test_help_and_list_import_no_framework(words):
    program = (
        "import sys\n"
        "from keras_wrn.cli import main\n"
        f"sys.argv = ['keras-wrn', *{words!r}]\n"
        "try:\n"
        "    main.run()\n"
        "finally:\n"
        "    heavy = {'keras', 'tensorflow', 'jax', 'torch', 'matplotlib', 'PIL'}\n"
        "    print('imported:', sorted(heavy & set(sys.modules)))\n"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("imported: []\n")
    assert done.stderr == ""


def test_list_names_networks_with_parameters(capsys):
    assert call("list") == 0
    shown = capsys.readouterr().out
    lines = {line.split()[0]: line.split() for line in shown.splitlines() if line.strip()}
    assert lines["28-10"] == ["28-10", "WideResNet28_10", "B(3,3)", "10", "36,479,194"]
    assert lines["18-1.5"][1] == "WideResNet18(width=1.5)"
    assert call("list", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["networks"]["16-4"]["parameters"] == 2_748_890
    assert len(found["networks"]) == len(NETWORKS)


def test_list_shows_published_weights(capsys, monkeypatch, run):
    monkeypatch.setattr(finding, "homes", lambda: [run.parent])
    call("list")
    lines = capsys.readouterr().out.splitlines()
    [ours] = [line for line in lines if line.startswith("WRN-10-1")]
    assert ours.split()[:3] == ["WRN-10-1", "digits", "90.00%"]
    [owners] = [line for line in lines if line.startswith("WRN-50-2") and "racm" in line]
    assert owners.split()[:3] == ["WRN-50-2", "imagenet-racm", "17.74%*"]
    assert any("measured by the owner on ImageNet" in line for line in lines)
    call("list", "--json")
    rows = json.loads(capsys.readouterr().out)["published"]
    [row] = [row for row in rows if row["folder"]]
    assert (row["weights"], row["sha256"]) == ("digits", row["card"]["weights_sha256"])


def test_publish_writes_the_folder(run, tmp_path, capsys):
    assert call("publish", run, tmp_path, "--known_failure", "It is tiny.") == 0
    folder = tmp_path / "wrn-10-1-digits"
    shown = capsys.readouterr().out
    assert shown.startswith(f"{folder}: test error ")
    assert shown.endswith(" on 360 images\n")
    assert "- It is tiny." in (folder / "README.md").read_text()
    assert call("publish", run, tmp_path) == 2
    assert "exists, and published weights are never overwritten" in capsys.readouterr().err


def test_evaluate_prints_what_the_function_returns(run, capsys):
    trained = keras_wrn.load_trained(run)
    expected = keras_wrn.evaluate(trained.model, *datasets.load("digits").test, DIGITS)
    assert call("evaluate", run, "--json") == 0
    assert json.loads(capsys.readouterr().out) == pytest.approx(expected, abs=1e-6)
    weights = run / "model.weights.h5"
    words = ("--model", "10-1", "--weights", weights, "--dataset", "digits")
    assert call("evaluate", *words, "--batch_size", "100") == 0
    shown = capsys.readouterr().out
    assert shown.startswith("WRN-10-1 on digits, 360 test images\n")
    assert f"top-1 error                {expected['error']:8.2%}\n" in shown
    assert f"expected calibration error {expected['ece']:8.2%}\n" in shown


def test_predict_prints_files_with_classes(run, image, capsys):
    [expected] = keras_wrn.predict(keras_wrn.load_trained(run).model, image, DIGITS, top=2)
    assert call("predict", run, image, "--top", "2") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [str(image), *(f"  {name} {p:8.2%}" for _, name, p in expected)]
    assert call("predict", run, image, image, "--json") == 0
    first, second = json.loads(capsys.readouterr().out)
    assert first == second
    assert first["file"] == str(image)
    assert len(first["predictions"]) == 5
    best = first["predictions"][0]
    assert (best["class_index"], best["class_name"]) == expected[0][:2]
    assert best["probability"] == pytest.approx(expected[0][2], abs=1e-6)


@pytest.mark.skipif(not ON_TENSORFLOW, reason="SavedModel needs TensorFlow")
def test_export_as_a_process_of_its_own(run, tmp_path, capsys, monkeypatch):
    folder = tmp_path / "served"
    done = process("export", run, folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"WRN-10-1 written to {folder / '1'}\n"
    assert re.search(r"^Largest difference of a probability from Keras: \S+\n\Z", done.stderr, re.M)
    assert (folder / "1" / "saved_model.pb").is_file()
    monkeypatch.setattr("keras_wrn.deploy.saved_model.export", lambda *_, **__: folder / "2")
    assert call("export", run, folder, "--json") == 0
    expected = {"name": "WRN-10-1", "format": "saved_model", "path": str(folder / "2")}
    assert json.loads(capsys.readouterr().out) == expected


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["evaluate"], "A model is needed: a run folder, or --model 16-4"),
        (["evaluate", "none"], "A run folder must be a folder that exists. Received: none."),
        (["evaluate", "RUN", "more"], "evaluate takes one model. Received also: more."),
        (["evaluate", "RUN", "--dataset", "mars"], "`name` must be one of cifar10"),
        (["evaluate", "RUN", "--dataset", "cifar10", "--data_dir", "EMPTY"], "cifar-10-python"),
        (["evaluate", "RUN", "--dataset", "CLASSES"], "2 classes (a, b) for a model with 10 cl"),
        (["evaluate", "--weights", "cifar10"], "--weights needs --model"),
        (["evaluate", "--model", "10-1", "--weights", "mars"], "no published weights 'mars'"),
        (["evaluate", "--model", "mars"], "no published weights|`name` must be a depth"),
        (["evaluate", "RUN", "--batch_size", "0"], "`batch_size` must be a whole number from 1"),
        (["predict", "RUN"], "predict needs image files"),
        (["predict", "RUN", "RUN/card.json"], "card.json cannot be read as an image"),
        (["predict", "RUN", "IMAGE", "--top", "0"], "`top` must be a whole number"),
        (["predict", "RUN", "IMAGE", "--dataset", "svhn"], "--dataset is for a .weights.h5 file"),
        (
            ["export", "--model", "10-1", "--weights", "svhn", "a", "--dataset", "svhn"],
            "published weights come with their own. Received: --dataset svhn.",
        ),
        (["export", "RUN", "a", "--data_dir", "EMPTY"], "--data_dir is for --quantize int8"),
        (["export", "RUN"], "export needs one folder to write to. Received: none."),
        (["export", "RUN", "a", "b"], "Received: a, b."),
    ],
)
def test_bad_input_is_one_sentence_and_status_2(
    run, image, tmp_path, capsys, monkeypatch, words, sentence
):
    def offline(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr("urllib.request.urlopen", offline)
    (tmp_path / "empty").mkdir()
    for name in ("a", "b"):
        (tmp_path / "classes" / name).mkdir(parents=True)
        for i in range(5):
            Image.fromarray(random_images(1)[0]).save(tmp_path / "classes" / name / f"{i}.png")
    known = {"RUN": run, "IMAGE": image, "EMPTY": tmp_path / "empty"}
    known |= {"RUN/card.json": run / "card.json", "CLASSES": tmp_path / "classes"}
    before = sorted(tmp_path.rglob("*"))
    assert call(*(known.get(word, word) for word in words)) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    # A notice on how a folder is read may stand before it.
    *notices, said = shown.err.splitlines()
    assert len(notices) == ("CLASSES" in words), notices
    assert said.startswith("keras-wrn: ")
    assert any(part in said for part in sentence.split("|"))
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "words",
    [
        "predict RUN a.jpg b.jpg --top 3 --json",
        "predict RUN --top 3 a.jpg --json b.jpg",
        "predict --json RUN --top=3 a.jpg b.jpg",
        "predict --top 3 --json RUN a.jpg b.jpg",
    ],
)
def test_options_may_stand_anywhere(words):
    arguments = main.parse(words.split())
    assert arguments.paths == ["RUN", "a.jpg", "b.jpg"]
    assert (arguments.top, arguments.json) == (3, True)


def test_bad_input_in_a_process_of_its_own(tmp_path):
    done = process("predict", tmp_path, "image.png")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == f"keras-wrn: {tmp_path} is not a run folder: it has no card.json.\n"


@pytest.mark.skipif(not ON_TENSORFLOW, reason="SavedModel needs TensorFlow")
def test_a_full_disk_is_a_sentence(run, capsys, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "served/1")

    monkeypatch.setattr("keras_wrn.deploy.saved_model.export", full)
    assert call("export", run, "served") == 2
    assert capsys.readouterr().err == "keras-wrn: served/1: No space left on device.\n"


def test_standard_output_is_for_the_answer(capsys):
    arguments = main.parse(["list", "--json"])
    arguments.answer = lambda _: print("Downloading data") or "{}"
    assert main.main(arguments) == 0
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("{}\n", "Downloading data\n")


def test_a_bug_keeps_its_traceback(run, image, monkeypatch):
    def bug(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr("keras_wrn.inference.prediction.predict_all", bug)
    with pytest.raises(ZeroDivisionError):
        call("predict", run, image)


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["dance"],
        ["list", "--colour"],
        ["predict", "--top", "x"],
        ["predict", "RUN", "--colour", "red", "a.jpg"],
        ["list", "--json", "more"],
    ],
)
def test_what_is_no_command_is_status_2(words, capsys):
    with pytest.raises(SystemExit) as stop:
        call(*words)
    assert stop.value.code == 2
    assert "usage: keras-wrn" in capsys.readouterr().err


def test_a_backend_that_is_not_there_is_a_sentence(run, image, capsys, monkeypatch):
    def absent():
        raise ImportError("Keras was asked for the torch backend, which is not installed.")

    monkeypatch.setattr(program, "require_keras", absent)
    assert call("predict", run, image) == 2
    assert capsys.readouterr().err.startswith("keras-wrn: Keras was asked for the torch backend")


def test_what_is_written_while_keras_starts_is_shown_only_if_it_fails(
    run, image, capfd, monkeypatch
):
    def start():
        os.write(2, b"thirty lines of C++ logs\n")
        if breaks:
            raise ModuleNotFoundError("No module named 'optree'")

    monkeypatch.setattr(program, "require_keras", start)
    breaks = False
    call("predict", run, image)
    assert capfd.readouterr().err == ""
    breaks = True
    with pytest.raises(ModuleNotFoundError):
        call("predict", run, image)
    assert capfd.readouterr().err == "thirty lines of C++ logs\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_output_that_cannot_be_written_is_a_sentence_or_silence():
    with open("/dev/full", "w") as full:
        done = process("list", stdout=full)
    assert done.returncode == 2
    assert done.stderr == "keras-wrn: No space left on device.\n"
    read, write = os.pipe()
    os.close(read)
    done = process("list", stdout=write)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")
