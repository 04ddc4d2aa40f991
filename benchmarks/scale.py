"""Time and memory of a training step as functions of width and depth; thin against wide.

    python benchmarks/scale.py --rounds 3

Each network is measured in a fresh process, in turn: CPU-seconds of the build, of tracing (first
step minus a later one) and of a step at batch 32, and the peak of resident memory above the import
of TensorFlow. PyTorch's network, channels last, is measured in the same way. The last comparison is
pre-activation ResNet-1001 against WRN-40-4, as in Figure 4 of the paper. Ratios are of processes of
the same round.

The fits are least squares. At depth 16, time is a power of the width (also from each width to the
next), and memory is linear in the width. At width 4, both are linear in the depth.
"""

import statistics
import sys

from absl import flags
from interleaved import (
    PEAK_MEMORY,
    by_pair,
    in_a_fresh_process,
    parse_network,
    run,
    write,
)

from keras_wrn.system import markdown

WIDTHS = ("16-1", "16-2", "16-4", "16-8")
DEPTHS = ("16-4", "22-4", "28-4", "40-4")
THIN, WIDE = "pre-ResNet-1001", "40-4"
PEER = "PyTorch"
KEYS = ("build", "first", "step", "mb")
START = (
    PEAK_MEMORY
    + """
import json, time
"""
)
OURS = """
import numpy as np, tensorflow as tf
tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)
before = peak()
from keras_wrn.training import model as trainer
from keras_wrn.images.preprocessing import preprocessing_of
from keras_wrn.training.recipe import Recipe
t = time.process_time()
recipe = Recipe(**{arguments}, precision={precision!r}, batch_size=32)
model = trainer.build(recipe, preprocessing_of("cifar10"), (32, 32, 3), 10).model
built = time.process_time() - t
images, labels = np.zeros((32, 32, 32, 3), "uint8"), np.zeros(32, "int64")
def make_step():
    model.train_on_batch(images, labels)
"""
PEERS = """
import torch, torch_peer
torch.set_num_threads(1)
before = peak()
t = time.process_time()
make_step = torch_peer.training_run(
    **{arguments}, batch=32, steps=1, bfloat16={precision!r} != "float32", channels_last=True
)
built = time.process_time() - t
"""
END = """
def step():
    t = time.process_time()
    make_step()
    return time.process_time() - t
first, later = step(), sorted(step() for _ in range({steps}))[{steps} // 2]
print(json.dumps({{"build": built, "first": first - later, "step": later, "mb": peak() - before}}))
"""
Facts = dict[str, float] | None  # of one process; None where it failed


def measure() -> None:
    """Measure every network, print the tables and the fits."""
    options = flags.FLAGS
    wide = list(dict.fromkeys((*WIDTHS, *DEPTHS)))
    names = [*wide, *([THIN] if options.thin else []), *(_peer_of(name) for name in wide)]
    found: dict[str, list[Facts]] = {name: [] for name in names}
    for _ in range(options.rounds):
        for name in names:
            found[name].append(_measure(name))
            print(name, found[name][-1], file=sys.stderr, flush=True)
        write({"networks": found})
    middle = {
        name: {key: statistics.median(run[key] for run in runs if run) for key in KEYS}
        for name, runs in found.items()
        if any(runs)
    }
    print(f"CPU-seconds, one thread, batch 32, {options.precision}; medians\n")
    rows = [
        [
            name,
            *(f"{medians[key]:.2f}" for key in ("build", "first", "step")),
            f"{medians['mb']:.0f}",
            sum(map(bool, found[name])),
            *(_over(found, _peer_of(name), name, key) for key in ("step", "mb")),
        ]
        for name, medians in middle.items()
    ]
    header = ["network", "build", "tracing", "step", "MB", "n"]
    header += [f"{PEER}'s {what} over it" for what in ("step", "MB")]
    print(markdown.table(header, rows))
    print(_fits(middle))
    parts = [f"{_over(found, THIN, WIDE, key)} in {key}" for key in KEYS]
    if THIN in middle and WIDE in middle:
        print(f"{THIN} over WRN-{WIDE}: {', '.join(parts)}")


def _peer_of(network: str) -> str:
    return f"{network}, {PEER}"


def _over(found: dict[str, list[Facts]], one: str, other: str, key: str) -> str:
    """The ratio of two networks' figures, over the rounds in which both were measured."""
    figures = ([run and run[key] for run in found.get(name, [])] for name in (one, other))
    return by_pair(*figures, nothing="")


def _measure(name: str) -> Facts:
    """The figures of one network in a fresh process; None if it fails."""
    network, _, peer = name.partition(", ")
    if network == THIN:
        arguments = {"depth": 1001, "width": 1, "block": "bottleneck"}
    else:
        depth, width = parse_network(network)
        arguments = {"depth": depth, "width": width}
    code = (START + (PEERS if peer else OURS) + END).format(
        arguments=arguments,
        precision=flags.FLAGS.precision,
        steps=flags.FLAGS.steps,
    )
    return in_a_fresh_process(name, code)


def _fits(middle: dict[str, dict[str, float]]) -> str:
    """Sentences on how time and memory grow with width and depth."""
    import numpy as np

    lines = [""]
    if all(name in middle for name in WIDTHS):
        widths = [int(name.split("-")[1]) for name in WIDTHS]
        times = np.log([middle[name]["step"] for name in WIDTHS])
        power = np.polyfit(np.log(widths), times, 1)
        worst = max(abs(np.exp(np.polyval(power, np.log(widths)) - times) - 1))
        exponents = np.diff(times) / np.diff(np.log(widths))
        lines.append(
            f"time against width at depth 16: to the power of {power[0]:.2f}, off by {worst:.0%} "
            f"at most; {', '.join(f'{each:.2f}' for each in exponents)} from one width to the next"
        )
        slope, start, worst = _line(widths, [middle[name]["mb"] for name in WIDTHS])
        lines.append(
            f"memory against width at depth 16: {slope:+.3g} MB for each, {start:+.3g} at none, "
            f"off by {worst:.0%} at most"
        )
    if all(name in middle for name in DEPTHS):
        depths = [int(name.split("-")[0]) for name in DEPTHS]
        for what, key in (("time", "step"), ("memory", "mb")):
            slope, start, worst = _line(depths, [middle[name][key] for name in DEPTHS])
            lines.append(
                f"{what} against depth at width 4: {6 * slope:+.3g} for 6 layers, "
                f"{start:+.3g} at none, off by {worst:.0%} at most"
            )
    return "\n".join(lines)


def _line(xs: list[int], values: list[float]) -> tuple[float, float, float]:
    """Slope and start of the fitted line, and the largest relative error."""
    import numpy as np

    slope, start = np.polyfit(xs, values, 1)
    fitted = np.polyval((slope, start), xs)
    return float(slope), float(start), float(max(abs(fitted / values - 1)))


if __name__ == "__main__":
    flags.DEFINE_integer("rounds", 3, "fresh processes of each network", lower_bound=1)
    flags.DEFINE_integer("steps", 5, "steps after the first", lower_bound=1)
    flags.DEFINE_enum("precision", "float32", ["float32", "mixed_bfloat16"], "of all")
    flags.DEFINE_bool("thin", True, "measure pre-activation ResNet-1001 too")
    run(measure)
