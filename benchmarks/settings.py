"""The effect of environment variables on a training step: memory pages, threads, oneDNN.

    python benchmarks/settings.py --networks 16-4,40-1
    python benchmarks/settings.py --step "PyTorch channels last" --settings "what recipes set"

Each timing is a fresh process, because a program reads these variables when it starts, in turn with
one in which nothing is set. The user's own values of these variables are removed. A setting that
makes the step several times as slow in the first round is not timed again.
"""

import statistics

from absl import flags
from interleaved import by_pair, in_a_fresh_process, parse_network, run, write
from training_step import OURS, STOCK, TORCH

from keras_wrn.errors import InputError
from keras_wrn.system import markdown
from keras_wrn.system.huge_pages import SETTING, TUNABLES

NOTHING = "nothing set"
THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")
SETTINGS = {
    NOTHING: {},
    "large pages alone": {TUNABLES: "glibc.malloc.hugetlb=1"},
    "what recipes set": {TUNABLES: SETTING},
    "the same and nothing given back": {
        TUNABLES: f"{SETTING}:glibc.malloc.mmap_threshold=1073741824"
        ":glibc.malloc.trim_threshold=4294967296"
    },
    "one arena": {TUNABLES: "glibc.malloc.arena_max=1"},
    "the same and what recipes set": {TUNABLES: f"{SETTING}:glibc.malloc.arena_max=1"},
    "one thread": dict.fromkeys(THREADS, "1"),
    "one operation at a time": {"TF_NUM_INTEROP_THREADS": "1"},
    "oneDNN in the calling thread": {"TF_ONEDNN_THREADPOOL_USE_CALLER_THREAD": "1"},
    "oneDNN with the system's allocator": {"TF_ONEDNN_USE_SYSTEM_ALLOCATOR": "1"},
    "without oneDNN": {"TF_ENABLE_ONEDNN_OPTS": "0"},
    "without AMX": {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16"},
    "float32 computed as bfloat16": {"ONEDNN_DEFAULT_FPMATH_MODE": "BF16"},
}
UNSET: dict[str, str | None] = dict.fromkeys(key for each in SETTINGS.values() for key in each)
# Steps, and the function of training_step.py that builds each.
STEPS = dict.fromkeys((OURS, STOCK), "keras_steps") | dict.fromkeys(TORCH, "torch_steps")
PROGRAM = """
import json
import interleaved, training_step
builders = training_step.{builders}({depth}, {width}, {batch_size}, {steps}, {precision!r})
timings = interleaved.interleave({{"step": builders[{step!r}]()}}, {repeats})
print(json.dumps([timings.seconds["step"], timings.cpu_seconds["step"]]))
"""
CLOCKS = ("wall clock", "CPU-seconds")
# Seconds of each clock, one pair per round; None: not measured.
Clocks = list[tuple[float, float] | None]
HOPELESS = 4.0  # times as slow as without settings, from which a setting is timed only once


def measure() -> None:
    """Time every network under each setting, and print the gains."""
    options = flags.FLAGS
    unknown = [name for name in options.settings if name not in SETTINGS]
    if unknown:
        raise InputError(f"Settings are {', '.join(SETTINGS)}. Received: {', '.join(unknown)}.")
    names = [NOTHING, *(name for name in options.settings if name != NOTHING)]
    networks = {name: parse_network(name) for name in options.networks}
    rows, facts = [], {}
    for network, (depth, width) in networks.items():
        found = _time(depth, width, names)
        facts[network] = found
        for name in names[1:]:
            gains = [_gain(found[NOTHING], found[name], clock) for clock in range(len(CLOCKS))]
            measured = sum(pair is not None for pair in found[name])
            rows.append([f"WRN-{network}", name, *gains, measured])
            print(f"WRN-{network}, {name}: {', '.join(gains)}", flush=True)
        write({"seconds": facts})
    print(
        f"\n{options.step}, {options.precision}, batch {options.batch_size}, "
        "n pairs of processes:\n"
    )
    header = ["step", "setting", *(f"times as fast, {clock}" for clock in CLOCKS), "n"]
    print(markdown.table(header, rows))


def _time(depth: int, width: int, names: list[str]) -> dict[str, Clocks]:
    """Seconds of each clock for each setting and round; the medians of a process."""
    options = flags.FLAGS
    code = PROGRAM.format(
        depth=depth,
        width=width,
        builders=STEPS[options.step],
        **{
            name: options[name].value
            for name in ("batch_size", "steps", "precision", "repeats", "step")
        },
    )
    found: dict[str, Clocks] = {name: [] for name in names}
    for _ in range(options.rounds):
        for name in names:
            if _hopeless(found[name], found[NOTHING]):
                found[name].append(None)
                continue
            where = f"WRN-{depth}-{width}, {name}"
            clocks = in_a_fresh_process(where, code, UNSET | SETTINGS[name])
            medians = clocks and tuple(statistics.median(seconds) for seconds in clocks)
            found[name].append(medians)
    return found


def _hopeless(times: Clocks, plain: Clocks) -> bool:
    """Whether a setting was `HOPELESS` in the first round."""
    first, reference = (rounds[0] if rounds else None for rounds in (times, plain))
    return bool(first and reference and first[0] > HOPELESS * reference[0])


def _gain(plain: Clocks, other: Clocks, clock: int) -> str:
    return by_pair(*([pair and pair[clock] for pair in times] for times in (plain, other)))


if __name__ == "__main__":
    flags.DEFINE_list("networks", ["16-4", "40-1"], "depths and widths, such as 16-4,40-2")
    flags.DEFINE_list("settings", list(SETTINGS), f"some of: {', '.join(SETTINGS)}")
    flags.DEFINE_enum("step", OURS, list(STEPS), "the step to time")
    flags.DEFINE_enum("precision", "mixed_bfloat16", ["float32", "mixed_bfloat16"], "of all")
    flags.DEFINE_integer("batch_size", 128, "images per step", lower_bound=1)
    flags.DEFINE_integer("steps", 8, "steps per timing", lower_bound=1)
    flags.DEFINE_integer("repeats", 5, "timings per process", lower_bound=1)
    flags.DEFINE_integer("rounds", 3, "processes of each setting", lower_bound=1)
    run(measure)
