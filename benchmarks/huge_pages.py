"""What memory in pages of 2 MB gains a training step: ours, plain Keras' and PyTorch's.

    python benchmarks/huge_pages.py --networks 16-4,40-1

Each timing is a fresh process, in turn with one of small pages and one of large, since a program
has them from its start or not at all (keras_wrn/huge_pages.py). Linux alone.
"""

import statistics
from pathlib import Path

from absl import flags
from interleaved import in_a_fresh_process, markdown, parse_network, run, write

from keras_wrn.huge_pages import SETTING, TUNABLES

# The steps of training_step.py, one variant alone.
PROGRAM = """
import json, os, sys, time
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
sys.path.insert(0, {here!r})
from absl import flags
import training_step
flags.DEFINE_integer("batch_size", {batch}, "")
flags.DEFINE_integer("steps", {steps}, "")
flags.DEFINE_string("precision", {precision!r}, "")
flags.DEFINE_bool("compile", False, "")
flags.FLAGS(["benchmark"])
if {who!r}.startswith("PyTorch"):
    timed = training_step.torch_runs({depth}, {width}, {precision!r} != "float32")[{who!r}]
else:
    timed = training_step.keras_runs({depth}, {width}, {batch} * {steps})[{who!r}]
timed()
seconds = []
for _ in range({repeats}):
    start = time.perf_counter(), time.process_time()
    timed()
    seconds.append((time.perf_counter() - start[0], time.process_time() - start[1]))
print(json.dumps(seconds))
"""
PAGES = {"small": "", "large": SETTING}
VARIANTS = ("keras_wrn", "stock Keras", "PyTorch channels last")


def measure(arguments: list[str]) -> None:
    """Time every network with both, and print the ratios."""
    del arguments
    options = flags.FLAGS
    found: dict[str, dict[str, dict[str, list[float]]]] = {}
    for name in options.networks:
        depth, width = parse_network(name)
        for who in VARIANTS:
            of = found.setdefault(f"WRN-{name}, {who}", {})
            for _ in range(options.rounds):
                for pages, setting in PAGES.items():
                    code = PROGRAM.format(
                        here=str(Path(__file__).parent),
                        batch=options.batch_size,
                        steps=options.steps,
                        repeats=options.repeats,
                        precision=options.precision,
                        depth=depth,
                        width=width,
                        who=who,
                    )
                    seconds = in_a_fresh_process(f"{name}, {who}", code, {TUNABLES: setting})
                    if seconds:
                        wall, cpu = zip(*seconds, strict=True)
                        clocks = of.setdefault(pages, {"wall": [], "cpu": []})
                        clocks["wall"].append(min(wall))
                        clocks["cpu"].append(statistics.median(cpu))
            print(f"WRN-{name}, {who}: {_gain(of, 'wall')}; {_gain(of, 'cpu')}", flush=True)
    rows = [[name, _gain(of, "wall"), _gain(of, "cpu")] for name, of in found.items()]
    print(f"\n{options.precision}, batch {options.batch_size}, n = {options.rounds} pairs:\n")
    print(markdown(["step", "faster with large pages, wall clock", "CPU-seconds"], rows))
    write({"seconds": found})


def _gain(of: dict[str, dict[str, list[float]]], clock: str) -> str:
    if set(of) != set(PAGES) or len(of["small"][clock]) != len(of["large"][clock]):
        return "not measured"
    gains = sorted(a / b for a, b in zip(of["small"][clock], of["large"][clock], strict=True))
    return f"{statistics.median(gains):.2f} ({gains[0]:.2f} to {gains[-1]:.2f})"


if __name__ == "__main__":
    flags.DEFINE_list("networks", ["16-4", "40-1"], "depths and widths, such as 16-4,40-2")
    flags.DEFINE_enum("precision", "mixed_bfloat16", ["float32", "mixed_bfloat16"], "of all")
    flags.DEFINE_integer("batch_size", 128, "images a step", lower_bound=1)
    flags.DEFINE_integer("steps", 8, "steps of one timing", lower_bound=1)
    flags.DEFINE_integer("repeats", 3, "timings of one process; the best counts", lower_bound=1)
    flags.DEFINE_integer("rounds", 3, "processes of each", lower_bound=1)
    run(measure)
