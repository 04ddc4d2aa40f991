"""Teach a trained Wide ResNet new classes: first its classifier alone, then all of it.

    python examples/fine_tune.py FOLDER [--save MODEL.keras]

FOLDER has a sub-folder of images per class, with or without train/ and test/ above them. The body
is a published network of CIFAR-10, WRN-16-4 unless --network names another. Batch normalisation
stays as it was trained, also in the second part: the batches of a small folder would make bad
statistics. (Calling the body with training=False does not do that: in Keras 3, `fit` overrides it.)
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np

import keras_wrn
from keras_wrn.cli.program import status_of
from keras_wrn.images.preprocessing import preprocessing_of
from keras_wrn.optimizers import TorchSGD

BATCH = 16
HEAD_RATE, BODY_RATE = 0.3, 0.01  # learning rates of the two parts
DECAY = 5e-4  # the paper's weight decay, coupled


def build(body: keras.Model, classes: int) -> keras.Model:
    """Put a new classifier on a body that returns pooled features; the body is frozen."""
    body.trainable = False
    images = keras.Input(body.input_shape[1:])
    outputs = keras.layers.Dense(classes, activation="softmax", name="new_classes")(body(images))
    return keras.Model(images, outputs, name="fine_tuned")


def fine_tune(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    epochs: tuple[int, int] = (10, 5),
    rates: tuple[float, float] = (HEAD_RATE, BODY_RATE),
) -> list[float]:
    """Train the classifier, then everything but batch normalisation.

    Args:
        model: of `build`.
        images: normalised, float32.
        labels: integers, (n,).
        epochs: of the classifier alone, and of all.
        rates: learning rates of the two parts, each falling to 0 by a cosine.

    Returns:
        The training loss after each epoch.
    """
    losses: list[float] = []
    steps = -(-len(images) // BATCH)
    for count, rate, whole in zip(epochs, rates, (False, True), strict=True):
        body = model.layers[1]
        body.trainable = whole
        for layer in body.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.trainable = False  # and so it uses its moving statistics
        falling = keras.optimizers.schedules.CosineDecay(rate, max(1, count * steps))
        # The first steps of the whole network can be far too large.
        optimizer = TorchSGD(falling, weight_decay=DECAY, global_clipnorm=1.0)
        model.compile(optimizer, "sparse_categorical_crossentropy")
        history = model.fit(images, labels, batch_size=BATCH, epochs=count, verbose=0)
        losses += history.history.get("loss", [])
    return losses


def main(arguments: argparse.Namespace) -> str:
    """Fine-tune on a folder; return the errors on its test images."""
    if arguments.save and Path(arguments.save).suffix != ".keras":
        raise keras_wrn.InputError(f"--save must end in .keras. Received: {arguments.save}.")
    data = keras_wrn.datasets.load(arguments.folder, size=32)
    (images, labels), test = data.train, data.test
    build_body = {
        "16-1": keras_wrn.WideResNet16_1,
        "16-2": keras_wrn.WideResNet16_2,
        "16-4": keras_wrn.WideResNet16_4,
    }[arguments.network]
    body = build_body(weights="cifar10", include_top=False, pooling="avg", input_shape=(32, 32, 3))
    model = build(body, len(data.class_names))
    x = keras_wrn.preprocess_input(images, "cifar10")
    fine_tune(model, x, labels, (arguments.head_epochs, arguments.epochs))
    statistics = replace(preprocessing_of("cifar10"), class_names=data.class_names)
    found = keras_wrn.evaluate(model, *test, statistics)
    if arguments.save:
        # Without the optimiser, which is twice as large, and keras_wrn's.
        keras.Model(model.inputs, model.outputs, name=model.name).save(arguments.save)
    return f"{data.name}: {found['error']:.2%} of {found['n']} test images are wrong"


def parse(words: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Teach a Wide ResNet the classes of a folder.")
    parser.add_argument("folder", help="folder with a sub-folder of images per class")
    parser.add_argument("--network", default="16-4", choices=("16-1", "16-2", "16-4"))
    parser.add_argument("--head_epochs", type=int, default=10, help="of the classifier alone (10)")
    parser.add_argument("--epochs", type=int, default=5, help="of all layers (5)")
    parser.add_argument("--save", help="the .keras file to write")
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(status_of(lambda: main(parse(sys.argv[1:])), sys.argv[0]))
