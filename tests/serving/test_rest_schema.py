"""Replies fit a JSON schema of TF Serving's REST interface.

Source: tensorflow.org/tfx/serving/api_rest: "Model status API", "Model Metadata API", "Predict
API", "Returning an error"; ModelVersionStatus of get_model_status.proto.
"""

import pytest
from background_server import b64, call, encoded
from tiny_run import random_images

jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")

# A tensor in lists, binary values as {"b64": ...}.
TENSOR = {
    "anyOf": [
        {"type": ["number", "string", "boolean"]},
        {"type": "array", "items": {"$ref": "#/$defs/tensor"}},
        {
            "type": "object",
            "properties": {"b64": {"type": "string"}},
            "required": ["b64"],
            "additionalProperties": False,
        },
    ]
}
NAMED = {"type": "object", "additionalProperties": {"$ref": "#/$defs/tensor"}, "minProperties": 1}
PREDICT = {
    "$defs": {"tensor": TENSOR},
    "type": "object",
    "oneOf": [
        {
            "properties": {"predictions": {"type": "array", "items": {"anyOf": [NAMED, TENSOR]}}},
            "required": ["predictions"],
            "additionalProperties": False,
        },
        {
            "properties": {"outputs": {"anyOf": [NAMED, TENSOR]}},
            "required": ["outputs"],
            "additionalProperties": False,
        },
    ],
}
ERROR = {
    "type": "object",
    "properties": {"error": {"type": "string", "minLength": 1}},
    "required": ["error"],
    "additionalProperties": False,
}
STATES = "UNKNOWN START LOADING AVAILABLE UNLOADING END".split()
STATUS = {
    "type": "object",
    "properties": {
        "model_version_status": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "properties": {
                    "version": {"type": "string", "pattern": r"^\d+$"},
                    "state": {
                        "enum": ["UNKNOWN", "START", "LOADING", "AVAILABLE", "UNLOADING", "END"]
                    },
                    "status": {
                        "type": "object",
                        "properties": {
                            "error_code": {"type": "string"},
                            "error_message": {"type": "string"},
                        },
                        "required": ["error_code", "error_message"],
                    },
                },
                "required": ["version", "state", "status"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["model_version_status"],
    "additionalProperties": False,
}
TENSORS = {
    "type": "object",
    "additionalProperties": {
        "type": "object",
        "properties": {
            "dtype": {"type": "string", "pattern": "^DT_"},
            "name": {"type": "string"},
            "tensor_shape": {
                "type": "object",
                "properties": {
                    "unknown_rank": {"type": "boolean"},
                    "dim": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "properties": {"size": {"type": "string", "pattern": r"^-?\d+$"}},
                            "required": ["size"],
                        },
                    },
                },
            },
        },
        "required": ["dtype", "tensor_shape", "name"],
    },
}
METADATA = {
    "type": "object",
    "properties": {
        "model_spec": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "version": {"type": "string"}},
            "required": ["name", "version"],
        },
        "metadata": {
            "type": "object",
            "properties": {
                "signature_def": {
                    "type": "object",
                    "properties": {
                        "signature_def": {
                            "type": "object",
                            "additionalProperties": {
                                "type": "object",
                                "properties": {
                                    "inputs": TENSORS,
                                    "outputs": TENSORS,
                                    "method_name": {"type": "string"},
                                },
                                "required": ["inputs", "outputs", "method_name"],
                            },
                        }
                    },
                    "required": ["signature_def"],
                }
            },
            "required": ["signature_def"],
        },
    },
    "required": ["model_spec", "metadata"],
}


def replied(server, path, content=None, status=200):
    found, answer, _ = call(f"{server.url}/v1/models/{path}", content)
    assert found == status, answer
    return answer


def test_predictions_fit_in_both_forms(server):
    images = random_images(2)
    encoded_images = [b64(encoded(image)) for image in images]
    for content in (
        {"instances": images.tolist()},
        {"inputs": images.tolist()},
        {"signature_name": "serving_bytes", "instances": encoded_images},
        {"signature_name": "serving_bytes", "inputs": {"image_bytes": encoded_images}},
        {"signature_name": "features", "instances": images.tolist()},
    ):
        jsonschema.validate(replied(server, "digits:predict", content), PREDICT)


def test_status_and_metadata_fit(server):
    for path in ("digits", "digits/versions/1"):
        jsonschema.validate(replied(server, path), STATUS)
        jsonschema.validate(replied(server, f"{path}/metadata"), METADATA)


@pytest.mark.parametrize(
    ("path", "content", "status"),
    [
        ("digits:predict", {"instances": "no"}, 400),
        ("digits:predict", {}, 400),
        ("digits:predict", b"{", 400),
        ("digits/versions/7:predict", {"instances": []}, 404),
        ("nobody:predict", {"instances": []}, 404),
        ("nobody", None, 404),
        ("digits:predict", {"signature_name": "serving_bytes", "instances": [b64(b"no")]}, 400),
    ],
)
def test_errors_fit(server, path, content, status):
    jsonschema.validate(replied(server, path, content, status), ERROR)
