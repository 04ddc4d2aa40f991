"""Time variants in turn, so that other processes on the machine affect all of them alike.

A round runs every variant once. A ratio is taken within a round; its median and range over the
rounds are reported. This file is not a program: the benchmarks import it.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from absl import flags

from keras_wrn.cli import program
from keras_wrn.errors import InputError
from keras_wrn.system.files import write_json
from keras_wrn.system.machine import conditions

FOLDER = Path(__file__).parent
# A function for programs in fresh processes: the peak of their memory, in MB.
PEAK_MEMORY = """
def peak():  # getrusage's would begin with the parent's memory
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) / 1024
"""


class Spent(NamedTuple):
    """The time that a variant took by its own measurement, in place of its whole call."""

    seconds: float
    cpu_seconds: float


@dataclass
class Timings:
    """Seconds of each variant, one number per round.

    Attributes:
        seconds: variant -> wall-clock seconds.
        cpu_seconds: variant -> CPU-seconds of this process, over all threads.
        others: variant -> cores that other processes kept busy; empty without /proc/stat.
        failed: variant -> why it was not measured.
    """

    seconds: dict[str, list[float]] = field(default_factory=dict)
    cpu_seconds: dict[str, list[float]] = field(default_factory=dict)
    others: dict[str, list[float]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def ratio(self, faster: str, slower: str, clock: str = "seconds") -> tuple[float, float, float]:
        """How many times as fast one is as another: median, minimum, maximum over the rounds."""
        times = getattr(self, clock)
        return spread(b / a for a, b in zip(times[faster], times[slower], strict=True))

    def fastest(self, names: Iterable[str]) -> str | None:
        """The variant of the least median time; None if none was timed."""
        timed = [name for name in names if name in self.seconds]
        return min(timed, key=lambda name: statistics.median(self.seconds[name]), default=None)


def interleave(
    variants: dict[str, Callable[[], object]],
    rounds: int,
    warm_ups: int = 1,
    may_fail: Iterable[str] = (),
) -> Timings:
    """Time variants in turn.

    Args:
        variants: name -> function to time. One that returns `Spent` has measured itself.
        rounds: timings of each variant.
        warm_ups: calls of each variant before, which do not count.
        may_fail: names of variants that are left out, with their earlier times, once they raise.
    """
    left, may_fail = dict(variants), set(may_fail)
    timings = Timings(*({name: [] for name in variants} for _ in range(3)))
    for number in range(-warm_ups, rounds):
        for name, run in list(left.items()):
            start, cpu_start, busy_start = time.perf_counter(), time.process_time(), _busy()
            try:
                result = run()
            except Exception as error:
                if name not in may_fail:
                    raise
                reason = f"{type(error).__name__}: {error}".strip().splitlines()[0]
                print(f"{name}: not measured: {reason}", file=sys.stderr, flush=True)
                timings.failed[name] = reason
                for entries in (left, timings.seconds, timings.cpu_seconds, timings.others):
                    del entries[name]
                continue
            spent = Spent(time.perf_counter() - start, time.process_time() - cpu_start)
            if number < 0:
                continue
            if busy_start is not None:
                others = max(0.0, _busy() - busy_start - spent.cpu_seconds)
                timings.others[name].append(others / spent.seconds)
            own = result if isinstance(result, Spent) else spent
            timings.seconds[name].append(own.seconds)
            timings.cpu_seconds[name].append(own.cpu_seconds)
    return timings


def _busy() -> float | None:
    """CPU-seconds of all processes since the start of the machine; None if not on Linux."""
    try:
        with Path("/proc/stat").open(encoding="utf-8") as file:
            user, nice, system, _, _, *interrupts = map(int, file.readline().split()[1:9])
    except OSError:
        return None
    return (user + nice + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK")


def company(timings: Iterable[Timings]) -> str:
    """A sentence about the load by other processes during the timings."""
    shares = [share for each in timings for times in each.others.values() for share in times]
    if not shares:
        return "The load by other processes is not known."
    return f"Meanwhile other processes used {statistics.median(shares):.2f} of a core (median)."


def fit_timed(model: Any, *data: Any, **options: Any) -> Spent:
    """Fit for an epoch; returns the time of the steps after the first.

    The start and the end of `fit` do not count: they are small beside the hundreds of steps of a
    real epoch, but not beside the few steps of a timing.
    """
    from keras_wrn.training.callbacks import StepClock

    clock = StepClock()
    model.fit(*data, verbose=0, callbacks=[clock], **options)
    return Spent(clock.seconds, clock.cpu_seconds)


def training_model(recipe: Any, steps: int = 10) -> Any:
    """The compiled model that `train` fits, for images of 32x32 pixels and CIFAR-10's classes.

    Args:
        recipe: a `Recipe`.
        steps: steps per epoch, for the schedule.
    """
    from keras_wrn.images.preprocessing import preprocessing_of
    from keras_wrn.training.model import build

    return build(recipe, preprocessing_of("cifar10"), (32, 32, 3), steps).model


def spread(values: Iterable[float]) -> tuple[float, float, float]:
    """Median, minimum and maximum."""
    values = sorted(values)
    return statistics.median(values), values[0], values[-1]


def with_range(values: tuple[float, float, float], form: str = ".2f") -> str:
    """A median with its range: "1.25 (1.21 to 1.30)"."""
    median, least, most = (format(value, form) for value in values)
    return f"{median} ({least} to {most})"


def by_pair(
    ours: Iterable[float | None], peers: Iterable[float | None], nothing: str = "not measured"
) -> str:
    """Our figures over a peer's in the same rounds, with range; None is a failed measurement."""
    pairs = zip(ours, peers, strict=False)  # the last rounds of one may be missing
    ratios = [a / b for a, b in pairs if a is not None and b is not None]
    return with_range(spread(ratios)) if ratios else nothing


def in_a_fresh_process(
    name: str, code: str, environment: dict[str, str | None] | None = None
) -> Any:
    """Run a Python program that may import the files of this folder.

    Args:
        name: what messages call the program.
        code: the program.
        environment: variable -> value; None removes the variable.

    Returns:
        The JSON in its last line of output; None if it fails, with the reason on standard error.
    """
    path = os.pathsep.join([str(FOLDER), os.environ.get("PYTHONPATH", "")])
    variables = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": path}
    variables |= environment or {}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={key: value for key, value in variables.items() if value is not None},
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        print(f"{name}: not measured: {last}", file=sys.stderr, flush=True)
        return None
    return json.loads(done.stdout.strip().splitlines()[-1])


def parse_sizes(texts: list[str]) -> list[int]:
    """Whole numbers from 1 of a flag; raises InputError for others."""
    if not texts or not all(text.isdigit() and int(text) for text in texts):
        raise InputError(f"Whole numbers from 1 are taken. Received: {', '.join(texts)}.")
    return [int(text) for text in texts]


def parse_network(text: str) -> tuple[int, int]:
    """Depth and width of "16-4".

    Raises:
        InputError: the depth is not 6N + 4, or the width is no whole number.
    """
    depth, _, width = text.partition("-")
    if not (depth.isdigit() and width.isdigit() and int(width)):
        raise InputError(f"A network is a depth and a width, such as 16-4. Received: {text}.")
    if int(depth) < 10 or (int(depth) - 4) % 6:
        raise InputError(f"The depth of a network must be 6N + 4. Received: {text}.")
    return int(depth), int(width)


def run(
    measure: Callable[..., None], *, takes_arguments: bool = False, trains: bool = False
) -> None:
    """Start a benchmark, with the flag --json; see `program.run`.

    Args:
        measure: the benchmark.
        takes_arguments: whether `measure` gets the arguments that are not flags; else there may
            be none.
        trains: as in `program.run`.
    """

    def main(arguments: list[str]) -> None:
        if not takes_arguments:
            program.refuse_words(arguments)
        _make_room(flags.FLAGS.json)
        if takes_arguments:
            measure(arguments)
        else:
            measure()

    flags.DEFINE_string("json", None, "file for the figures")
    program.run(main, trains=trains)


def _make_room(json_path: str | None) -> None:
    """Make the folder of --json, or refuse it before hours of measuring."""
    if json_path is None:
        return
    path = Path(json_path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise InputError(f"--json cannot be written: {error}. Received: {path}.") from error
    if path.is_dir():
        raise InputError(f"--json must be a file, not a folder. Received: {path}.")


def write(facts: dict[str, Any]) -> None:
    """Write figures with the machine, the versions and the flags, if --json is given."""
    path = flags.FLAGS.json
    if path is None:
        return
    own = flags.FLAGS.get_flags_for_module(sys.argv[0])
    options = {flag.name: flag.value for flag in own if flag.name != "json"}
    write_json(Path(path), {**conditions(), "options": options, **facts})
