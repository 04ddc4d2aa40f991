"""Make torch_sgd.npz: twenty steps of torch.optim.SGD across a drop of the learning rate.

    pip install torch==2.13.0
    python tests/golden/make_torch_sgd.py

A dense layer with a bias and a scale, float64, with gradients that are given, not computed, so
that nothing but the optimiser is compared. Cases: Nesterov or not, with the optimiser made anew
at the drop (as the authors' code does) or kept.
"""

from pathlib import Path

import numpy as np
import torch

STEPS, DROP_AT = 20, 10
RATES = (0.1, 0.02)
MOMENTUM, WEIGHT_DECAY = 0.9, 5e-4
SHAPES = {"kernel": (4, 3), "bias": (3,), "gamma": (4,)}


def run(start, gradients, *, nesterov, reset):
    """Return the variables after every step: {name: (STEPS, ...)}."""
    variables = {name: torch.tensor(value, requires_grad=True) for name, value in start.items()}

    def make(rate):
        return torch.optim.SGD(
            variables.values(),
            lr=rate,
            momentum=MOMENTUM,
            nesterov=nesterov,
            weight_decay=WEIGHT_DECAY,
        )

    optimizer = make(RATES[0])
    path = {name: [] for name in start}
    for step in range(STEPS):
        if step == DROP_AT and reset:
            optimizer = make(RATES[1])
        elif step == DROP_AT:
            optimizer.param_groups[0]["lr"] = RATES[1]
        for name, variable in variables.items():
            variable.grad = torch.tensor(gradients[name][step])
        optimizer.step()
        for name, variable in variables.items():
            path[name].append(variable.detach().numpy().copy())
    return {name: np.stack(values) for name, values in path.items()}


def main():
    """Write the file beside this script."""
    rng = np.random.default_rng(5)
    start = {name: rng.normal(size=shape) for name, shape in SHAPES.items()}
    gradients = {name: rng.normal(size=(STEPS, *shape)) for name, shape in SHAPES.items()}
    arrays = {f"start_{name}": value for name, value in start.items()}
    arrays |= {f"gradient_{name}": value for name, value in gradients.items()}
    for nesterov in (True, False):
        for reset in (True, False):
            for name, values in run(start, gradients, nesterov=nesterov, reset=reset).items():
                arrays[f"nesterov{nesterov:d}_reset{reset:d}_{name}"] = values
    np.savez_compressed(Path(__file__).with_name("torch_sgd.npz"), **arrays)


if __name__ == "__main__":
    main()
