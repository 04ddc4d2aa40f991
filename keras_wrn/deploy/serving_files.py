"""What stands beside an exported graph, and the check that it answers as the model does."""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_wrn.deploy import engines
from keras_wrn.deploy.checking import FLOAT_BOUND, in_float32
from keras_wrn.errors import InputError
from keras_wrn.images.graph_decoder import READABLE
from keras_wrn.images.pillow_reader import read_images
from keras_wrn.images.preprocessing import Preprocessing
from keras_wrn.inference.classifier import file_shape
from keras_wrn.insight.calibration import softmax
from keras_wrn.insight.outputs import open_reader, read
from keras_wrn.system.console import say
from keras_wrn.system.files import write_json

if TYPE_CHECKING:
    import keras

    from keras_wrn.deploy.exported_scores import ExportedScores

LABELS_FILE, GUIDE_FILE = "labels.txt", "serving.md"
WARM_UP_FILE = "assets.extra/tf_serving_warmup_requests"
NEWEST_SERVING = "2.20 (August 2026)"
# What `keras-wrn serve --engine` takes: a format, and its quantisation.
ENGINES = {
    name if level is None else f"{name}-{level}": (name, level)
    for name, (_, levels, _) in engines.FORMATS.items()
    for level in (None, *levels)
}
# Pillow's names and options of the kinds of files that an export is asked with.
_KINDS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("PNG", {}),
    ("JPEG", {"quality": 95}),
    ("JPEG", {"progressive": True}),
    ("GIF", {}),
    ("BMP", {}),
    ("WEBP", {"lossless": True}),
)


def check(
    signatures: Any, model: keras.Model, preprocessing: Preprocessing, temperature: float
) -> float:
    """Ask a written SavedModel for arrays, image files and a damaged file.

    Args:
        signatures: of the SavedModel, loaded.
        model: what was exported.
        preprocessing: of the model.
        temperature: of the export.

    Returns:
        The largest difference of a probability from Keras'.

    Raises:
        InputError: the difference is above `FLOAT_BOUND`, or a damaged file is not marked.
    """
    import tensorflow as tf
    from PIL import Image

    shape, resize = file_shape(model, preprocessing)
    files = _image_files(shape, resize)
    pixels = read_images(
        [Image.open(io.BytesIO(file)) for file in files],
        shape[:2],
        channels=shape[2],
        resize=resize,
        interpolation=preprocessing.interpolation,
    )
    reader = open_reader(in_float32(model), preprocessing, batch_size=len(files))
    expected = softmax(read(reader, pixels).logits / temperature)
    of_files = signatures["serving_bytes"](image_bytes=tf.constant([*files, files[0][:-30]]))
    of_pixels = signatures["serving_default"](images=tf.constant(pixels))
    if of_files["valid"].numpy().tolist() != [1] * len(files) + [0]:
        raise InputError(
            "The SavedModel was not written: it does not tell a damaged image from good ones. "
            f"Received: valid={of_files['valid'].numpy().tolist()}."
        )
    found = (of_pixels["probabilities"], of_files["probabilities"][:-1])
    difference = max(float(np.abs(answer - expected).max()) for answer in found)
    if not difference <= FLOAT_BOUND:
        raise InputError(
            "The SavedModel was not written: its probabilities differ from Keras' by "
            f"{difference:.2g}; at most {FLOAT_BOUND:g} is allowed."
        )
    return difference


def _image_files(shape: tuple[int, int, int], resize: int | None) -> list[bytes]:
    """A picture as files of several kinds, in a size that is cropped and not resized."""
    from PIL import Image

    height, width, _ = shape
    scale = 1 if resize is None else resize / min(height, width)
    rows, columns = round(height * scale), round(width * scale)
    y, x = np.mgrid[0:rows, 0:columns] / max(rows, columns)
    waves = [np.sin(9 * x + 4 * y), np.sin(7 * y * x + 1), np.cos(5 * x - 11 * y)]
    picture = Image.fromarray(np.uint8(127.5 + 127.5 * np.stack(waves, -1)))
    files = []
    for kind, options in _KINDS:
        file = io.BytesIO()
        picture.save(file, kind, **options)
        files.append(file.getvalue())
    for mode in ("L", "RGBA"):
        file = io.BytesIO()
        picture.convert(mode).save(file, "PNG")
        files.append(file.getvalue())
    return files


def write(
    folder: Path,
    signatures: Any,
    labels: list[str],
    *,
    temperature: float,
    batching: bool,
    scores: ExportedScores | None,
) -> None:
    """Write labels.txt, serving.md and the warm-up requests into the folder of a SavedModel.

    The requests are left out, with a message, where tensorflow-serving-api is not installed.
    """
    text = "".join(f"{label}\n" for label in labels)  # names of folders may hold any bytes
    (folder / LABELS_FILE).write_bytes(text.encode("utf-8", "surrogateescape"))
    (folder / GUIDE_FILE).write_text(
        _guide(signatures, temperature=temperature, batching=batching, scores=scores),
        encoding="utf-8",
    )
    if importlib.util.find_spec("tensorflow_serving"):
        _write_warm_up(folder, signatures)
    else:
        say(
            "No warm-up requests for TF Serving were written; they need: "
            "pip install --no-deps tensorflow-serving-api"
        )


def _write_warm_up(folder: Path, signatures: Any) -> None:
    """One request for each signature, in TF Serving's format.

    Source: tensorflow.org/tfx/serving/saved_model_warmup.
    """
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    file = folder / WARM_UP_FILE
    file.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(file)) as writer:
        for name, signature in sorted(signatures.items()):
            request = predict_pb2.PredictRequest()
            # TF Serving warms up the model that the folder belongs to, whatever this name is.
            request.model_spec.name, request.model_spec.signature_name = "wrn", name
            for key, value in _sample_input(signature).items():
                request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
            log = prediction_log_pb2.PredictLog(request=request)
            writer.write(prediction_log_pb2.PredictionLog(predict_log=log).SerializeToString())


def _sample_input(signature: Any) -> dict[str, np.ndarray]:
    """One image for a signature: its file, or its pixels."""
    ((_, inputs),) = [signature.structured_input_signature]
    if "image_bytes" in inputs:
        return {"image_bytes": np.array(_image_files((32, 32, 3), None)[:1], object)}
    shape = inputs["images"].shape
    return {"images": np.zeros((1, *shape[1:]), np.uint8)}


def _guide(
    signatures: Any, *, temperature: float, batching: bool, scores: ExportedScores | None
) -> str:
    """The text of serving.md."""
    import keras
    import tensorflow as tf

    from keras_wrn.system.markdown import table

    parts = []
    for name, signature in sorted(signatures.items(), reverse=True):
        ((_, inputs),) = [signature.structured_input_signature]
        named = [("takes", inputs), ("returns", signature.structured_outputs)]
        rows = [
            [verb, f"`{key}`", tensor.dtype.name, _shape(tensor.shape)]
            for verb, tensors in named
            for key, tensor in sorted(tensors.items())
        ]
        parts.append(f"## {name}\n\n{table(['', 'name', 'type', 'shape'], rows)}\n")
    scale = (
        f"`probabilities` is the softmax of `logits` divided by the temperature {temperature:g}."
        if temperature != 1
        else "`probabilities` is the softmax of `logits`."
    )
    batches = (
        "Requests that come together are computed together, by the batcher in the graph."
        if batching
        else "The graph has no batcher: TF Serving has its own (--enable_batching)."
    )
    if scores is not None:
        measured = (
            f"The columns of `scores` and `is_known`. Of {scores.measured_on:,} images of the data "
            f"set that the network was not trained on, {scores.tpr:.0%} are at or above the "
            "threshold; `is_known` is 1 there."
        )
        rows = [[name, f"{value:.6g}"] for name, value in scores.thresholds.items()]
        parts.append(f"## scores\n\n{measured}\n\n{table(['score', 'threshold'], rows)}\n")
    head = f"""# This model

A Wide Residual Network with its preprocessing, written by keras-wrn export with TensorFlow
{tf.__version__} and Keras {keras.__version__}.
{scale}
{batches}

TF Serving reads models of its own version of TensorFlow and of older ones; the newest was
{NEWEST_SERVING} when this exporter was written. A newer TensorFlow's model mostly loads too.
`keras-wrn serve --check http://HOST:8501 RUN` asks a running server and compares it with Keras.

Each of `image_bytes` is {READABLE}.
`valid` is 0 for any other: its probabilities are all alike. labels.txt has the classes' names.

    docker run -p 8501:8501 -v FOLDER:/models/wrn -e MODEL_NAME=wrn tensorflow/serving
    echo '{{"signature_name": "serving_bytes",
      "instances": [{{"b64": "'$(base64 -w0 a.png)'"}}]}}' > request.json
    curl -d @request.json http://localhost:8501/v1/models/wrn:predict

FOLDER is the one that holds the numbered versions.
"""
    return "\n".join([head, *parts])


def _shape(shape: Any) -> str:
    return "(" + ", ".join("n" if size is None else str(size) for size in shape) + ")"


def check_engine(engine: str) -> None:
    """Raise InputError if there is no such engine, or a package to write its file is missing."""
    if engine not in ENGINES:
        raise InputError(f"The engine must be one of {', '.join(ENGINES)}. Received: {engine!r}.")
    engines.check_format(*ENGINES[engine])


def engine_files(folder: Path, engine: str) -> tuple[Path, Path]:
    """The file of an engine in the folder of a SavedModel, and what is written about it."""
    file = folder / "assets.extra" / f"{engine}{engines.FORMATS[ENGINES[engine][0]][0]}"
    return file, file.with_suffix(".json")


def export_beside(
    folder: Path,
    model: keras.Model,
    preprocessing: Preprocessing,
    engine: str,
    calibration: np.ndarray | None,
    temperature: float,
) -> None:
    """Write an engine's file into the folder of a SavedModel, for `keras-wrn serve --engine`."""
    file_format, quantize = ENGINES[engine]
    file, about = engine_files(folder, engine)
    engines.export_file(
        model,
        file,
        preprocessing,
        file_format=file_format,
        quantize=quantize,
        calibration=calibration,
    )
    shape, resize = file_shape(model, preprocessing)
    facts = {"shape": shape, "resize": resize, "interpolation": preprocessing.interpolation}
    write_json(about, {**facts, "temperature": temperature})
