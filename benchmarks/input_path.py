"""The cost of augmentation: images per CPU-second, and its share of a training step.

    python benchmarks/input_path.py

Times in turn, on one thread: the layer `RandomCropFlip` on uint8 batches, in a graph and with
XLA; the batch stream that feeds it; both together; and the usual tf.data pipeline (pad, random crop
and flip image by image). The training step is that of WRN-16-4 in bfloat16.
"""

from collections.abc import Callable

from absl import flags
from interleaved import (
    company,
    fit_timed,
    interleave,
    run,
    spread,
    training_model,
    with_range,
    write,
)

from keras_wrn.errors import InputError
from keras_wrn.system import markdown

PEER = "tf.data, image by image"
BOTH = "batch stream and layer, XLA"
STEP = "WRN-16-4 training step"
STEPS = 4  # per timing
AT_ONCE = 10  # batches per call, because a training step has no separate call of the layer


def measure() -> None:
    """Time the ways in turn and print a table."""
    options = flags.FLAGS
    least = (STEPS + 1) * options.batch_size
    if options.images % options.batch_size or options.images < least:
        raise InputError(
            f"--images must be whole batches of {options.batch_size}, {least} at least. "
            f"Received: {options.images}."
        )
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    import numpy as np

    images = np.random.default_rng(0).integers(0, 256, (options.images, 32, 32, 3), dtype=np.uint8)
    variants = layer_runs(images) | {
        "batch stream": stream_run(images),
        BOTH: both_run(images),
        PEER: tf_data_run(images),
        STEP: training_run(images[: (STEPS + 1) * options.batch_size]),  # the first untimed
    }
    counts = dict.fromkeys(variants, len(images)) | {STEP: STEPS * options.batch_size}
    timings = interleave(variants, options.rounds)
    for name, seconds in timings.cpu_seconds.items():
        seconds[:] = [value / counts[name] for value in seconds]  # per image
    rows = []
    for name in variants:
        rates = spread(1 / seconds for seconds in timings.cpu_seconds[name])
        rows.append(
            [
                name,
                with_range(rates, ",.0f"),
                # The peer shuffles, augments and batches; so do both together alone.
                with_range(timings.ratio(name, PEER, "cpu_seconds")) if name == BOTH else "-",
                f"{1 / timings.ratio(name, STEP, 'cpu_seconds')[0]:.2%}",
            ]
        )
    header = ["way", "images per CPU-second", f"against {PEER}", f"share of a {STEP}"]
    print(f"{options.images:,} images, batch {options.batch_size}, n = {options.rounds} rounds\n")
    print(markdown.table(header, rows))
    print(f"\n{company([timings])}")
    write({"cpu_seconds_an_image": timings.cpu_seconds, "others": timings.others})


def layer_runs(images) -> dict[str, Callable[[], object]]:
    """Functions that run the layer over batches in memory, in a graph and compiled."""
    import tensorflow as tf

    from keras_wrn.augment.geometry import RandomCropFlip

    size = flags.FLAGS.batch_size
    batches = [tf.constant(images[i : i + size]) for i in range(0, len(images), size)]
    calls = [batches[i : i + AT_ONCE] for i in range(0, len(batches), AT_ONCE)]
    runs = {}
    for name, compiled in (("layer, graph", False), ("layer, XLA", True)):
        layer = RandomCropFlip(pad=4, seed=1)
        augmented = tf.function(
            lambda some, layer=layer: [layer(batch, training=True) for batch in some],
            jit_compile=compiled,
        )
        runs[name] = lambda augmented=augmented: [augmented(some) for some in calls]
    return runs


def stream_run(images) -> Callable[[], object]:
    """A function that makes the batches of an epoch, as `train` does."""
    stream = batch_stream(images)
    return lambda: [stream[i] for i in range(len(images) // flags.FLAGS.batch_size)]


def batch_stream(images):
    """The stream of `train`."""
    import numpy as np

    from keras_wrn.training.batches import BatchStream
    from keras_wrn.training.recipe import Recipe

    recipe = Recipe(batch_size=flags.FLAGS.batch_size)
    return BatchStream(images, np.zeros(len(images), np.int64), recipe, classes=10)


def both_run(images) -> Callable[[], object]:
    """A function that makes the batches of an epoch and augments them."""
    import tensorflow as tf

    from keras_wrn.augment.geometry import RandomCropFlip

    stream = batch_stream(images)
    layer = RandomCropFlip(pad=4, seed=1)
    augmented = tf.function(lambda batch: layer(batch, training=True), jit_compile=True)
    steps = range(len(images) // flags.FLAGS.batch_size)
    return lambda: [augmented(tf.constant(stream[i][0])) for i in steps]


def tf_data_run(images) -> Callable[[], object]:
    """The usual pipeline: shuffle, pad, crop and flip image by image, batch."""
    import tensorflow as tf

    def augment(image):
        padded = tf.pad(image, [[4, 4], [4, 4], [0, 0]], mode="REFLECT")
        return tf.image.random_flip_left_right(tf.image.random_crop(padded, (32, 32, 3)))

    data = tf.data.Dataset.from_tensor_slices(images).shuffle(len(images)).map(augment)
    data = data.batch(flags.FLAGS.batch_size)
    options = tf.data.Options()
    options.threading.private_threadpool_size = 1
    data = data.with_options(options)
    return lambda: [batch for batch in data]  # noqa: C416


def training_run(images) -> Callable[[], object]:
    """A function that makes training steps of WRN-16-4 without augmentation."""
    import numpy as np

    from keras_wrn.training.batches import InOrder, untuned
    from keras_wrn.training.recipe import Recipe

    size = flags.FLAGS.batch_size
    recipe = Recipe(
        depth=16, width=4, batch_size=size, precision="mixed_bfloat16", pad=0, flip=False
    )
    model = training_model(recipe)
    labels = np.zeros(len(images), np.int64)
    batches = untuned(InOrder(images, labels, size))
    return lambda: fit_timed(model, batches, shuffle=False)


if __name__ == "__main__":
    flags.DEFINE_integer("images", 12_800, "images per timing", lower_bound=1)
    flags.DEFINE_integer("batch_size", 128, "images per batch", lower_bound=1)
    flags.DEFINE_integer("rounds", 5, "timings of each way", lower_bound=1)
    run(measure)
