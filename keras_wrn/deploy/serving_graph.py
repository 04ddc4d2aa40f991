"""The graph of an exported SavedModel: three signatures from pixels, or files, to answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from keras_wrn.deploy.checking import in_float32
from keras_wrn.deploy.exported_scores import ExportedScores
from keras_wrn.errors import InputError
from keras_wrn.images.graph_decoder import decode_if_valid
from keras_wrn.images.preprocessing import Preprocessing, normalization
from keras_wrn.images.tensorflow_reader import middle_resized
from keras_wrn.inference.classifier import file_shape
from keras_wrn.insight.features import features
from keras_wrn.insight.outputs import open_reader

if TYPE_CHECKING:
    import keras

MAPS = ("group2", "group3")
TOP = 5
# TensorFlow's batcher: requests that come within 2 ms meet in a batch of at most 32 images; a
# request of more images is split.
BATCH, TIMEOUT_MICROSECONDS, BATCH_THREADS = 32, 2000, 2
MOST_IMAGES = 32_000  # of a request, and of all that wait
# Pixels, uint8 (n, height, width, channels) -> outputs by name, each of n rows.
Answer = Callable[[Any], dict[str, Any]]


def archive_of(
    model: keras.Model,
    preprocessing: Preprocessing,
    labels: list[str],
    *,
    temperature: float = 1.0,
    batching: bool = False,
    feature_maps: bool = False,
    scores: ExportedScores | None = None,
) -> keras.export.ExportArchive:
    """Make the archive that `saved_model.export` writes; its arguments are described there.

    Raises:
        InputError: the model has another end than a linear layer with or without a softmax, or
            feature maps are asked of a network that has none of this name.
    """
    import keras
    import tensorflow as tf

    model = in_float32(model)
    shape, resize = file_shape(model, preprocessing)
    archive = keras.export.ExportArchive()
    reader = open_reader(model, preprocessing)
    if feature_maps and len(reader.heads) > 1:
        raise InputError("Feature maps are of one network. Received: an ensemble.")

    def network(inner: keras.Model) -> keras.Model:
        pixels = keras.Input(shape, dtype="uint8", name="images")
        full = keras.Model(pixels, inner(normalization(preprocessing)(pixels)))
        archive.track(full)
        return full

    heads = [(tf.constant(head.kernel), tf.constant(head.bias)) for head in reader.heads]
    pooled = network(reader.features)

    def answers_of(features_of_members: list[Any]) -> dict[str, Any]:
        found = _answers(features_of_members, heads, temperature)
        return found | (scores.in_graph(found["logits"], found["features"]) if scores else {})

    def classify(images: Any) -> dict[str, Any]:
        return answers_of(tf.nest.flatten(pooled(images, training=False)))

    answer: Answer = classify
    describe: Answer = classify
    if feature_maps:
        maps = network(features(model, [*MAPS, "pooled"]))

        def with_maps(images: Any) -> dict[str, Any]:
            found = maps(images, training=False)
            return answers_of([found.pop("pooled")]) | found

        describe = with_maps
    if batching:
        answer, describe = _batched(answer, shape), _batched(describe, shape)

    def serving_default(images: Any) -> dict[str, Any]:
        answers = _any_count(answer, images)
        del answers["features"]
        best = tf.argmax(answers["probabilities"], axis=-1, output_type=tf.int64)
        return {**answers, "class_index": best}

    def feature_signature(images: Any) -> dict[str, Any]:
        return _any_count(describe, images)

    def read(encoded: Any) -> tuple[Any, Any]:
        image, valid = decode_if_valid(encoded, shape[2])
        kind = preprocessing.interpolation
        return middle_resized(image, shape, resize=resize, interpolation=kind), valid

    def serving_bytes(image_bytes: Any) -> dict[str, Any]:
        pixels = (tf.TensorSpec(shape, tf.uint8), tf.TensorSpec((), tf.int32))
        images, valid = tf.map_fn(read, image_bytes, fn_output_signature=pixels)
        answers, known = _any_count(answer, images), valid[:, None] > 0
        probabilities = tf.where(known, answers["probabilities"], 1 / len(labels))
        names = tf.constant([label.encode("utf-8", "surrogateescape") for label in labels])
        best, indices = tf.math.top_k(probabilities, k=min(TOP, len(labels)))
        marked = {} if scores is None else _unknown_where_damaged(answers, valid)
        return {
            **marked,
            "probabilities": probabilities,
            "logits": tf.where(known, answers["logits"], 0.0),
            "valid": valid,
            "top5_scores": best,
            "top5_classes": tf.cast(indices, tf.int64),
            "top5_labels": tf.gather(names, indices),
        }

    images = tf.TensorSpec((None, *shape), tf.uint8, name="images")
    encoded = tf.TensorSpec((None,), tf.string, name="image_bytes")
    archive.add_endpoint("serving_default", serving_default, input_signature=[images])
    archive.add_endpoint("serving_bytes", serving_bytes, input_signature=[encoded])
    archive.add_endpoint("features", feature_signature, input_signature=[images])
    return archive


def _answers(pooled: list[Any], heads: list[tuple[Any, Any]], temperature: float) -> dict[str, Any]:
    """Logits and probabilities of a network, or of an ensemble, and its pooled features."""
    import tensorflow as tf

    each = [tf.matmul(values, kernel) + bias for values, (kernel, bias) in zip(pooled, heads)]
    logits = each[0]
    if len(each) > 1:  # as `ensembles.combine_logits`
        energies = [tf.reduce_logsumexp(values, -1, keepdims=True) for values in each]
        shares = tf.stack([values - energy for values, energy in zip(each, energies)])
        logits = tf.reduce_logsumexp(shares, 0) - tf.math.log(float(len(each)))
        logits += tf.add_n(energies) / len(each)
    scale = tf.constant(temperature, tf.float32, name="temperature")
    return {
        "probabilities": tf.nn.softmax(logits / scale),
        "logits": logits,
        "features": tf.concat(pooled, axis=1),
    }


def _unknown_where_damaged(answers: dict[str, Any], valid: Any) -> dict[str, Any]:
    """The scores of files, of which a damaged one is not known."""
    return {"scores": answers["scores"], "is_known": answers["is_known"] * valid[:, None]}


def _any_count(answer: Answer, images: Any) -> dict[str, Any]:
    """Answer for any number of images, 0 too."""
    import tensorflow as tf

    count = tf.shape(images)[0]
    return {name: rows[:count] for name, rows in answer(with_one_image(images)).items()}


def with_one_image(images: Any) -> Any:
    """Add an image to a batch of none, on which TensorFlow's fused kernels fail.

    Args:
        images: a tensor (n, height, width, channels) of the graph.
    """
    import tensorflow as tf

    missing = tf.cast(tf.equal(tf.shape(images)[0], 0), tf.int32)
    return tf.pad(images, [[0, missing], [0, 0], [0, 0], [0, 0]])


def _batched(answer: Answer, shape: tuple[int, int, int]) -> Answer:
    """The same answers, computed for the images of several requests at once."""
    import tensorflow as tf

    shapes: dict[str, Any] = {}

    @tf.nondifferentiable_batch_function(
        num_batch_threads=BATCH_THREADS,
        max_batch_size=MOST_IMAGES,
        batch_timeout_micros=TIMEOUT_MICROSECONDS,
        allowed_batch_sizes=list(range(1, BATCH + 1)),
        max_enqueued_batches=MOST_IMAGES // BATCH,
    )
    def compute(images: Any) -> list[Any]:
        outputs = answer(tf.ensure_shape(images, (None, *shape)))
        shapes.update({name: rows.shape for name, rows in outputs.items()})
        return list(outputs.values())

    def call(images: Any) -> dict[str, Any]:
        rows = compute(images)
        return {name: tf.ensure_shape(row, shapes[name]) for name, row in zip(shapes, rows)}

    return call
