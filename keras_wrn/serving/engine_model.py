"""A model run by OpenVINO, ONNX Runtime or LiteRT, with the signatures of its SavedModel."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np

from keras_wrn.deploy.checking import open_engine
from keras_wrn.deploy.serving_files import ENGINES, LABELS_FILE, engine_files
from keras_wrn.errors import InputError
from keras_wrn.images.pillow_reader import read_image
from keras_wrn.serving.servable import IMAGE_INPUT, first_line
from keras_wrn.serving.signature import DEFAULT_SIGNATURE, Signature, TensorInfo
from keras_wrn.system.files import read_json

TOP = 5
_LEAST = 1e-30  # of a probability whose logarithm is taken


def loader(engine: str) -> Callable[[Path], EngineModel]:
    """Return what loads a version's folder for an engine; raises InputError for an unknown one."""
    if engine not in ENGINES:
        raise InputError(f"--engine must be one of {', '.join(ENGINES)}. Received: {engine}.")
    return lambda folder: EngineModel(folder, engine)


class EngineModel:
    """A `Servable` of the file that `keras-wrn export --engine` wrote beside a SavedModel.

    Image files are read with Pillow, as `keras_wrn.predict` reads them. There is no signature
    "features".

    Args:
        folder: of the version.
        engine: a key of `serving_files.ENGINES`.
    """

    def __init__(self, folder: Path, engine: str) -> None:
        file, about = engine_files(folder, engine)
        if not (file.is_file() and about.is_file()):
            raise InputError(
                f"{folder} has no file for {engine}: export it again with --engine {engine}."
            )
        self._facts = read_json(about)
        self._labels = np.array((folder / LABELS_FILE).read_bytes().splitlines(), object)
        try:
            self._ask = open_engine(file, ENGINES[engine][0])
        except Exception as error:  # each engine has its own exceptions
            raise InputError(f"{file} cannot be loaded: {first_line(error)}") from error
        shape, classes = tuple(self._facts["shape"]), len(self._labels)
        top = min(TOP, classes)

        def rows(dtype: str, *sizes: int) -> TensorInfo:
            return TensorInfo("", dtype, (None, *sizes))

        common = {"probabilities": rows("DT_FLOAT", classes), "logits": rows("DT_FLOAT", classes)}
        self.signatures = {
            DEFAULT_SIGNATURE: Signature(
                {"images": rows("DT_UINT8", *shape)}, {**common, "class_index": rows("DT_INT64")}
            ),
            "serving_bytes": Signature(
                {IMAGE_INPUT: rows("DT_STRING")},
                {
                    **common,
                    "valid": rows("DT_INT32"),
                    "top5_scores": rows("DT_FLOAT", top),
                    "top5_classes": rows("DT_INT64", top),
                    "top5_labels": rows("DT_STRING", top),
                },
            ),
        }

    def run(self, signature_name: str, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Compute the outputs of a signature; see `Servable`. `logits` are of unit temperature."""
        if signature_name == DEFAULT_SIGNATURE:
            answers = self._classify(arrays["images"])
            return {**answers, "class_index": answers["probabilities"].argmax(axis=1)}
        files = arrays[IMAGE_INPUT]
        images = np.zeros((len(files), *self._facts["shape"]), np.uint8)
        valid = np.ones(len(files), np.int32)
        for i, file in enumerate(files):
            try:
                images[i] = self._read(file)
            except InputError:
                valid[i] = 0
        answers = self._classify(images)
        answers["probabilities"][valid == 0] = 1 / len(self._labels)
        answers["logits"][valid == 0] = 0
        best = np.argsort(-answers["probabilities"], axis=1, kind="stable")[:, :TOP]
        return {
            **answers,
            "valid": valid,
            "top5_scores": np.take_along_axis(answers["probabilities"], best, axis=1),
            "top5_classes": best,
            "top5_labels": self._labels[best],
        }

    def _read(self, file: bytes) -> np.ndarray:
        *sides, channels = self._facts["shape"]
        how = self._facts["resize"], self._facts["interpolation"]
        return read_image(io.BytesIO(file), (sides[0], sides[1]), channels, *how)

    def _classify(self, images: np.ndarray) -> dict[str, np.ndarray]:
        if not len(images):
            nothing = np.zeros((0, len(self._labels)), np.float32)
            return {"probabilities": nothing, "logits": nothing}
        logits = np.log(np.maximum(self._ask(images), _LEAST))
        powers = np.exp(logits / self._facts["temperature"])
        return {"probabilities": powers / powers.sum(axis=1, keepdims=True), "logits": logits}
