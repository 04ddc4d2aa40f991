"""TF Serving's gRPC services and gRPC's health service."""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time

import keras
import numpy as np
import pytest
from background_server import Doubler, encoded, running, write_version
from tiny_run import DIGITS, random_images

from keras_wrn.inference.classifier import class_probabilities

if keras.backend.backend() != "tensorflow":
    pytest.skip("a SavedModel needs TensorFlow", allow_module_level=True)
grpc = pytest.importorskip("grpc", reason="the extra serve is not installed")
health_pb2 = pytest.importorskip("grpc_health.v1.health_pb2", reason="needs the extra serve")
pytest.importorskip("tensorflow_serving.apis.predict_pb2", reason="needs tensorflow-serving-api")

import tensorflow as tf
from grpc_health.v1 import health_pb2_grpc
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)


@pytest.fixture(scope="module")
def channel(server):
    with grpc.insecure_channel(server.grpc) as opened:
        yield opened


@pytest.fixture(scope="module")
def predictions(channel):
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


def asking(signature="", name="digits", version=None, label=None, **inputs):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = name
    request.model_spec.signature_name = signature
    if version is not None:
        request.model_spec.version.value = version
    if label is not None:
        request.model_spec.version_label = label
    for key, value in inputs.items():
        proto = value if isinstance(value, TensorProto) else tf.make_tensor_proto(value)
        request.inputs[key].CopyFrom(proto)
    return request


def refused(call, request):
    with pytest.raises(grpc.RpcError) as caught:
        call(request, timeout=30)
    return caught.value.code().name, caught.value.details()


@pytest.mark.parametrize("version", [None, 1])
def test_pixels(predictions, digits, version):
    images = random_images(3)
    expected = class_probabilities(digits, images, DIGITS)
    answer = predictions.Predict(asking(version=version, images=images), timeout=30)
    spec = answer.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("digits", 1, "serving_default")
    probabilities = tf.make_ndarray(answer.outputs["probabilities"])
    np.testing.assert_allclose(probabilities, expected, atol=1e-6)
    assert tf.make_ndarray(answer.outputs["class_index"]).tolist() == expected.argmax(1).tolist()


def test_encoded_images_and_a_filter(predictions, digits):
    images = random_images(2)
    expected = class_probabilities(digits, images, DIGITS)
    request = asking("serving_bytes", image_bytes=[encoded(image) for image in images])
    answer = predictions.Predict(request, timeout=30)
    probabilities = tf.make_ndarray(answer.outputs["probabilities"])
    np.testing.assert_allclose(probabilities, expected, atol=1e-6)
    labels = tf.make_ndarray(answer.outputs["top5_labels"])
    assert labels[0, 0] == str(expected[0].argmax()).encode()
    request.output_filter.append("top5_labels")
    assert list(predictions.Predict(request, timeout=30).outputs) == ["top5_labels"]
    request.output_filter.append("other")
    assert refused(predictions.Predict, request) == (
        "INVALID_ARGUMENT",
        "output tensor alias not found in signature: other",
    )


def claiming(*shape, dtype=tf.uint8, **values):
    proto = TensorProto(dtype=dtype.as_datatype_enum, **values)
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    return proto


IMAGES = random_images(1)
MISTAKES = [
    (asking(name="other", images=IMAGES), "NOT_FOUND", "Latest(other)"),
    (asking(name="", images=IMAGES), "INVALID_ARGUMENT", "Missing ModelSpec"),
    (asking(version=7, images=IMAGES), "NOT_FOUND", "Specific(digits, 7)"),
    (asking(label="x", images=IMAGES), "INVALID_ARGUMENT", "version label: x"),
    (asking("other", images=IMAGES), "INVALID_ARGUMENT", '"other" not found in signature def'),
    (asking(), "INVALID_ARGUMENT", "takes the inputs images. Received: none"),
    (asking(x=IMAGES, images=IMAGES), "INVALID_ARGUMENT", "Received: images, x"),
    (asking(images=IMAGES / 255), "INVALID_ARGUMENT", "must be DT_UINT8. Received: DT_DOUBLE"),
    (asking(images=IMAGES[:, :9]), "INVALID_ARGUMENT", "(n, 32, 32, 3). Received: (1, 9, 32, 3)"),
    (asking(images=claiming(2**40, 32, 32, 3)), "INVALID_ARGUMENT", "more than"),
    (asking(images=claiming(-5, 32, 32, 3)), "INVALID_ARGUMENT", "Received: (-5, 32, 32, 3)"),
    (asking(images=TensorProto(dtype=77)), "INVALID_ARGUMENT", "Received: 77"),
    (
        asking(images=claiming(1, 32, 32, 3, tensor_content=b"abc")),
        "INVALID_ARGUMENT",
        "do not fill its shape",
    ),
    (
        asking("serving_bytes", image_bytes=claiming(3, dtype=tf.string, string_val=[b"x"])),
        "INVALID_ARGUMENT",
        "has 1 strings for shape (3,)",
    ),
    (asking("serving_bytes", image_bytes=[b""]), "INVALID_ARGUMENT", "has no bytes"),
    (asking("serving_bytes", image_bytes=[b"noise"]), "INVALID_ARGUMENT", "is not an image"),
    (asking(images=np.zeros((6000, 32, 32, 3), "uint8")), "RESOURCE_EXHAUSTED", "larger than max"),
]


@pytest.mark.parametrize(
    ("request_", "code", "sentence"), MISTAKES, ids=[f"{i}" for i in range(len(MISTAKES))]
)
def test_mistakes_have_a_code_and_a_sentence(predictions, request_, code, sentence):
    received, details = refused(predictions.Predict, request_)
    assert received == code
    assert sentence in details


def test_metadata(predictions):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "digits"
    answer = predictions.GetModelMetadata(request, timeout=30)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert answer.metadata["signature_def"].Unpack(signatures)
    images = signatures.signature_def["serving_default"].inputs["images"]
    assert [dim.size for dim in images.tensor_shape.dim] == [-1, 32, 32, 3]
    assert images.dtype == tf.uint8.as_datatype_enum
    del request.metadata_field[:]
    assert refused(predictions.GetModelMetadata, request)[0] == "INVALID_ARGUMENT"


def test_status_and_health(channel):
    models = model_service_pb2_grpc.ModelServiceStub(channel)
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "digits"
    [version] = models.GetModelStatus(request, timeout=30).model_version_status
    assert (version.version, version.State.Name(version.state)) == (1, "AVAILABLE")
    request.model_spec.version.value = 3
    assert refused(models.GetModelStatus, request)[0] == "NOT_FOUND"
    health = health_pb2_grpc.HealthStub(channel)
    assert health.Check(health_pb2.HealthCheckRequest(), timeout=30).status == 1


def test_a_client_that_watches_the_health_does_not_hold_a_stop(tmp_path):
    write_version(tmp_path / "wrn", 1)
    begun, go_on = threading.Event(), threading.Event()
    go_on.set()  # for the request with which a model is tried

    class Waiting(Doubler):
        def run(self, signature_name, arrays):
            begun.set()
            assert go_on.wait(30)
            return super().run(signature_name, arrays)

    with (
        contextlib.ExitStack() as opened,  # the channel outlives the server
        running(tmp_path / "wrn", load=Waiting, drain_seconds=40) as server,
    ):
        channel = opened.enter_context(grpc.insecure_channel(server.grpc))
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        states = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert next(states).status == 1
        begun.clear()
        go_on.clear()
        answer = stub.Predict.future(asking(name="wrn", x=np.ones((1, 2), "float32")), timeout=60)
        assert begun.wait(30)
        server.stop()
        assert next(states).status == 2  # not serving: it is told, and its call is still open
        go_on.set()
        assert tf.make_ndarray(answer.result().outputs["doubled"]).tolist() == [[2, 2]]
        stopped = time.monotonic()
    assert time.monotonic() - stopped < 20


def test_what_is_not_served_says_so(predictions):
    request = classification_pb2.ClassificationRequest()
    code, details = refused(predictions.Classify, request)
    assert (code, "Use Predict" in details) == ("UNIMPLEMENTED", True)


# The client brings its own messages, which clash with TensorFlow's in one process.
CLIENT_PYTHON = os.environ.get("OVMSCLIENT_PYTHON", sys.executable)
CLIENT = """
import json, sys
import numpy as np
import ovmsclient
client = ovmsclient.make_grpc_client(sys.argv[1])
answer = client.predict({"images": np.load(sys.argv[2])}, "digits")
print(json.dumps([
    answer["probabilities"].tolist(),
    client.get_model_status("digits")[1]["state"],
    client.get_model_metadata("digits")["inputs"]["images"]["shape"],
]))
"""


def test_the_client_of_openvinos_model_server(server, digits, tmp_path):
    find = [CLIENT_PYTHON, "-c", "import ovmsclient"]
    if subprocess.run(find, capture_output=True, check=False).returncode:
        pytest.skip("ovmsclient is not installed; OVMSCLIENT_PYTHON may name a Python that has it")
    images = random_images(2)
    np.save(tmp_path / "images.npy", images)
    command = [CLIENT_PYTHON, "-c", CLIENT, server.grpc, str(tmp_path / "images.npy")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    probabilities, state, shape = json.loads(done.stdout)
    expected = class_probabilities(digits, images, DIGITS)
    np.testing.assert_allclose(probabilities, expected, atol=1e-6)
    assert (state, shape) == ("AVAILABLE", [-1, 32, 32, 3])
