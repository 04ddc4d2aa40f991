"""The training step on a GPU: Keras on JAX against PyTorch, with shares of the matrix peak.

    KERAS_BACKEND=jax python benchmarks/gpu.py --networks 28-10,40-2,16-4 --json gpu.json
    KERAS_BACKEND=jax python benchmarks/gpu.py --networks 10-1 --batch_size 8 --steps 2 --side 256

The second command is a rehearsal on a CPU. There, XLA computes convolutions in a loop, as ours are,
14 times more slowly than outside of one (WRN-10-1, two EPYC cores, JAX 0.10, 2026-11-26).

Ours is `train`'s model in bfloat16, in two ways. First, the data set is on the device, and one
dispatch makes many steps; a step gathers, crops, flips and normalises its batch there. Second,
`model.fit` with steps_per_execution over images in main memory; the second dispatch is timed.
PyTorch's is its own network, channels last, bfloat16 autocast, fused SGD, on one ready batch:
eager, compiled, and compiled with max-autotune, which replays CUDA graphs. The peak is the rate of
a bfloat16 matrix product in the same run, JAX's or PyTorch's, whichever is faster. A variant that
fails, for lack of memory or a compiler, is left out with its reason. Figures are written after each
network. TensorFlow is not needed.
"""

import dataclasses
import os
from collections.abc import Callable
from functools import cache, partial
from typing import Any

from absl import flags
from interleaved import (
    Timings,
    company,
    fit_timed,
    interleave,
    parse_network,
    run,
    spread,
    training_model,
    with_range,
    write,
)

from keras_wrn.errors import InputError
from keras_wrn.system import markdown

OURS, FIT = "Keras on JAX", "the same, model.fit"
# The mode of torch.compile; None: not compiled.
TORCH = {
    "PyTorch": None,
    "PyTorch, compiled": "default",
    "PyTorch, max-autotune": "max-autotune",
}
MATRICES = ("matrix product, JAX", "matrix product, PyTorch")
HEADER = ("network", "step", "images per second", "share of the peak", f"{OURS} over it")
DATA = 50_000  # images on the device, as many as CIFAR has
Run = Callable[[], object]


def measure() -> None:
    """Measure each network and print a table."""
    options = flags.FLAGS
    networks = {name: parse_network(name) for name in options.networks}
    backend = os.environ.get("KERAS_BACKEND", "")
    if backend != "jax":
        raise InputError(
            f"This benchmark runs with KERAS_BACKEND=jax. Received: KERAS_BACKEND={backend}."
        )
    # Else JAX reserves three quarters of the memory before PyTorch starts.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    import jax

    device = jax.devices()[0].device_kind
    rows, facts, every = [], [], []
    for network, (depth, width) in networks.items():
        timings, flop, unsound = _time(depth, width)
        rows += _rows(network, timings, flop)
        for name in unsound:
            print(f"WRN-{network}, {name}: not all weights are finite at the end", flush=True)
        every.append(timings)
        about = {"network": network, "flop": flop, "not_finite": unsound}
        facts.append({**about, **dataclasses.asdict(timings)})
        write({"device": device, "rows": facts})
    print(f"\n{device}, batch {options.batch_size}, n = {options.rounds} rounds\n")
    print(markdown.table(HEADER, rows))
    print(f"\n{company(every)}")


def _time(depth: int, width: int) -> tuple[Timings, int, list[str]]:
    """Timings of all variants, the FLOP of one run, and the variants whose weights diverged."""
    from keras_wrn.applications.wide_resnet import WideResNet
    from keras_wrn.training.cost import FLOP_OF_TRAINING, multiply_adds

    options = flags.FLAGS
    count = options.batch_size * options.steps
    flop = FLOP_OF_TRAINING * multiply_adds(WideResNet(depth, width)) * count
    ours, finite = jax_runs(depth, width)
    variants = ours | torch_runs(depth, width) | matrix_runs()
    timings = interleave(variants, options.rounds, warm_ups=2, may_fail=variants)
    unsound = [name for name in ours if name in timings.seconds and not finite(name)]
    return timings, flop, unsound


def _rows(network: str, timings: Timings, flop: int) -> list[list[str]]:
    """A row for each variant; printed at once too, because a run may be cut short."""
    count = flags.FLAGS.batch_size * flags.FLAGS.steps
    peak = timings.fastest(MATRICES)
    rows = []
    for name in (OURS, FIT, *TORCH):
        row = [f"WRN-{network}", name]
        if name in timings.seconds:
            rates = spread(count / seconds for seconds in timings.seconds[name])
            row.append(with_range(rates, ",.0f"))
            row.append(f"{_share(timings, name, peak, flop):.0%}" if peak else "not measured")
            row.append(with_range(timings.ratio(OURS, name)) if OURS in timings.seconds else "")
        elif name in timings.failed:
            row += [f"not measured: {timings.failed[name]}", "", ""]
        else:
            continue
        rows.append(row)
        print(", ".join(row), flush=True)
    best = timings.fastest(TORCH)
    print(f"WRN-{network}: the peak is that of {peak}; the fastest peer is {best}", flush=True)
    return rows


def jax_runs(depth: int, width: int) -> tuple[dict[str, Run], Callable[[str], bool]]:
    """--steps steps of `train`'s model in one call, and by `model.fit`.

    Returns:
        Functions to time, which build their model at the first call; and a function that says
        whether the weights of a variant are finite.
    """
    import jax
    import numpy as np
    from jax import numpy as jnp

    from keras_wrn.training import losses
    from keras_wrn.training.recipe import Recipe

    options = flags.FLAGS
    recipe = Recipe(
        depth=depth, width=width, precision="mixed_bfloat16", batch_size=options.batch_size
    )
    shape = (options.steps, options.batch_size)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (options.data, 32, 32, 3), dtype=np.uint8)
    classes = rng.integers(0, 10, options.data)
    order = jnp.asarray(rng.integers(0, options.data, shape))

    # The data set is an argument, because a constant would become part of the program.
    @partial(jax.jit, donate_argnums=0, static_argnums=1)
    def steps(state: Any, model: Any, chosen: Any, images: Any, labels: Any) -> Any:
        def step(state: Any, batch: Any) -> Any:
            return model.train_step(state, (images[batch], labels[batch]))[1], None

        return jax.lax.scan(step, state, chosen)[0]

    @cache
    def resident() -> dict[str, Any]:
        data = jnp.asarray(pixels), jnp.asarray(classes)
        model = training_model(recipe, options.steps)
        model._symbolic_build(data_batch=tuple(part[: options.batch_size] for part in data))
        state = model._get_jax_state(True, True, True, True)
        return {"model": model, "data": data, "state": state}

    def ours() -> None:
        kept = resident()
        kept["state"] = steps(kept["state"], kept["model"], order, *kept["data"])
        jax.block_until_ready(kept["state"])

    @cache
    def fitted() -> Any:
        model = training_model(recipe, options.steps)
        model.compile(
            model.optimizer,
            model.loss,
            metrics=[losses.error],
            jit_compile="auto",
            steps_per_execution=options.steps,
        )
        return model

    count = 2 * options.steps * options.batch_size  # two dispatches, of which one is timed
    some = np.resize(pixels, (count, 32, 32, 3)), np.resize(classes, count)

    def fit() -> Any:
        return fit_timed(fitted(), *some, batch_size=options.batch_size)

    def finite(name: str) -> bool:
        weights = resident()["state"] if name == OURS else [v.value for v in fitted().variables]
        floats = [x for x in jax.tree.leaves(weights) if jnp.issubdtype(x.dtype, jnp.floating)]
        return all(bool(jnp.isfinite(x).all()) for x in floats)

    return {OURS: ours, FIT: fit}, finite


def matrix_runs() -> dict[str, Run]:
    """Functions that make --products products of square bfloat16 matrices."""
    import jax
    from jax import numpy as jnp

    side, repeats = flags.FLAGS.side, flags.FLAGS.products
    matrix = jax.random.normal(jax.random.key(0), (side, side), jnp.bfloat16) / side**0.5

    @jax.jit
    def products(x: Any) -> Any:
        return jax.lax.fori_loop(0, repeats, lambda _, y: y @ matrix, x)

    of_jax, of_torch = MATRICES
    runs: dict[str, Run] = {of_jax: lambda: jax.block_until_ready(products(matrix))}
    if torch_device():
        import torch_peer

        runs[of_torch] = at_first_call(
            partial(torch_peer.matrix_run, side, repeats, bfloat16=True, device=torch_device())
        )
    return runs


def torch_runs(depth: int, width: int) -> dict[str, Run]:
    """Functions that make --steps steps of PyTorch's network; empty if it is not installed."""
    if not torch_device():
        print("PyTorch is not installed: pip install torch")
        return {}
    import torch_peer

    torch_peer.forget()
    options = flags.FLAGS
    make = partial(
        torch_peer.training_run,
        depth,
        width,
        options.batch_size,
        options.steps,
        bfloat16=True,
        channels_last=True,
        device=torch_device(),
    )
    return {
        name: at_first_call(partial(make, compiled=mode is not None, mode=mode or "default"))
        for name, mode in TORCH.items()
        if options.compile or mode is None
    }


@cache
def torch_device() -> str:
    """PyTorch's device; "" if PyTorch is not installed."""
    try:
        import torch
    except ModuleNotFoundError:
        return ""
    torch.backends.cudnn.benchmark = True
    return "cuda" if torch.cuda.is_available() else "cpu"


def at_first_call(build: Callable[[], Run]) -> Run:
    """Build a variant at its first call, so that a failure counts as the variant's own."""
    made = cache(build)

    def run() -> object:
        return made()()

    return run


def _share(timings: Timings, name: str, peak: str, flop: int) -> float:
    """The FLOP rate of a step over that of the matrix product, the median over the rounds."""
    product = 2 * flags.FLAGS.side**3 * flags.FLAGS.products
    return timings.ratio(name, peak)[0] * flop / product


if __name__ == "__main__":
    flags.DEFINE_list("networks", ["28-10", "40-2", "40-1", "16-4"], "depths and widths")
    flags.DEFINE_integer("batch_size", 512, "images per step", lower_bound=1)
    flags.DEFINE_integer("steps", 20, "steps per dispatch and timing", lower_bound=1)
    flags.DEFINE_integer("rounds", 7, "timings of each variant", lower_bound=1)
    flags.DEFINE_integer("data", DATA, "images on the device", lower_bound=1)
    flags.DEFINE_integer("side", 8192, "side of the matrices", lower_bound=1)
    flags.DEFINE_integer("products", 10, "matrix products per timing", lower_bound=1)
    flags.DEFINE_bool(
        "compile", True, "time PyTorch compiled too; compiling takes minutes per network"
    )
    run(measure)
