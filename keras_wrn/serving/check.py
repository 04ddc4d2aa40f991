"""Compare a running server, ours or TF Serving, with the model in Keras."""

from __future__ import annotations

import base64
import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_wrn.errors import InputError
from keras_wrn.images.pillow_reader import read_images
from keras_wrn.inference.classifier import class_probabilities, file_shape
from keras_wrn.inference.own_images import images_of
from keras_wrn.serving.servable import IMAGE_INPUT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from keras_wrn.inference.trained import Trained

IMAGES = 32  # of the model's own test set
BATCH = 8  # images a request
BATCH_BYTES = 8_000_000  # of a request of several images; our own server takes 16 MB
TOLERANCE = 1e-3  # between probabilities: one level of 255 in a pixel moves them by less
_SECONDS = 60


@dataclass(frozen=True)
class Compared:
    """How far the probabilities of a server are from the model's.

    Attributes:
        signature_name: which was asked.
        difference: the largest between two probabilities.
        agreement: share of images with the same most probable class.
    """

    signature_name: str
    difference: float
    agreement: float


@dataclass(frozen=True)
class Checked:
    """A server that answers as the model does.

    Attributes:
        url: of the model on the server.
        version: that answered.
        n: images that were asked about.
        signatures: how each signature compares.
    """

    url: str
    version: str
    n: int
    signatures: tuple[Compared, ...]

    def __str__(self) -> str:
        lines = [
            f"  {one.signature_name:<16} largest difference {one.difference:.1e}, "
            f"same class {one.agreement:.2%}"
            for one in self.signatures
        ]
        return "\n".join([f"{self.url}, version {self.version}, {self.n} images", *lines])


def check_server(
    url: str, trained: Trained, files: Sequence[str] = (), *, name: str | None = None
) -> Checked:
    """Send images to a server of TF Serving's REST interface and compare the answers.

    Args:
        url: of the server, or of a model: http://HOST:8501/v1/models/NAME.
        trained: the model that the server should be.
        files: image files; none: 32 of the model's own test set, as PNG.
        name: of the model on the server; default: the one in the URL, or the only one of a server
            that tells its names, as ours does and TF Serving does not.

    Returns:
        What was compared; as text a line for each signature, with the largest difference.

    Raises:
        InputError: the server cannot be asked, or it answers differently: a probability differs by
            more than 0.001, or the most probable class of an image.

    Example:
        >>> run = keras_wrn.load_trained("runs/wrn-16-1")  # doctest: +SKIP
        >>> print(check_server("http://127.0.0.1:8501", run, name="wrn"))  # doctest: +SKIP
        http://127.0.0.1:8501/v1/models/wrn, version 1, 32 images
          serving_bytes    largest difference 1.2e-07, same class 100.00 %
          serving_default  largest difference 1.2e-07, same class 100.00 %
    """
    model_url = _model_url(url, name)
    metadata = _ask(f"{model_url}/metadata")
    try:
        signatures = metadata["metadata"]["signature_def"]["signature_def"]
        version = metadata["model_spec"]["version"]
        forms = {key: next(iter(signatures[key]["inputs"])) for key in sorted(signatures)}
    except (KeyError, TypeError, StopIteration) as error:
        raise InputError(f"{model_url}/metadata is not what TF Serving answers.") from error
    images, contents = _images(trained, files)
    expected = class_probabilities(trained.model, images, trained.preprocessing)
    found = []
    for key, input_name in forms.items():
        if "probabilities" not in signatures[key]["outputs"]:
            continue
        values = (
            [{"b64": base64.b64encode(content).decode()} for content in contents]
            if input_name == IMAGE_INPUT
            else images.tolist()
        )
        found.append(_compare(f"{model_url}:predict", key, input_name, values, expected))
    if not found:
        raise InputError(f"{model_url} has no signature with an output `probabilities`.")
    checked = Checked(model_url, str(version), len(images), tuple(found))
    if any(not one.difference <= TOLERANCE or one.agreement < 1 for one in found):
        raise InputError(
            f"The server is another model than {trained.path}, or reads images differently. "
            + "; ".join(str(checked).splitlines())
        )
    return checked


def _model_url(url: str, name: str | None) -> str:
    try:
        parts = urllib.parse.urlsplit(url)
        is_server = parts.scheme in ("http", "https") and bool(parts.netloc)
    except ValueError:  # half an IPv6 address
        is_server = False
    if not is_server:
        raise InputError(f"--check must be a URL, such as http://HOST:8501. Received: {url}.")
    base, found, rest = url.rstrip("/").partition("/v1/models/")
    rest = rest.partition(":")[0]
    if found and rest:
        own = urllib.parse.unquote(rest.partition("/")[0])
        if name not in (None, own):
            raise InputError(f"--check names the model {own}, and --name another: {name}.")
        return f"{base}/v1/models/{rest}"
    if name is None:
        try:
            names = _ask(f"{base}/v1/models").get("models", [])
        except InputError as error:
            raise InputError(f"Give the model's name with --name. {error}") from error
        if len(names) != 1:
            raise InputError(f"Give --name, one of: {', '.join(names)}.")
        [name] = names
    return f"{base}/v1/models/{urllib.parse.quote(str(name))}"


def _images(trained: Trained, files: Sequence[str]) -> tuple[np.ndarray, list[bytes]]:
    """Pixels at the network's size, and the same images encoded."""
    if not files:
        images = images_of(trained, "test", most=IMAGES).test.images
        return images, [_png(image) for image in images]
    shape, resize = file_shape(trained.model, trained.preprocessing)
    interpolation = trained.preprocessing.interpolation
    images = read_images(
        files, shape[:2], channels=shape[2], resize=resize, interpolation=interpolation
    )
    return images, [Path(file).read_bytes() for file in files]


def _png(image: np.ndarray) -> bytes:
    import io

    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(file, "PNG")
    return file.getvalue()


def _compare(
    url: str, signature_name: str, input_name: str, values: list[Any], expected: np.ndarray
) -> Compared:
    rows: list[Any] = []
    for batch in _batches([{input_name: value} for value in values]):
        content = {"signature_name": signature_name, "instances": batch}
        rows += _ask(url, content).get("predictions", [])
    try:
        received = np.array([row["probabilities"] for row in rows], "float64")
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{url} answers without `probabilities` in {signature_name}.") from error
    if received.shape != expected.shape:
        raise InputError(
            f"{signature_name} must answer probabilities of shape {expected.shape}. "
            f"Received: {received.shape}."
        )
    same = received.argmax(axis=1) == expected.argmax(axis=1)
    return Compared(signature_name, float(np.abs(received - expected).max()), float(same.mean()))


def _batches(rows: list[Any]) -> Iterator[list[Any]]:
    """The rows of each request: a few, and of several not too many bytes."""
    batch: list[Any] = []
    size = 0
    for row in rows:
        more = len(json.dumps(row))
        if batch and (len(batch) == BATCH or size + more > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(row)
        size += more
    yield batch


def _ask(url: str, content: Any = None) -> dict[str, Any]:
    body = None if content is None else json.dumps(content).encode()
    try:
        with urllib.request.urlopen(url, body, timeout=_SECONDS) as reply:
            answer = json.load(reply)
    except urllib.error.HTTPError as error:
        with error:
            text = error.read(2000).decode("utf-8", "replace")
        raise InputError(f"{url} answers {error.code}: {text}") from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise InputError(f"{url} cannot be asked: {error}") from error
    if not isinstance(answer, dict):
        raise InputError(f"{url} answers no JSON object.")
    return answer
