"""Timing several variants in turn, so that what else the machine does hits all of them alike.

A round runs every variant once; a ratio is taken within a round, and its median and range over
the rounds are what is reported. Not a program: the benchmarks beside it use it.
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

# For programs in fresh processes: their memory at most, in MB.
PEAK_MEMORY = """
def peak():  # getrusage's begins with what the parent process has
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) / 1024
"""


class Spent(NamedTuple):
    """What a variant that measures itself says that it took, in place of its whole call."""

    seconds: float
    cpu_seconds: float


@dataclass
class Timings:
    """Seconds of each variant, one for each round.

    Attributes:
        seconds: variant -> seconds of wall clock.
        cpu_seconds: variant -> seconds of the process's processors, over all threads.
        others: variant -> processors that other processes kept busy meanwhile; empty where there
            is no /proc/stat.
        failed: variant -> why it was not measured.
    """

    seconds: dict[str, list[float]] = field(default_factory=dict)
    cpu_seconds: dict[str, list[float]] = field(default_factory=dict)
    others: dict[str, list[float]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def ratio(self, faster: str, slower: str, clock: str = "seconds") -> tuple[float, float, float]:
        """How many times as fast one is as another: median, least and most over the rounds."""
        times = getattr(self, clock)
        return spread(b / a for a, b in zip(times[faster], times[slower], strict=True))

    def fastest(self, names: Iterable[str]) -> str | None:
        """The one of least median time among those that were timed; None if none was."""
        timed = [name for name in names if name in self.seconds]
        return min(timed, key=lambda name: statistics.median(self.seconds[name]), default=None)


def interleave(
    variants: dict[str, Callable[[], object]],
    rounds: int,
    warm_ups: int = 1,
    may_fail: Iterable[str] = (),
) -> Timings:
    """Run every variant `warm_ups` times unmeasured, and then in turn, `rounds` times.

    A variant that returns `Spent` is taken at its word. One of `may_fail` that raises is left out
    from then on, and its earlier times with it; the others go on.
    """
    left, may_fail = dict(variants), set(may_fail)
    timings = Timings(*({name: [] for name in variants} for _ in range(3)))
    for number in range(-warm_ups, rounds):
        for name, run in list(left.items()):
            start, cpu_start, busy_start = time.perf_counter(), time.process_time(), _busy()
            try:
                said_so = run()
            except Exception as error:
                if name not in may_fail:
                    raise
                reason = f"{type(error).__name__}: {error}".strip().splitlines()[0]
                print(f"{name}: not measured: {reason}", file=sys.stderr, flush=True)
                timings.failed[name] = reason
                for of in (left, timings.seconds, timings.cpu_seconds, timings.others):
                    del of[name]
                continue
            spent = Spent(time.perf_counter() - start, time.process_time() - cpu_start)
            if number < 0:
                continue
            if busy_start is not None:
                others = max(0.0, _busy() - busy_start - spent.cpu_seconds)
                timings.others[name].append(others / spent.seconds)
            own = said_so if isinstance(said_so, Spent) else spent
            timings.seconds[name].append(own.seconds)
            timings.cpu_seconds[name].append(own.cpu_seconds)
    return timings


def _busy() -> float | None:
    """Seconds that this machine's processors have worked, for whomever; Linux tells."""
    try:
        with Path("/proc/stat").open(encoding="utf-8") as file:
            user, nice, system, _, _, *interrupts = map(int, file.readline().split()[1:9])
    except OSError:
        return None
    return (user + nice + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK")


def company(timings: Iterable[Timings]) -> str:
    """A sentence on what other processes did during the timings."""
    shares = [share for of in timings for times in of.others.values() for share in times]
    if not shares:
        return "What other processes did meanwhile is not known."
    return f"Meanwhile other processes used {statistics.median(shares):.2f} of a core (median)."


def fit_timed(model: Any, *data: Any, **options: Any) -> Spent:
    """Fit for an epoch; what the steps after the first took, without `fit`'s own start and end.

    An epoch has hundreds of steps, a timing a few: what a call of `fit` costs once would weigh
    too much.
    """
    from keras_wrn.training.callbacks import StepClock

    clock = StepClock()
    model.fit(*data, verbose=0, callbacks=[clock], **options)
    return Spent(clock.seconds, clock.cpu_seconds)


def spread(values: Iterable[float]) -> tuple[float, float, float]:
    """Median, least and most."""
    values = sorted(values)
    return statistics.median(values), values[0], values[-1]


def said(ratio: tuple[float, float, float]) -> str:
    """A ratio with its range: "1.25 (1.21 to 1.30)"."""
    return f"{ratio[0]:.2f} ({ratio[1]:.2f} to {ratio[2]:.2f})"


def by_pair(
    ours: Iterable[float | None], peers: Iterable[float | None], nothing: str = "not measured"
) -> str:
    """Our figures over a peer's of the same rounds, median and range; None is a failure."""
    pairs = zip(ours, peers, strict=False)  # the last rounds of one may have failed
    ratios = [a / b for a, b in pairs if a is not None and b is not None]
    return said(spread(ratios)) if ratios else nothing


def in_a_fresh_process(
    name: str, code: str, environment: dict[str, str | None] | None = None
) -> Any:
    """What a program prints as JSON in its last line; None, and why, where it fails.

    Args:
        name: what it is called in the reason.
        code: the program.
        environment: variables to set, and those to remove, which are None.
    """
    variables = os.environ | (environment or {})
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
    """Batch sizes out of a flag; raises InputError where one is no whole number from 1."""
    if not texts or not all(text.isdigit() and int(text) for text in texts):
        raise InputError(f"Batch sizes are whole numbers. Received: {', '.join(texts)}.")
    return [int(text) for text in texts]


def parse_network(text: str) -> tuple[int, int]:
    """Depth and width of "16-4".

    Raises:
        InputError: it is none of depth 6N + 4, or the width is not a whole number.
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
        if arguments and not takes_arguments:
            raise InputError(f"Only flags are taken. Received: {' '.join(arguments)}.")
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
    """Write figures with the machine, the versions and all options, if --json says where."""
    path = flags.FLAGS.json
    if path is None:
        return
    from keras_wrn.system.files import write_json
    from keras_wrn.system.machine import hardware, versions

    measured = time.strftime("%Y-%m-%d")
    own = flags.FLAGS.get_flags_for_module(sys.argv[0])
    options = {flag.name: flag.value for flag in own if flag.name != "json"}
    about = {"measured": measured, "hardware": hardware(), "versions": versions()}
    write_json(Path(path), {**about, "options": options, **facts})
