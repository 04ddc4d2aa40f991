"""Batches for `model.fit` on TensorFlow, read without the thread that tunes tf.data.

Where `fit` makes its own tf.data pipeline, this thread adjusts it at growing intervals, and the end
of `fit` waits for it. TensorFlow wakes it before it marks the pipeline as cancelled (2.21), so that
on a machine or container with one processor, where the woken thread runs first, it goes back to
sleep: for as long as the pipeline has run until then, a minute at most. Nothing in these pipelines
is there to be tuned.
"""

import itertools
from collections.abc import Iterator
from typing import Any

import keras

_AHEAD = 2  # batches that are made while a step runs


def untuned(stream: Any) -> Any:
    """The batches of a stream, on TensorFlow as a tf.data.Dataset that is not tuned.

    Args:
        stream: a `keras.utils.PyDataset` of (inputs, targets), NumPy arrays whose shapes differ
            in the first dimension alone, with or without end; anything else is handed back.
    """
    if not isinstance(stream, keras.utils.PyDataset) or keras.config.backend() != "tensorflow":
        return stream
    import tensorflow as tf

    count = stream.num_batches

    def batches() -> Iterator[Any]:
        return (stream[i] for i in (itertools.count() if count is None else range(count)))

    signature = tuple(tf.TensorSpec((None, *part.shape[1:]), part.dtype) for part in stream[0])
    options = tf.data.Options()
    options.autotune.enabled = False
    data = tf.data.Dataset.from_generator(batches, output_signature=signature)
    if count is not None:
        data = data.apply(tf.data.experimental.assert_cardinality(count))
    return data.prefetch(_AHEAD).with_options(options)
