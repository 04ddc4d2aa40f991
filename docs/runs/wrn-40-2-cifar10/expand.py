r"""Make a run folder that goes on from a small state of WRN-40-2 (DATASET: cifar10, cifar100).

    python docs/runs/wrn-40-2-cifar10/expand.py DATASET runs/wrn-40-2-DATASET
    python recipes/cifar_best.py --workdir runs/wrn-40-2-DATASET --dataset DATASET \
        --depth 40 --width 2 --epochs 90 --size_epochs 20,51 --label_smoothing 0 --cutout 8 \
        --evaluate_every 10 --seed 1

`state-int8.npz` has the weights in 8 bits per output channel and no momentum, which builds up again
within tens of steps. In WRN-16-1 it cost nothing that could be measured.
"""

import argparse
import shutil
from pathlib import Path

import numpy as np

RUNS = Path(__file__).parent.parent


def expanded(small: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays of a run's state.npz."""
    state = {"facts": small["facts"]}
    for number in range(int(small["count"])):
        key = f"v{number:05d}"
        if key in small:
            state[key] = small[key]
        elif f"{key}z" in small:  # the shape of a momentum
            state[key] = np.zeros(small[f"{key}z"], np.float32)
        else:
            state[key] = small[f"{key}q"].astype(np.float32) * small[f"{key}s"]
    return state


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("dataset", choices=["cifar10", "cifar100"])
    parser.add_argument("folder", type=Path, help="a new run folder")
    flags = parser.parse_args()
    if flags.folder.exists():
        parser.error(f"{flags.folder} is there already; name a new run folder")
    flags.folder.mkdir(parents=True)
    source = RUNS / f"wrn-40-2-{flags.dataset}"
    shutil.copy(source / "recipe.json", flags.folder)
    with np.load(source / "state-int8.npz") as file:
        np.savez(flags.folder / "state.npz", **expanded(dict(file)))
