"""Timing several variants in turn, so that what else the machine does hits all of them alike.

A round runs every variant once; a ratio is taken within a round, and its median and range over
the rounds are what is reported. Not a program: the benchmarks beside it use it.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from absl import app, flags

from keras_wrn.errors import InputError, Interrupted


@dataclass
class Timings:
    """Seconds of each variant, one for each round.

    Attributes:
        seconds: variant -> seconds of wall clock.
        cpu_seconds: variant -> seconds of the process's processors, over all threads.
    """

    seconds: dict[str, list[float]] = field(default_factory=dict)
    cpu_seconds: dict[str, list[float]] = field(default_factory=dict)

    def ratio(self, faster: str, slower: str, clock: str = "seconds") -> tuple[float, float, float]:
        """How many times as fast one is as another: median, least and most over the rounds."""
        times = getattr(self, clock)
        found = sorted(b / a for a, b in zip(times[faster], times[slower], strict=True))
        return statistics.median(found), found[0], found[-1]

    def fastest(self, names: Iterable[str]) -> str | None:
        """The one of least median time among those that were timed; None if none was."""
        timed = [name for name in names if name in self.seconds]
        return min(timed, key=lambda name: statistics.median(self.seconds[name]), default=None)


def interleave(
    variants: dict[str, Callable[[], object]], rounds: int, warm_ups: int = 1
) -> Timings:
    """Run every variant `warm_ups` times unmeasured, and then in turn, `rounds` times."""
    timings = Timings({name: [] for name in variants}, {name: [] for name in variants})
    for run in variants.values():
        for _ in range(warm_ups):
            run()
    for _ in range(rounds):
        for name, run in variants.items():
            start, cpu_start = time.perf_counter(), time.process_time()
            run()
            timings.seconds[name].append(time.perf_counter() - start)
            timings.cpu_seconds[name].append(time.process_time() - cpu_start)
    return timings


def said(ratio: tuple[float, float, float]) -> str:
    """A ratio with its range: "1.25 (1.21 to 1.30)"."""
    return f"{ratio[0]:.2f} ({ratio[1]:.2f} to {ratio[2]:.2f})"


def markdown(header: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A Markdown table."""
    lines = [list(header), *[list(map(str, row)) for row in rows]]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def in_a_fresh_process(name: str, code: str, environment: dict[str, str] | None = None) -> Any:
    """What a program prints as JSON in its last line; None, and why, where it fails."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | (environment or {}),
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


def run(measure: Callable[[list[str]], None]) -> None:
    """Start a benchmark; what the user can mend is one sentence and exit status 2."""

    def main(argv: list[str]) -> None:
        try:
            measure(argv[1:])
        except Interrupted as stop:
            print(f"{stop}; the same command goes on from there", file=sys.stderr)
            sys.exit(128 + stop.signal)
        except InputError as error:
            print(f"{argv[0]}: {error}", file=sys.stderr)
            sys.exit(2)

    flags.DEFINE_string("json", None, "write the figures there")
    app.run(main)


def write(facts: dict[str, Any]) -> None:
    """Write figures with the machine, the versions and all options, if --json says where."""
    path = flags.FLAGS.json
    if path is None:
        return
    from keras_wrn.run_folder import hardware, versions, write_json

    Path(path).parent.mkdir(parents=True, exist_ok=True)
    measured = time.strftime("%Y-%m-%d")
    own = flags.FLAGS.get_flags_for_module(sys.argv[0])
    options = {flag.name: flag.value for flag in own if flag.name != "json"}
    about = {"measured": measured, "hardware": hardware(), "versions": versions()}
    write_json(Path(path), {**about, "options": options, **facts})
