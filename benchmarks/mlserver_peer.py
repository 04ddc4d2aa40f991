"""A SavedModel in MLServer, the peer of benchmarks/serving.py; runs in MLServer's environment."""

import asyncio

import tensorflow as tf
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class SavedModel(MLModel):
    """The signature `serving_default`: uint8 images in, all outputs out."""

    async def load(self) -> bool:
        """Load the version in the folder of the settings."""
        self._loaded = tf.saved_model.load(self.settings.parameters.uri)
        self._run = self._loaded.signatures["serving_default"]
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer a request of the V2 protocol."""
        images = NumpyCodec.decode_input(payload.inputs[0])
        outputs = await asyncio.to_thread(lambda: self._run(images=tf.constant(images)))
        encoded = [NumpyCodec.encode_output(name, v.numpy()) for name, v in outputs.items()]
        return InferenceResponse(model_name=self.name, outputs=encoded)
