"""What others wrote and our examples ask the server: requests, gRPC, curl, fetch, --check."""

import dataclasses
import importlib.util
import io
import json
import re
import shutil
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from background_server import Doubler, encoded, running, write_version
from PIL import Image
from quick_weights import give_random_weights
from tiny_run import DIGITS, random_images, write_run

import keras_wrn
from keras_wrn.errors import InputError
from keras_wrn.images.preprocessing import Preprocessing
from keras_wrn.inference.classifier import class_probabilities
from keras_wrn.inference.trained import Trained, load_trained
from keras_wrn.serving import check
from keras_wrn.serving.check import check_server
from keras_wrn.serving.grpc_services import missing_packages

EXAMPLES = Path(keras_wrn.__file__).parents[1] / "examples"
IMAGES = random_images(2, seed=3)


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / "a.png", tmp_path / "b.bmp"]
    for path, image in zip(paths, IMAGES):
        path.write_bytes(encoded(image, path.suffix[1:].upper()))
    return [str(path) for path in paths]


@pytest.fixture
def best(digits):
    """The best class of each image and its probability."""
    probabilities = class_probabilities(digits, IMAGES, DIGITS)
    return [(str(row.argmax()), row.max()) for row in probabilities]


def said_by(*command):
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def example(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    return importlib.import_module("serving_client")


def test_the_python_client_over_rest(server, files, best, monkeypatch, capsys):
    pytest.importorskip("requests", reason="needs requests")
    client = example(monkeypatch)
    client.main([*files, "--model", "digits", "--url", server.url])
    lines = [f"{file}: {label} {score:.1%}" for file, (label, score) in zip(files, best)]
    assert capsys.readouterr().out.splitlines() == lines
    with pytest.raises(SystemExit, match=r"404: .*Latest\(other\)"):
        client.main([*files, "--model", "other", "--url", server.url])


def test_the_python_client_over_grpc(server, files, best, monkeypatch, capsys):
    if server.grpc is None:
        pytest.skip("the packages for gRPC are not installed")
    client = example(monkeypatch)
    client.main([*files, "--model", "digits", "--grpc", server.grpc])
    lines = [f"{file}: {label} {score:.1%}" for file, (label, score) in zip(files, best)]
    assert capsys.readouterr().out.splitlines() == lines
    with pytest.raises(SystemExit, match=r"NOT_FOUND: .*Latest\(other\)"):
        client.main([*files, "--model", "other", "--grpc", server.grpc])


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_client_in_curl(server, files, best):
    script = str(EXAMPLES / "serving_client.sh")
    done = said_by("sh", script, files[0], "digits", server.url)
    [row] = json.loads(done.stdout)["predictions"]
    assert row["top5_labels"][0] == best[0][0]
    assert row["top5_scores"][0] == pytest.approx(best[0][1], abs=1e-6)
    failed = said_by("sh", script, script, "digits", server.url)
    assert "is not an image" in json.loads(failed.stdout)["error"]


@pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")
def test_the_client_in_javascript(server, files, best):
    script = str(EXAMPLES / "serving_client.mjs")
    done = said_by("node", script, files[0], "digits", server.url)
    lines = done.stdout.splitlines()
    assert lines[0] == f"{best[0][0]} {100 * best[0][1]:.1f} %"
    assert len(lines) == 5
    assert "400: Image 0 of" in said_by("node", script, script, "digits", server.url).stderr


def test_check_finds_the_same_model_and_another(server, digits, files, tmp_path):
    same = Trained(digits, {"name": "WRN-10-1", "dataset": "digits"}, DIGITS, tmp_path)
    checked = check_server(server.url, same, files)
    text = str(checked)
    assert text.startswith(f"{server.url}/v1/models/digits, version 1, 2 images\n")
    found = re.findall(r"(serving_\w+) +largest difference (\S+), same class 100.00%", text)
    assert [name for name, _ in found] == ["serving_bytes", "serving_default"]
    assert all(float(difference) < 1e-6 for _, difference in found)
    assert check_server(f"{server.url}/v1/models/digits", same, files) == checked
    version = f"{server.url}/v1/models/digits/versions/1"
    assert check_server(version, same, files, name="digits").signatures == checked.signatures
    values = json.loads(json.dumps(dataclasses.asdict(checked)))
    assert (values["version"], values["n"]) == ("1", 2)
    assert values["signatures"][0]["agreement"] == 1.0
    other = load_trained(write_run(tmp_path / "run"))
    with pytest.raises(InputError, match="another model than .*run, .*largest difference"):
        check_server(server.url, other, files)


def test_check_sends_the_models_own_test_images(server, digits, tmp_path):
    pytest.importorskip("sklearn", reason="the digits are scikit-learn's")
    same = Trained(digits, {"name": "WRN-10-1", "dataset": "digits"}, DIGITS, tmp_path)
    assert "version 1, 32 images" in str(check_server(server.url, same, name="digits"))


def test_check_says_what_it_cannot_ask(server, digits, files, tmp_path):
    same = Trained(digits, {"name": "WRN-10-1", "dataset": "digits"}, DIGITS, tmp_path)
    with pytest.raises(InputError, match="must be a URL, such as .* Received: localhost:8501"):
        check_server("localhost:8501", same, files)
    with pytest.raises(InputError, match="other/metadata answers 404: .*Servable not found"):
        check_server(server.url, same, files, name="other")
    with pytest.raises(InputError, match="cannot be asked"):
        check_server("http://127.0.0.1:9", same, files, name="digits")
    for url in ("http://[::1:8501", "http://"):
        with pytest.raises(InputError, match="must be a URL"):
            check_server(url, same, files, name="digits")
    with pytest.raises(InputError, match="cannot be asked"):
        check_server("http://127.0.0.1:85O1", same, files, name="digits")
    with pytest.raises(InputError, match="names the model digits, and --name another: other"):
        check_server(f"{server.url}/v1/models/digits", same, files, name="other")
    if server.grpc is not None:
        with pytest.raises(InputError, match="cannot be asked"):
            check_server(f"http://{server.grpc}", same, files, name="digits")
    write_version(tmp_path / "wrn", 1)
    without = pytest.raises(InputError, match="no signature with an output `probabilities`")
    with running(tmp_path / "wrn", load=Doubler, grpc=False) as doubler, without:
        check_server(doubler.url, same, files)


def test_a_check_of_large_photos_has_several_requests():
    rows = [{"b64": "A" * size} for size in (10, 10, 9_000_000, 10, 10)]
    assert [len(batch) for batch in check._batches(rows)] == [2, 1, 2]
    assert [len(batch) for batch in check._batches(rows[:1] * 20)] == [8, 8, 4]


def test_grey_images_are_checked(tmp_path):
    statistics = Preprocessing((128.0,), (64.0,), 16, tuple("0123456789"))
    model = keras_wrn.WideResNet(10, 1, input_shape=(16, 16, 1))
    give_random_weights(model)
    grey = Trained(model, {"name": "WRN-10-1", "dataset": "grey"}, statistics, tmp_path)
    Image.fromarray(random_images(1)[0]).save(tmp_path / "a.png")
    images, _ = check._images(grey, [str(tmp_path / "a.png")])
    assert images.shape == (1, 16, 16, 1)
    assert Image.open(io.BytesIO(check._png(images[0]))).mode == "L"


@pytest.mark.parametrize("port", ["rest", "grpc"])
def test_a_taken_port_is_named(server, tmp_path, port):
    if server.grpc is None:
        pytest.skip("the packages for gRPC are not installed")
    taken = int((server.url if port == "rest" else server.grpc).rpartition(":")[2])
    write_version(tmp_path / "wrn", 1)
    name = {"rest": "REST", "grpc": "gRPC"}[port]
    refused = pytest.raises(OSError, match=f"{name} cannot listen on 127.0.0.1:{taken}: ")
    with refused, running(tmp_path / "wrn", load=Doubler, **{f"{port}_port": taken}):
        pass


def test_an_address_of_ipv6(tmp_path):
    try:
        with socket.socket(socket.AF_INET6) as tried:
            tried.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6")
    write_version(tmp_path / "wrn", 1)
    with running(tmp_path / "wrn", load=Doubler, host="::1", grpc=not missing_packages()) as one:
        assert one.url.startswith("http://[::1]:")
        with urllib.request.urlopen(f"{one.url}/v1/models", timeout=30) as reply:
            assert json.load(reply) == {"models": ["wrn"]}


def test_a_model_without_a_version_that_loads_is_named(tmp_path):
    write_version(tmp_path / "wrn", 1, "broken")
    write_version(tmp_path / "fine", 1)
    refused = pytest.raises(InputError, match="No version can be served of: wrn. The log has")
    with refused, running(tmp_path, load=Doubler, grpc=False):
        pass


@pytest.mark.slow
def test_the_command_serves_until_it_is_asked_to_end(exported, files, best):
    command = [sys.executable, "-m", "keras_wrn", "serve", str(exported)]
    command += ["--rest_port", "0", "--grpc_port", "-1", "--name", "net"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
    )
    try:
        lines = []
        while not lines or not lines[-1].startswith("  REST"):
            lines.append(process.stderr.readline())
            assert lines[-1], lines
        url = lines[-1].split()[1]
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/v1/models/net:predict", url)
        script = str(EXAMPLES / "serving_client.sh")
        if shutil.which("curl"):
            done = said_by("sh", script, files[0], "net", url.partition("/v1")[0])
            assert json.loads(done.stdout)["predictions"][0]["top5_labels"][0] == best[0][0]
        process.terminate()
        out, _ = process.communicate(timeout=30)
        assert process.returncode == 0
        assert out == "Stopped; every request that came was answered.\n"
    finally:
        process.kill()
        process.wait()
