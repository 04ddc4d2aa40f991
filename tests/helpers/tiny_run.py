"""A run folder as training leaves it, made in a second: a WRN-10-1 with random weights."""

import json
from pathlib import Path

import numpy as np
from quick_weights import give_random_weights, zeros_to_start_with

import keras_wrn
from keras_wrn.images.preprocessing import PREPROCESSING, Preprocessing
from keras_wrn.system.files import sha256

DIGITS = PREPROCESSING["digits"]


def write_run(folder: Path, preprocessing: Preprocessing = DIGITS) -> Path:
    """Make the folder and write card.json, recipe.json, history.csv and model.weights.h5."""
    classes = len(preprocessing.class_names)
    with zeros_to_start_with():
        model = keras_wrn.WideResNet(10, 1, classes=classes, classifier_activation=None)
    give_random_weights(model)
    folder.mkdir(parents=True)
    weights = folder / "model.weights.h5"
    model.save_weights(weights)
    card = {
        "format": 1,
        "name": "WRN-10-1",
        "network": {
            "builder": "WideResNet",
            "depth": 10,
            "width": 1,
            "block": "B(3,3)",
            "dropout": 0.0,
            "blocks_per_group": None,
            "stochastic_depth": 0.0,
            "classes": classes,
            "input_shape": [32, 32, 3],
        },
        "dataset": "digits",
        "preprocessing": {
            "mean": list(preprocessing.mean),
            "std": list(preprocessing.std),
            "size": preprocessing.size,
            "class_names": list(preprocessing.class_names),
        },
        "metrics": {"n": 360, "error": 0.9},
        "weights_sha256": sha256(weights),
    }
    (folder / "card.json").write_text(json.dumps(card))
    (folder / "recipe.json").write_text("{}")
    write_history(folder / "history.csv", epochs=20)
    return folder


def change_card(folder: Path, **changes: object) -> None:
    """Replace entries of a card; None removes one."""
    card = json.loads((folder / "card.json").read_text()) | changes
    kept = {key: value for key, value in card.items() if value is not None}
    (folder / "card.json").write_text(json.dumps(kept))


def write_history(path: Path, epochs: int, every: int = 1) -> Path:
    """Write curves of the usual shape: two drops of the rate; test figures each `every` epochs."""
    columns = "epoch,step,loss,error,val_loss,val_error,learning_rate,images_per_second,seconds"
    lines = [columns]
    for epoch in range(1, epochs + 1):
        drops = (epoch > 0.4 * epochs) + (epoch > 0.8 * epochs)
        error = 0.5 * 0.4**drops * (0.5 + 0.5 / epoch)
        test = f"{2 * error + 0.2:.4f},{error + 0.05:.4f}" if epoch % every == 0 else ","
        rate = 0.1 * 0.2**drops
        lines.append(f"{epoch},{epoch * 390},{2 * error:.4f},{error:.4f},{test},{rate:.5g},900,55")
    path.write_text("\n".join(lines) + "\n")
    return path


def random_images(n: int, size: int = 32, seed: int = 0) -> np.ndarray:
    """uint8 images (n, size, size, 3) of noise."""
    return np.random.default_rng(seed).integers(0, 256, (n, size, size, 3), np.uint8)
