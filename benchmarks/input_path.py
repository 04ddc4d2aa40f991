"""What augmentation costs: images per CPU-second of the layer in the step, and its share of one.

    python benchmarks/input_path.py

`RandomCropFlip` on uint8 batches in a graph and compiled by XLA, and the batch stream that feeds
it, each against the usual pipeline of tf.data (pad, random crop and flip image by image), in turn
on one thread. The share of a training step is that of WRN-16-4 in bfloat16.
"""

from collections.abc import Callable

from absl import flags
from interleaved import company, fit_timed, interleave, run, said, spread, write

from keras_wrn.errors import InputError
from keras_wrn.system import markdown

PEER = "tf.data, image by image"
STEP = "WRN-16-4 training step"
STEPS = 4  # of one timing
AT_ONCE = 10  # batches of one call: inside a training step the layer is not called on its own


def measure() -> None:
    """Time the ways in turn and print a table."""
    options = flags.FLAGS
    if options.images % options.batch_size:
        raise InputError(
            f"--images must be whole batches of {options.batch_size}. Received: {options.images}."
        )
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    import numpy as np

    images = np.random.default_rng(0).integers(0, 256, (options.images, 32, 32, 3), dtype=np.uint8)
    variants = layer_runs(images) | {
        "batch stream": stream_run(images),
        PEER: tf_data_run(images),
        STEP: training_run(images[: (STEPS + 1) * options.batch_size]),  # the first untimed
    }
    counts = dict.fromkeys(variants, len(images)) | {STEP: STEPS * options.batch_size}
    timings = interleave(variants, options.rounds)
    for name, seconds in timings.cpu_seconds.items():
        seconds[:] = [of / counts[name] for of in seconds]  # of one image
    rows = []
    for name in variants:
        middle, least, most = spread(1 / seconds for seconds in timings.cpu_seconds[name])
        rows.append(
            [
                name,
                f"{middle:,.0f} ({least:,.0f} to {most:,.0f})",
                said(timings.ratio(name, PEER, "cpu_seconds")),
                f"{1 / timings.ratio(name, STEP, 'cpu_seconds')[0]:.2%}",
            ]
        )
    header = ["way", "images per CPU-second", f"against {PEER}", f"share of a {STEP}"]
    print(f"{options.images:,} images, batch {options.batch_size}, n = {options.rounds} rounds\n")
    print(markdown.table(header, rows))
    print(f"\n{company([timings])}")
    write({"cpu_seconds_an_image": timings.cpu_seconds, "others": timings.others})


def layer_runs(images) -> dict[str, Callable[[], object]]:
    """The layer over resident batches, in a graph and compiled."""
    import tensorflow as tf

    from keras_wrn.augment.geometry import RandomCropFlip

    size = flags.FLAGS.batch_size
    batches = [tf.constant(images[i : i + size]) for i in range(0, len(images), size)]
    calls = [batches[i : i + AT_ONCE] for i in range(0, len(batches), AT_ONCE)]
    runs = {}
    for name, compiled in (("layer, graph", False), ("layer, XLA", True)):
        layer = RandomCropFlip(pad=4, seed=1)
        augmented = tf.function(
            lambda some, of=layer: [of(batch, training=True) for batch in some],
            jit_compile=compiled,
        )
        runs[name] = lambda of=augmented: [of(some) for some in calls]
    return runs


def stream_run(images) -> Callable[[], object]:
    """The batches of an epoch, as `train` gets them."""
    import numpy as np

    from keras_wrn.training.batches import BatchStream
    from keras_wrn.training.recipe import Recipe

    recipe = Recipe(batch_size=flags.FLAGS.batch_size)
    stream = BatchStream(images, np.zeros(len(images), np.int64), recipe, classes=10)
    return lambda: [stream[i] for i in range(len(images) // recipe.batch_size)]


def tf_data_run(images) -> Callable[[], object]:
    """What most programs do: shuffle, pad, crop and flip one by one, batch."""
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
    """Training steps of WRN-16-4 without augmentation."""
    import numpy as np

    from keras_wrn.images.preprocessing import preprocessing_of
    from keras_wrn.training.batches import InOrder, untuned
    from keras_wrn.training.model import build
    from keras_wrn.training.recipe import Recipe

    size = flags.FLAGS.batch_size
    recipe = Recipe(
        depth=16, width=4, batch_size=size, precision="mixed_bfloat16", pad=0, flip=False
    )
    model = build(recipe, preprocessing_of("cifar10"), (32, 32, 3), 10).model
    labels = np.zeros(len(images), np.int64)
    batches = untuned(InOrder(images, labels, size))
    return lambda: fit_timed(model, batches, shuffle=False)


if __name__ == "__main__":
    flags.DEFINE_integer("images", 12_800, "images of one timing", lower_bound=1)
    flags.DEFINE_integer("batch_size", 128, "images a batch", lower_bound=1)
    flags.DEFINE_integer("rounds", 5, "timings of each", lower_bound=1)
    run(measure)
