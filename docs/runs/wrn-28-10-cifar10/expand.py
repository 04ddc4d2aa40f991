"""Make a run folder that goes on from the small state beside this file.

    python docs/runs/wrn-28-10-cifar10/expand.py runs/wrn-28-10-cifar10
    python recipes/cifar_best.py --workdir runs/wrn-28-10-cifar10 \
        --depth 28 --width 10 --epochs 60 --size_epochs 13,34 --label_smoothing 0 --cutout 8 \
        --evaluate_every 10 --seed 1

`state-int8.npz` has the weights in 8 bits per output channel and no momentum, which builds up again
within tens of steps. In WRN-16-1 it cost nothing that could be measured.
"""

import shutil
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent


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
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True)
    shutil.copy(HERE / "recipe.json", folder)
    with np.load(HERE / "state-int8.npz") as file:
        np.savez(folder / "state.npz", **expanded(dict(file)))
