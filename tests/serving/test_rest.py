"""TF Serving's REST interface: paths, both forms, replies, errors."""

import asyncio
import re
import socket

import numpy as np
import pytest
from background_server import b64, call, encoded
from tiny_run import DIGITS, random_images

from keras_wrn.inference.classifier import class_probabilities
from keras_wrn.serving.server import bind


@pytest.fixture
def images():
    return random_images(3)


@pytest.fixture
def expected(digits, images):
    return class_probabilities(digits, images, DIGITS)


def columns(predictions, name):
    return np.array([row[name] for row in predictions])


@pytest.mark.parametrize("path", ["", "/versions/1"], ids=["the newest version", "a named version"])
def test_rows_without_names(server, images, expected, path):
    url = f"{server.url}/v1/models/digits{path}:predict"
    status, answer, headers = call(url, {"instances": images.tolist()})
    assert (status, list(answer)) == (200, ["predictions"])
    np.testing.assert_allclose(columns(answer["predictions"], "probabilities"), expected, atol=1e-6)
    assert columns(answer["predictions"], "class_index").tolist() == expected.argmax(1).tolist()
    assert headers["x-model-version"] == "1"
    assert headers["server-timing"].startswith("model;dur=")


def test_rows_with_names_and_the_columnar_form_say_the_same(server, images, expected):
    url = f"{server.url}/v1/models/digits:predict"
    rows = call(url, {"instances": [{"images": image.tolist()} for image in images]})[1]
    for inputs in (images.tolist(), {"images": images.tolist()}):
        status, answer, _ = call(url, {"inputs": inputs})
        assert (status, list(answer)) == (200, ["outputs"])
        np.testing.assert_allclose(answer["outputs"]["probabilities"], expected, atol=1e-6)
    np.testing.assert_allclose(
        columns(rows["predictions"], "probabilities"), answer["outputs"]["probabilities"], atol=1e-7
    )


@pytest.mark.parametrize("form", ["unnamed rows", "named rows", "columns", "named columns"])
def test_encoded_images_in_base64(server, images, expected, form):
    files = [b64(encoded(image)) for image in images]
    content = {
        "unnamed rows": {"instances": files},
        "named rows": {"instances": [{"image_bytes": file} for file in files]},
        "columns": {"inputs": files},
        "named columns": {"inputs": {"image_bytes": files}},
    }[form]
    url = f"{server.url}/v1/models/digits:predict"
    status, answer, _ = call(url, {"signature_name": "serving_bytes", **content})
    assert status == 200, answer
    if "rows" in form:
        names = answer["predictions"][0]
        answer = {name: columns(answer["predictions"], name) for name in names}
    else:
        answer = answer["outputs"]
    np.testing.assert_allclose(answer["probabilities"], expected, atol=1e-6)
    best = np.argsort(-expected, axis=1)[:, :5]
    assert np.array(answer["top5_labels"]).tolist() == best.astype(str).tolist()


def test_status_and_metadata(server):
    url = f"{server.url}/v1/models/digits"
    fine = {"error_code": "OK", "error_message": ""}
    known = {"model_version_status": [{"version": "1", "state": "AVAILABLE", "status": fine}]}
    assert call(url)[:2] == (200, known)
    assert call(f"{url}/versions/1")[:2] == (200, known)
    status, answer, _ = call(f"{url}/metadata")
    assert status == 200
    assert answer["model_spec"] == {"name": "digits", "signature_name": "", "version": "1"}
    signatures = answer["metadata"]["signature_def"]["signature_def"]
    assert {"serving_default", "serving_bytes"} <= set(signatures)
    default = signatures["serving_default"]
    assert default["method_name"] == "tensorflow/serving/predict"
    sizes = [dim["size"] for dim in default["inputs"]["images"]["tensor_shape"]["dim"]]
    assert sizes == ["-1", "32", "32", "3"]
    assert default["inputs"]["images"]["dtype"] == "DT_UINT8"
    assert default["inputs"]["images"]["name"].endswith(":0")
    assert signatures["serving_bytes"]["outputs"]["top5_labels"]["dtype"] == "DT_STRING"


def test_the_metadata_are_a_message_of_tensorflow(server):
    protos = pytest.importorskip("tensorflow_serving.apis.get_model_metadata_pb2")
    from google.protobuf.json_format import ParseDict

    answer = call(f"{server.url}/v1/models/digits/metadata")[1]
    message = ParseDict(answer["metadata"]["signature_def"], protos.SignatureDefMap())
    inputs = message.signature_def["serving_bytes"].inputs["image_bytes"]
    assert (inputs.dtype, inputs.tensor_shape.dim[0].size) == (7, -1)


@pytest.mark.parametrize(
    ("path", "content", "status", "sentence"),
    [
        ("models/other:predict", {"instances": [1]}, 404, r"request: Latest\(other\)"),
        ("models/digits/versions/9:predict", {"instances": [1]}, 404, r"Specific\(digits, 9\)"),
        ("models/digits/labels/x:predict", {"instances": [1]}, 400, "servable version label: x"),
        ("models/other", None, 404, "Could not find any versions of model other"),
        ("models/digits/versions/2", None, 404, "Could not find version 2 of model digits"),
        ("models/other/metadata", None, 404, "Servable not found"),
        ("models/digits:predict", None, 400, "Malformed request: GET /v1/models/digits:predict"),
        ("nothing", None, 400, "Malformed request: GET /v1/nothing"),
        ("models/digits:classify", {"examples": []}, 400, "Use :predict"),
        ("models/digits:predict", {}, 400, "Missing 'inputs' or 'instances' key"),
        ("models/digits:predict", [], 400, "must be a JSON object. Received: an empty list"),
        ("models/digits:predict", {"instances": [], "inputs": []}, 400, "Received: both"),
        ("models/digits:predict", {"instances": []}, 400, "a list with a value"),
        ("models/digits:predict", {"instances": {"a": 1}}, 400, "Received: an object"),
        (
            "models/digits:predict",
            {"instances": [1], "signature_name": "x"},
            400,
            '"x" not found in signature def. The model has: .*serving_default',
        ),
        ("models/digits:predict", {"instances": [1], "signature_name": 3}, 400, "a string value"),
        ("models/digits:predict", {"instances": [{"x": 1}]}, 400, "takes the inputs images"),
        ("models/digits:predict", {"instances": [{"x": 1}, 2]}, 400, "or none of them"),
        ("models/digits:predict", {"inputs": {"x": 1}}, 400, "Received: x"),
        ("models/digits:predict", {"instances": [[1], [2, 3]]}, 400, "lists of equal lengths"),
        ("models/digits:predict", {"instances": [[[[0.5]]]]}, 400, "to 255 .* a fraction"),
        ("models/digits:predict", {"instances": ["a"]}, 400, "Received: a string"),
        ("models/digits:predict", {"instances": [True]}, 400, "Received: a boolean"),
        ("models/digits:predict", {"instances": [[[[1, True, 0]]]]}, 400, "Received: a boolean"),
        ("models/digits:predict", {"instances": [None]}, 400, "Received: null"),
        ("models/digits:predict", {"instances": [b64(b"x")]}, 400, "Received: an object"),
        ("models/digits:predict", {"instances": [256]}, 400, "Received: 256"),
        ("models/digits:predict", {"instances": [-1]}, 400, "Received: -1"),
        ("models/digits:predict", {"instances": [2**70]}, 400, "Received: "),
        ("models/digits:predict", {"instances": [[[1]]]}, 400, r"\(n, 32, 32, 3\). .* \(1, 1, 1\)"),
    ],
)
def test_mistakes_are_answered_as_tensorflow_serving_does(server, path, content, status, sentence):
    received, answer, _ = call(f"{server.url}/v1/{path}", content)
    assert received == status
    assert list(answer) == ["error"]
    assert re.search(sentence, answer["error"]), answer


def test_health_names_and_metrics(server):
    assert call(f"{server.url}/healthz")[:2] == (200, "ok\n")
    assert call(f"{server.url}/readyz")[:2] == (200, "ready\n")
    assert call(f"{server.url}/v1/models")[:2] == (200, {"models": ["digits"]})
    call(f"{server.url}/v1/models/digits:predict", {"instances": [1]})
    text = call(f"{server.url}/metrics")[1]
    assert (
        'keras_wrn_requests_total{code="INVALID_ARGUMENT",interface="rest",model="digits"}' in text
    )
    assert 'keras_wrn_version_served{model="digits",version="1"} 1.0' in text
    assert "keras_wrn_requests_running 0.0" in text
    assert 'model="other"' not in text


def test_answers_are_sent_at_once():
    """Without TCP_NODELAY the body of an answer waits 40 ms for the client's acknowledgement."""
    delays = []

    class Looking(asyncio.Protocol):
        def connection_made(self, transport):
            accepted = transport.get_extra_info("socket")
            delays.append(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            transport.close()

    async def connect():
        server = await asyncio.get_running_loop().create_server(Looking, sock=bind("127.0.0.1", 0))
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            await reader.read()
            writer.close()

    asyncio.run(connect())
    assert delays == [1]
