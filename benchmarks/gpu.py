"""The training step on a GPU: Keras on JAX against PyTorch, as shares of the matrix peak.

    KERAS_BACKEND=jax python benchmarks/gpu.py --networks 28-10,40-2,16-4 --json gpu.json
    KERAS_BACKEND=jax python benchmarks/gpu.py --networks 10-1 --batch_size 8 --rounds 2 --side 256

The second line is the rehearsal on a CPU. Ours is `train`'s model in bfloat16: the data set lies
on the device, a step takes its batch by index, crops, flips and normalises it there, and many
steps are one dispatch. PyTorch's is the same network of its own, channels last, compiled, bfloat16
autocast, on one ready batch, as fast as it comes. The peak is a matrix product in bfloat16 of the
same framework in the same run. Needs no TensorFlow.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

from absl import app, flags
from interleaved import Timings, interleave, markdown, said, write

OURS, TORCH = "Keras on JAX", "PyTorch, compiled"
MATRIX = "matrix product, JAX"
DATA = 50_000  # images on the device, as many as CIFAR has


def main(argv: list[str]) -> None:
    """Measure each network and print a table."""
    del argv
    options = flags.FLAGS
    import jax

    from keras_wrn.cost import FLOP_OF_TRAINING, multiply_adds
    from keras_wrn.wide_resnet import WideResNet

    rows, facts = [], []
    for network in options.networks:
        depth, width = map(int, network.split("-"))
        variants = {OURS: jax_run(depth, width), MATRIX: matrix_run()}
        peer = torch_run(depth, width)
        if peer is not None:
            variants[TORCH] = peer
        timings = interleave(variants, options.rounds, warm_ups=2)
        count = options.batch_size * options.steps
        flop = FLOP_OF_TRAINING * multiply_adds(WideResNet(depth, width)) * count
        speeds = sorted(count / seconds for seconds in timings.seconds[OURS])
        rows.append(
            [
                f"WRN-{network}",
                f"{speeds[len(speeds) // 2]:,.0f} ({speeds[0]:,.0f} to {speeds[-1]:,.0f})",
                f"{_share(timings, flop):.0%}",
                said(timings.ratio(OURS, TORCH)) if peer else "not measured",
            ]
        )
        facts.append({"network": network, "flop": flop, **dataclasses.asdict(timings)})
        print(f"WRN-{network}: {rows[-1]}", flush=True)
    device = jax.devices()[0].device_kind
    print(f"\n{device}, batch {options.batch_size}, n = {options.rounds} rounds\n")
    header = ["network", "images per second", "share of the matrix product's rate"]
    print(markdown([*header, "against PyTorch"], rows))
    write(options.json, {"device": device, "rows": facts})


def jax_run(depth: int, width: int) -> Callable[[], object]:
    """So many steps of `train`'s model in one call, the data set on the device."""
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
    model = trainer.build(recipe, preprocessing_of("cifar10"), (32, 32, 3), options.steps).model
    rng = np.random.default_rng(0)
    images = jnp.asarray(rng.integers(0, 256, (options.data, 32, 32, 3), dtype=np.uint8))
    labels = jnp.asarray(rng.integers(0, 10, options.data))
    batch = images[: options.batch_size], labels[: options.batch_size]
    model._symbolic_build(data_batch=batch)
    model.optimizer.build(model.trainable_variables)

    def step(state: Any, chosen: Any) -> Any:
        _, state = model.train_step(state, (images[chosen], labels[chosen]))
        return state, None

    @jax.jit
    def steps(state: Any, order: Any) -> Any:
        return jax.lax.scan(step, state, order)[0]

    kept = {"state": model._get_jax_state(True, True, True, True)}
    shape = (options.steps, options.batch_size)
    order = jnp.asarray(rng.integers(0, options.data, shape))

    def run() -> None:
        kept["state"] = steps(kept["state"], order)
        jax.block_until_ready(kept["state"])

    return run


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


def torch_run(depth: int, width: int) -> Callable[[], object] | None:
    """So many steps of PyTorch's network, or None where PyTorch is not installed."""
    try:
        import torch
        import torch_peer
    except ModuleNotFoundError:
        return None
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cudnn.benchmark = True
    return torch_peer.training_run(
        depth,
        width,
        flags.FLAGS.batch_size,
        flags.FLAGS.steps,
        bfloat16=True,
        channels_last=True,
        device=device,
        compiled=flags.FLAGS.compile,
    )


def _share(timings: Timings, flop: int) -> float:
    """Our rate over the matrix product's, the median over the rounds."""
    product = 2 * flags.FLAGS.side**3 * flags.FLAGS.products
    return timings.ratio(OURS, MATRIX)[0] * flop / product


if __name__ == "__main__":
    flags.DEFINE_list("networks", ["28-10", "40-2", "16-4"], "depths and widths")
    flags.DEFINE_integer("batch_size", 512, "images a step")
    flags.DEFINE_integer("steps", 20, "steps of one dispatch and timing")
    flags.DEFINE_integer("rounds", 7, "timings of each")
    flags.DEFINE_integer("data", DATA, "images on the device")
    flags.DEFINE_integer("side", 8192, "of the matrix product")
    flags.DEFINE_integer("products", 10, "matrix products of one timing")
    flags.DEFINE_bool("compile", True, "compile PyTorch's network")
    flags.DEFINE_string("json", None, "write the figures there")
    app.run(main)
