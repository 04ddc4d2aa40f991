"""recipes/serve_ray.py on two Ray nodes: clients of `keras-wrn serve`, and a swap under load."""

import importlib.util
import json
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest
from background_server import encoded
from tiny_run import random_images, write_run

import keras_wrn
from keras_wrn.inference.trained import load_trained

REPOSITORY = Path(keras_wrn.__file__).parents[1]
HELPERS = REPOSITORY / "tests" / "helpers"
PROGRAM = REPOSITORY / "recipes" / "serve_ray.py"
URL = "http://127.0.0.1:8000"
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None,
    reason="ray is not installed: pip install ray[default,serve]",
)


@pytest.mark.slow
def test_two_replicas_answer_and_swap_versions_under_load(tmp_path, monkeypatch):
    from ray_cluster import ADDRESS, two_nodes

    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    run, served = write_run(tmp_path / "run"), tmp_path / "served"
    keras_wrn.export(load_trained(run).model, served / "wrn", "digits")
    file = tmp_path / "a.png"
    file.write_bytes(encoded(random_images(1)[0]))
    serve = [sys.executable, PROGRAM, "--ray", ADDRESS]
    log = tmp_path / "serve.log"
    with two_nodes() as cluster:
        status, _, errors = cluster.run(*serve, served, "--gpus_per_replica", "2")
        assert status == 2 and "--gpus_per_replica must be at most 1" in errors
        with log.open("w") as output:
            program = cluster.start(*serve, served, "--replicas", "2", stdout=output, stderr=output)
        wait_for(lambda: "Stop with Ctrl-C" in log.read_text() or program.poll() is not None)
        assert program.poll() is None, log.read_text()
        check_clients(cluster, run, file)
        load = [sys.executable, HELPERS / "load_client.py", f"{URL}/v1/models/wrn:predict"]
        client = cluster.start(*load, file, 25, 4)
        wait_for(lambda: "1" in seen(client))
        copy_version(served / "wrn", 2)
        wait_for(lambda: "2" in seen(client))
        copy_version(served / "wrn", 3, damaged=True)
        result = json.loads(client.communicate(timeout=120)[0].splitlines()[-1])
        print(result)
        assert result["failed"] == 0, result["why"]
        assert set(result["versions"]) == {"1", "2"} and result["longest"] < 15_000
        _, text, _ = cluster.run("curl", "--silent", f"{URL}/v1/models/wrn")
        states = [each["state"] for each in json.loads(text)["model_version_status"]]
        assert states == ["END", "AVAILABLE"]  # 3, 2
        program.send_signal(signal.SIGTERM)
        assert program.wait(60) == 0 and log.read_text().endswith("Stopped.\n")
        _, text, _ = cluster.run("curl", "--silent", f"{URL}/v1/models")
        assert "not found" in text  # Ray Serve itself stays


def check_clients(cluster, run, file):
    """Ask as `keras-wrn serve --check`, the example and a client that errs do."""
    check = [sys.executable, "-m", "keras_wrn", "serve", "--check", URL, run, file]
    status, text, errors = cluster.run(*check, "--name", "wrn")
    assert status == 0, errors
    assert text.count("same class 100.00%") == 3
    client = [sys.executable, REPOSITORY / "examples" / "serving_client.py", file, "--url", URL]
    status, text, errors = cluster.run(*client, "--model", "wrn")
    assert status == 0 and text.startswith(f"{file}: "), errors
    status, _, errors = cluster.run(*client, "--model", "other")
    assert status == 1 and "404: Servable not found for request: Latest(other)" in errors
    script = REPOSITORY / "examples" / "serving_client.sh"
    _, text, errors = cluster.run("sh", script, script, "wrn", URL)
    assert "is not an image" in json.loads(text)["error"], errors


def wait_for(condition, seconds=180):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.2)


def seen(client):
    """The versions that have answered, by the client's next line."""
    return json.loads(client.stdout.readline())["versions"]


def copy_version(folder, number, damaged=False):
    """Put version 1 again as another one, whole when it appears; or without its weights."""
    part = folder / "part"
    shutil.copytree(folder / "1", part)
    if damaged:
        shutil.rmtree(part / "variables")
    part.rename(folder / str(number))
