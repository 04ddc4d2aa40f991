"""The command `serve`: answer requests for exported networks, or check a server that does."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_wrn.cli.model_commands import MODEL, add_model_command, load
from keras_wrn.cli.program import start_keras
from keras_wrn.errors import InputError
from keras_wrn.system.backend import require_packages

if TYPE_CHECKING:
    import argparse

    from keras_wrn.serving.server import Ports

# What has no meaning with --check: an option, its type, default and help.
SERVING: dict[str, tuple[type, Any, str]] = {
    "host": (str, "127.0.0.1", "0.0.0.0 for every network (127.0.0.1: this machine)"),
    "rest_port": (int, 8501, "and of the page (8501)"),
    "grpc_port": (int, 8500, "-1: REST only (8500)"),
    "keep": (int, 1, "newest versions to serve (1)"),
    "poll_seconds": (float, 2.0, "between two looks at the folder (2)"),
    "max_megabytes": (float, 16.0, "of one request (16)"),
    "max_megapixels": (float, 25.0, "of one image (25)"),
    "max_requests": (int, 64, "at the same time (64)"),
    "drain_seconds": (float, 30.0, "for running requests at the end (30)"),
    "engine": (str, None, "openvino-int8, onnx or another that the model was exported with"),
}
PACKAGES = ("orjson", "prometheus_client", "starlette", "uvicorn")  # for REST and the page


def add_serve(commands: Any) -> None:
    """Add `serve` to the command line."""
    summary = "answer requests for exported networks, as TF Serving does"
    parser = add_model_command(
        commands,
        "serve",
        "folder | --check URL [run] [image ...]",
        summary,
        first=f"of exported networks; with --check: {MODEL}",
    )
    parser.description = (
        "Serve the SavedModels in a folder on this machine, with TF Serving's REST and gRPC "
        "interfaces and a page to try; or, with --check, compare any such server with a model."
    )
    parser.add_argument("--name", help="of the model (default: the name of its folder)")
    for option, (kind, default, text) in SERVING.items():
        parser.add_argument(f"--{option}", type=kind, default=default, help=text)
    parser.add_argument(
        "--label", action="append", default=[], help="MODEL/LABEL=VERSION, may be repeated"
    )
    parser.add_argument("--check", metavar="URL", help="of a server to compare with a model")
    parser.add_argument("--json", action="store_true", help="of --check: print JSON")
    parser.set_defaults(answer=_serve)


def _serve(arguments: argparse.Namespace) -> str:
    if arguments.check is not None:
        return _check(arguments)
    if len(arguments.paths) != 1:
        received = ", ".join(arguments.paths) or "none"
        raise InputError(f"serve needs one folder of exported networks. Received: {received}.")
    for name in ("model", "weights", "dataset", "preprocessing"):
        if getattr(arguments, name) is not None:
            raise InputError(f"--{name} is for --check; a served model is a folder.")
    if arguments.calibrated:
        raise InputError("--calibrated is for --check; export the model with it.")
    if arguments.json:
        raise InputError("--json is for --check; a server answers in JSON itself.")
    for name in ("poll_seconds", "max_megabytes", "max_megapixels", "max_requests"):
        if not 0 < getattr(arguments, name) < math.inf:
            raise InputError(
                f"--{name} must be a number above 0. Received: {getattr(arguments, name)}."
            )
    if not 0 <= arguments.drain_seconds < math.inf:
        raise InputError(
            f"--drain_seconds must be a number from 0. Received: {arguments.drain_seconds}."
        )
    require_packages(PACKAGES, "Serving")
    start_keras()
    from absl import logging

    from keras_wrn.serving import grpc_services
    from keras_wrn.serving.engine_model import loader
    from keras_wrn.serving.limits import Limits
    from keras_wrn.serving.repository import Repository
    from keras_wrn.serving.servable import SavedModel
    from keras_wrn.serving.server import Options, run
    from keras_wrn.serving.service import Service

    logging.set_verbosity(logging.INFO)
    limits = Limits(
        request_bytes=round(arguments.max_megabytes * 1e6),
        pixels=round(arguments.max_megapixels * 1e6),
        requests=arguments.max_requests,
    )
    repository = Repository(
        Path(arguments.paths[0]),
        SavedModel if arguments.engine is None else loader(arguments.engine),
        name=arguments.name,
        keep=arguments.keep,
        labels=dict(map(_label, arguments.label)),
    )
    missing = grpc_services.missing_packages() if arguments.grpc_port >= 0 else []
    if missing:
        print(f"REST only. For gRPC, run: pip install {' '.join(missing)}", file=sys.stderr)
    options = Options(
        host=arguments.host,
        rest_port=arguments.rest_port,
        grpc_port=None if missing or arguments.grpc_port < 0 else arguments.grpc_port,
        poll_seconds=arguments.poll_seconds,
        drain_seconds=arguments.drain_seconds,
    )
    service = Service(repository, limits)

    def started(ports: Ports) -> None:
        rest = f"http://{options.shown_host}:{ports.rest}/"
        lines = [f"Serving {', '.join(repository.names())}. Stop with Ctrl-C.", f"  page  {rest}"]
        lines += [f"  REST  {rest}v1/models/{name}:predict" for name in repository.names()]
        if ports.grpc is not None:
            lines.append(f"  gRPC  {options.shown_host}:{ports.grpc}")
        print("\n".join(lines), file=sys.stderr, flush=True)

    if cut := run(service, options, started):
        return f"Stopped. Without an answer after {arguments.drain_seconds:g} s: requests, {cut}."
    return "Stopped; every request that came was answered."


def _label(text: str) -> tuple[tuple[str, str], int]:
    place, _, version = text.partition("=")
    model, _, label = place.partition("/")
    if not (model and label and version.isascii() and version.isdecimal()):
        raise InputError(f"--label must be MODEL/LABEL=VERSION. Received: {text}.")
    return (model, label), int(version)


def _check(arguments: argparse.Namespace) -> str:
    defaults = {"label": []} | {name: default for name, (_, default, _) in SERVING.items()}
    for name, default in defaults.items():
        if getattr(arguments, name) != default:
            raise InputError(f"--{name} is for serving; --check asks a server that runs.")
    trained, files = load(arguments)
    from keras_wrn.serving.check import check_server

    found = check_server(arguments.check, trained, files, name=arguments.name)
    return json.dumps(dataclasses.asdict(found)) if arguments.json else str(found)
