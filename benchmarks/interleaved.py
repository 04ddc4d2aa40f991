"""Timing several variants in turn, so that what else the machine does hits all of them alike.

A round runs every variant once; a ratio is taken within a round, and its median and range over
the rounds are what is reported. Not a program: the benchmarks beside it use it.
"""

import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Clock = Callable[[], float]


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


def write(path: str | None, facts: dict[str, Any]) -> None:
    """Write a benchmark's figures with the machine and the versions, if a path is given."""
    if path is None:
        return
    from keras_wrn.run_folder import hardware, versions, write_json

    Path(path).parent.mkdir(parents=True, exist_ok=True)
    measured = time.strftime("%Y-%m-%d")
    about = {"measured": measured, "hardware": hardware(), "versions": versions()}
    write_json(Path(path), {**about, **facts})
