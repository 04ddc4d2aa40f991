"""The command serve: what it refuses, what it passes on, and what it says without gRPC."""

import importlib.util

import pytest
from background_server import Doubler, write_version

from keras_wrn.cli import serve_command
from keras_wrn.cli.main import main, parse

NEEDED = ("starlette", "uvicorn", "orjson", "prometheus_client", "tensorflow")
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]
needs_extra = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")


def call(*words):
    return main(parse(["serve", *map(str, words)]))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "serve needs one folder of exported networks. Received: none."),
        (["a", "b"], "serve needs one folder of exported networks. Received: a, b."),
        (["a", "--model", "16-4"], "--model is for --check; a served model is a folder."),
        (["a", "--dataset", "digits"], "--dataset is for --check; a served model is a folder."),
        (["a", "--calibrated"], "--calibrated is for --check; export the model with it."),
        (["a", "--json"], "--json is for --check; a server answers in JSON itself."),
        (["a", "--max_requests", "0"], "--max_requests must be a number above 0. Received: 0."),
        (["a", "--poll_seconds", "-1"], "--poll_seconds must be a number above 0. Received: -1.0."),
        (
            ["a", "--max_megabytes", "inf"],
            "--max_megabytes must be a number above 0. Received: inf.",
        ),
        (
            ["a", "--drain_seconds", "-1"],
            "--drain_seconds must be a number from 0. Received: -1.0.",
        ),
        (["--check", "http://127.0.0.1:9"], "A model is needed"),
        (["--check", "http://h", "a", "--keep", "2"], "--keep is for serving; --check asks"),
        (["--check", "http://h", "a", "--label", "a/b=1"], "--label is for serving"),
    ],
)
def test_mistakes_are_one_sentence(words, sentence, capsys):
    assert call(*words) == 2
    assert sentence in capsys.readouterr().err


@needs_extra
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--label", "stable=1"], "--label must be MODEL/LABEL=VERSION. Received: stable=1."),
        (["--label", "wrn/stable=x"], "Received: wrn/stable=x."),
        (["--label", "net/stable=1"], "is for a model net;"),
        (["--keep", "0"], "`keep` must be a whole number from 1. Received: 0."),
    ],
)
def test_mistakes_about_versions_are_one_sentence(words, sentence, tmp_path, capsys):
    write_version(tmp_path / "wrn", 1)
    assert call(tmp_path, *words) == 2
    assert sentence in capsys.readouterr().err
    assert call(tmp_path / "wrn" / "1") == 2
    assert "must hold a model, folders 1, 2, ..." in capsys.readouterr().err


def test_all_packages_that_are_missing_are_named_at_once(tmp_path, monkeypatch, capsys):
    find, gone = importlib.util.find_spec, ("uvicorn", "orjson")
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name in gone else find(name, *rest)
    )
    names = [name for name in serve_command.PACKAGES if name in gone or name in MISSING]
    assert call(tmp_path) == 2
    wanted = f"Serving needs {', '.join(names)}, not installed here. "
    assert f"{wanted}Run: pip install {' '.join(names)}\n" in capsys.readouterr().err


@needs_extra
def test_options_arrive_and_missing_packages_are_named(tmp_path, monkeypatch, capsys):
    from keras_wrn.serving import grpc_services, servable, server

    def run(service, options, started):
        service.repository.refresh()
        started(server.Ports(1234, options.grpc_port))
        arrived.append((service, options))

    arrived = []
    monkeypatch.setattr(server, "run", run)
    monkeypatch.setattr(servable, "SavedModel", Doubler)
    write_version(tmp_path / "wrn", 1)
    write_version(tmp_path / "wrn", 2)
    words = ["--label", "wrn/stable=1", "--max_megabytes", "2", "--max_megapixels", "0.5"]
    words += ["--max_requests", "3", "--host", "0.0.0.0", "--drain_seconds", "4"]
    monkeypatch.setattr(grpc_services, "missing_packages", lambda: [])
    assert call(tmp_path, *words) == 0
    [(service, options)] = arrived
    limits = service.limits
    assert (limits.request_bytes, limits.pixels, limits.requests) == (2_000_000, 500_000, 3)
    assert (options.host, options.rest_port, options.grpc_port) == ("0.0.0.0", 8501, 8500)
    assert options.drain_seconds == 4
    assert service.repository.find("wrn", label="stable")[0] == 1
    said = capsys.readouterr()
    assert "  REST  http://0.0.0.0:1234/v1/models/wrn:predict\n  gRPC  0.0.0.0:8500\n" in said.err
    assert said.out == "Stopped; every request that came was answered.\n"

    monkeypatch.setattr(grpc_services, "missing_packages", lambda: ["grpcio"])
    assert call(tmp_path) == 0
    assert arrived[1][1].grpc_port is None
    said = capsys.readouterr().err
    assert "REST only. For gRPC, run: pip install grpcio\n" in said
    assert "gRPC  " not in said
