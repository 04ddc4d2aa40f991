"""Time and memory of a training step against width and depth, with fits; thin against wide.

    python benchmarks/scale.py --rounds 3

Each network is measured in a fresh process of its own, in turn: CPU-seconds of the build, of the
first step beyond a later one (tracing), of a step at batch 32, and the peak of resident memory
over that of a program that has only imported TensorFlow. Then pre-activation ResNet-1001 against
WRN-40-4, as in Figure 4 of the paper. The fits are least squares: a power of the width at depth
16 (and the exponent from each width to the next), a line in the depth at width 4.
"""

import statistics
import sys

from absl import flags
from interleaved import in_a_fresh_process, markdown, parse_network, run, write

WIDTHS = ("16-1", "16-2", "16-4", "16-8")
DEPTHS = ("16-4", "22-4", "28-4", "40-4")
THIN = "pre-ResNet-1001"
PROGRAM = """
import json, os, resource, time
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np, tensorflow as tf
tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before = peak()
from keras_wrn import trainer
from keras_wrn.preprocessing import preprocessing_of
from keras_wrn.recipe import Recipe
t = time.process_time()
recipe = Recipe(**{arguments}, precision={precision!r}, batch_size=32)
model = trainer.build(recipe, preprocessing_of("cifar10"), (32, 32, 3), 10).model
built = time.process_time() - t
images, labels = np.zeros((32, 32, 32, 3), "uint8"), np.zeros(32, "int64")
def step():
    t = time.process_time()
    model.train_on_batch(images, labels)
    return time.process_time() - t
first, later = step(), sorted(step() for _ in range({steps}))[{steps} // 2]
print(json.dumps({{"build": built, "first": first - later, "step": later, "mb": peak() - before}}))
"""


def measure(arguments: list[str]) -> None:
    """Measure every network, print the tables and the fits."""
    del arguments
    options = flags.FLAGS
    networks = list(dict.fromkeys((*WIDTHS, *DEPTHS, *([THIN] if options.thin else []))))
    found: dict[str, list[dict[str, float]]] = {network: [] for network in networks}
    for _ in range(options.rounds):
        for network in networks:
            if facts := _measure(network):
                found[network].append(facts)
                print(network, facts, file=sys.stderr, flush=True)
    middle = {
        network: {key: statistics.median(of[key] for of in runs) for key in runs[0]}
        for network, runs in found.items()
        if runs
    }
    header = ["network", "build", "tracing", "step", "MB", "n"]
    rows = [
        [
            name,
            *(f"{of[key]:.2f}" for key in ("build", "first", "step")),
            f"{of['mb']:.0f}",
            len(found[name]),
        ]
        for name, of in middle.items()
    ]
    print(f"CPU-seconds, one thread, batch 32, {options.precision}; medians\n")
    print(markdown(header, rows))
    print(_fits(middle))
    write({"networks": found})


def _measure(network: str) -> dict[str, float]:
    """What a fresh process measured of one network; nothing where it could not."""
    if network == THIN:
        arguments = {"depth": 1001, "width": 1, "block": "bottleneck"}
    else:
        depth, width = parse_network(network)
        arguments = {"depth": depth, "width": width}
    code = PROGRAM.format(
        arguments=arguments, precision=flags.FLAGS.precision, steps=flags.FLAGS.steps
    )
    return in_a_fresh_process(network, code) or {}


def _fits(middle: dict[str, dict[str, float]]) -> str:
    import numpy as np

    lines = [""]
    for what, key in (("time", "step"), ("memory", "mb")):
        if all(name in middle for name in WIDTHS):
            widths = np.log([int(name.split("-")[1]) for name in WIDTHS])
            values = np.log([middle[name][key] for name in WIDTHS])
            power, _ = np.polyfit(widths, values, 1)
            steps = ", ".join(f"{slope:.2f}" for slope in np.diff(values) / np.diff(widths))
            lines.append(
                f"{what} against width at depth 16: to the power of {power:.2f}; {steps} from "
                "one width to the next"
            )
        if all(name in middle for name in DEPTHS):
            depths = [int(name.split("-")[0]) for name in DEPTHS]
            values = np.array([middle[name][key] for name in DEPTHS])
            slope, start = np.polyfit(depths, values, 1)
            worst = max(abs(np.polyval((slope, start), depths) - values) / values)
            lines.append(
                f"{what} against depth at width 4: {6 * slope:+.3g} for 6 layers, "
                f"{start:+.3g} at none, off by {worst:.0%} at most"
            )
    if THIN in middle and "40-4" in middle:
        wide = middle["40-4"]
        parts = [f"{middle[THIN][key] / wide[key]:.1f} in {key}" for key in wide]
        lines.append(f"{THIN} over WRN-40-4: {', '.join(parts)}")
    return "\n".join(lines)


if __name__ == "__main__":
    flags.DEFINE_integer("rounds", 3, "fresh processes of each", lower_bound=1)
    flags.DEFINE_integer("steps", 5, "steps after the first", lower_bound=1)
    flags.DEFINE_enum("precision", "float32", ["float32", "mixed_bfloat16"], "of all")
    flags.DEFINE_bool("thin", True, "measure pre-activation ResNet-1001 too")
    run(measure)
