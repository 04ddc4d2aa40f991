"""The training step on a GPU: Keras on JAX against PyTorch, as shares of the matrix peak.

    KERAS_BACKEND=jax python benchmarks/gpu.py --networks 28-10,40-2,16-4 --json gpu.json
    KERAS_BACKEND=jax python benchmarks/gpu.py --networks 10-1 --batch_size 8 --rounds 2 --side 256

The second line is the rehearsal on a CPU. Ours is `train`'s model in bfloat16, twice: the data set
on the device and many steps in one dispatch (a step takes its batch by index, crops, flips and
normalises it there), and `model.fit` with steps_per_execution over images in the computer's
memory. PyTorch's is the same network of its own, channels last, bfloat16 autocast, fused SGD, on
one ready batch: compiled, and compiled with max-autotune, which replays CUDA graphs. The peak is a
matrix product in bfloat16 of the same framework in the same run. Needs no TensorFlow.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

from absl import flags
from interleaved import Timings, interleave, markdown, parse_network, run, said, write

from keras_wrn.errors import InputError

OURS, FIT = "Keras on JAX", "model.fit"
TORCH = {"PyTorch, compiled": "default", "PyTorch, max-autotune": "max-autotune"}
MATRIX = "matrix product, JAX"
DATA = 50_000  # images on the device, as many as CIFAR has


def measure(arguments: list[str]) -> None:
    """Measure each network and print a table."""
    del arguments
    options = flags.FLAGS
    networks = {name: parse_network(name) for name in options.networks}
    import jax
    import keras

    if keras.config.backend() != "jax":
        raise InputError(
            "This benchmark runs with KERAS_BACKEND=jax. "
            f"Received: KERAS_BACKEND={keras.config.backend()}."
        )
    from keras_wrn.cost import FLOP_OF_TRAINING, multiply_adds
    from keras_wrn.wide_resnet import WideResNet

    rows, facts = [], []
    for network, (depth, width) in networks.items():
        variants = {**jax_runs(depth, width), MATRIX: matrix_run(), **torch_runs(depth, width)}
        timings = interleave(variants, options.rounds, warm_ups=2)
        count = options.batch_size * options.steps
        flop = FLOP_OF_TRAINING * multiply_adds(WideResNet(depth, width)) * count
        best = timings.fastest(TORCH)
        speeds = sorted(count / seconds for seconds in timings.seconds[OURS])
        rows.append(
            [
                f"WRN-{network}",
                f"{speeds[len(speeds) // 2]:,.0f} ({speeds[0]:,.0f} to {speeds[-1]:,.0f})",
                f"{_share(timings, flop):.0%}",
                said(timings.ratio(FIT, OURS)),
                said(timings.ratio(OURS, best)) if best else "not measured",
                best or "",
            ]
        )
        facts.append({"network": network, "flop": flop, **dataclasses.asdict(timings)})
        print(f"WRN-{network}: {rows[-1]}", flush=True)
    device = jax.devices()[0].device_kind
    print(f"\n{device}, batch {options.batch_size}, n = {options.rounds} rounds\n")
    header = ["network", "images per second", "share of the matrix product's rate"]
    header += ["model.fit's rate over it", "against PyTorch", "its fastest"]
    print(markdown(header, rows))
    write({"device": device, "rows": facts})


def jax_runs(depth: int, width: int) -> dict[str, Callable[[], object]]:
    """So many steps of `train`'s model in one call, and as many by `model.fit`."""
    import jax
    import numpy as np
    from jax import numpy as jnp

    from keras_wrn import trainer
    from keras_wrn.preprocessing import preprocessing_of
    from keras_wrn.recipe import Recipe

    options = flags.FLAGS
    recipe = Recipe(
        depth=depth, width=width, precision="mixed_bfloat16", batch_size=options.batch_size
    )
    shape = (options.steps, options.batch_size)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (options.data, 32, 32, 3), dtype=np.uint8)
    classes = rng.integers(0, 10, options.data)
    resident = jnp.asarray(pixels), jnp.asarray(classes)
    order = jnp.asarray(rng.integers(0, options.data, shape))

    def built() -> Any:
        return trainer.build(recipe, preprocessing_of("cifar10"), (32, 32, 3), options.steps).model

    model, fitted = built(), built()
    model._symbolic_build(data_batch=tuple(part[: options.batch_size] for part in resident))
    kept = {"state": model._get_jax_state(True, True, True, True)}

    # The data set is an argument: a constant would become part of the program.
    @partial(jax.jit, donate_argnums=0)
    def steps(state: Any, chosen: Any, images: Any, labels: Any) -> Any:
        def step(state: Any, of: Any) -> Any:
            return model.train_step(state, (images[of], labels[of]))[1], None

        return jax.lax.scan(step, state, chosen)[0]

    def ours() -> None:
        kept["state"] = steps(kept["state"], order, *resident)
        jax.block_until_ready(kept["state"])

    fitted.compile(
        fitted.optimizer, fitted.loss, jit_compile="auto", steps_per_execution=options.steps
    )
    count = shape[0] * shape[1]
    some = np.resize(pixels, (count, 32, 32, 3)), np.resize(classes, count)

    def fit() -> None:
        fitted.fit(*some, batch_size=options.batch_size, verbose=0)

    return {OURS: ours, FIT: fit}


def matrix_run() -> Callable[[], object]:
    """Products of two square matrices in bfloat16, so many that a call takes its time."""
    import jax
    from jax import numpy as jnp

    side, repeats = flags.FLAGS.side, flags.FLAGS.products
    matrix = jax.random.normal(jax.random.key(0), (side, side), jnp.bfloat16) / side**0.5

    @jax.jit
    def products(x: Any) -> Any:
        return jax.lax.fori_loop(0, repeats, lambda _, y: y @ matrix, x)

    return lambda: jax.block_until_ready(products(matrix))


def torch_runs(depth: int, width: int) -> dict[str, Callable[[], object]]:
    """So many steps of PyTorch's network; none where PyTorch is not installed."""
    try:
        import torch
        import torch_peer
    except ModuleNotFoundError:
        print("PyTorch is not installed: pip install torch")
        return {}
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cudnn.benchmark = True
    return {
        name: torch_peer.training_run(
            depth,
            width,
            flags.FLAGS.batch_size,
            flags.FLAGS.steps,
            bfloat16=True,
            channels_last=True,
            device=device,
            compiled=flags.FLAGS.compile,
            mode=mode,
        )
        for name, mode in TORCH.items()
        if flags.FLAGS.compile or mode == "default"
    }


def _share(timings: Timings, flop: int) -> float:
    """Our rate over the matrix product's, the median over the rounds."""
    product = 2 * flags.FLAGS.side**3 * flags.FLAGS.products
    return timings.ratio(OURS, MATRIX)[0] * flop / product


if __name__ == "__main__":
    flags.DEFINE_list("networks", ["28-10", "40-2", "40-1", "16-4"], "depths and widths")
    flags.DEFINE_integer("batch_size", 512, "images a step")
    flags.DEFINE_integer("steps", 20, "steps of one dispatch and timing")
    flags.DEFINE_integer("rounds", 7, "timings of each")
    flags.DEFINE_integer("data", DATA, "images on the device")
    flags.DEFINE_integer("side", 8192, "of the matrix product")
    flags.DEFINE_integer("products", 10, "matrix products of one timing")
    flags.DEFINE_bool("compile", True, "compile PyTorch's network")
    run(measure)
