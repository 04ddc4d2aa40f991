"""Ask a server that speaks TF Serving's interfaces to classify image files.

    keras-wrn export saved_models/wrn-16-4-cifar10 served/wrn
    keras-wrn serve served
    python examples/serving_client.py frog.png truck.jpg --model wrn             # REST
    python examples/serving_client.py frog.png --model wrn --grpc localhost:8500

REST needs the package requests; gRPC needs grpcio, tensorflow-serving-api and TensorFlow.
The same works with `docker run tensorflow/serving`.
"""

import argparse
import base64
from pathlib import Path

SIGNATURE = "serving_bytes"  # takes encoded images; serving_default takes pixels


def over_rest(url: str, model: str, images: list[bytes]) -> list[tuple[str, float] | None]:
    """Return the best class of each image and its probability; None for what is no image.

    Args:
        url: of the server, http://localhost:8501.
        model: its name.
        images: the bytes of PNG, JPEG, GIF, BMP or WebP files.
    """
    import requests

    instances = [{"image_bytes": {"b64": base64.b64encode(image).decode()}} for image in images]
    reply = requests.post(
        f"{url}/v1/models/{model}:predict",
        json={"signature_name": SIGNATURE, "instances": instances},
        timeout=60,
    )
    if not reply.ok:
        raise SystemExit(f"{reply.status_code}: {reply.json()['error']}")
    predictions = reply.json()["predictions"]
    return [
        (row["top5_labels"][0], row["top5_scores"][0]) if row["valid"] else None
        for row in predictions
    ]


def over_grpc(address: str, model: str, images: list[bytes]) -> list[tuple[str, float] | None]:
    """Return what `over_rest` does, over gRPC; the address is localhost:8500."""
    import grpc
    import tensorflow as tf
    from tensorflow_serving.apis.predict_pb2 import PredictRequest
    from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub

    request = PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = SIGNATURE
    request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto(images))
    with grpc.insecure_channel(address) as channel:
        try:
            outputs = PredictionServiceStub(channel).Predict(request, timeout=60).outputs
        except grpc.RpcError as error:
            raise SystemExit(f"{error.code().name}: {error.details()}") from error
    labels = tf.make_ndarray(outputs["top5_labels"])[:, 0]
    scores = tf.make_ndarray(outputs["top5_scores"])[:, 0]
    valid = tf.make_ndarray(outputs["valid"])
    return [
        (label.decode(), float(score)) if good else None
        for label, score, good in zip(labels, scores, valid, strict=True)
    ]


def main(arguments: list[str] | None = None) -> None:
    """Classify the files of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("files", nargs="+", help="image files")
    parser.add_argument("--model", required=True, help="name of the model on the server")
    parser.add_argument("--url", default="http://localhost:8501", help="of the REST interface")
    parser.add_argument("--grpc", help="host:port of gRPC, to ask that way")
    chosen = parser.parse_args(arguments)
    images = [Path(file).read_bytes() for file in chosen.files]
    if chosen.grpc:
        found = over_grpc(chosen.grpc, chosen.model, images)
    else:
        found = over_rest(chosen.url, chosen.model, images)
    for file, answer in zip(chosen.files, found, strict=True):
        print(f"{file}: {answer[0]} {answer[1]:.1%}" if answer else f"{file} is no readable image.")


if __name__ == "__main__":
    main()
