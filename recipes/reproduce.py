"""Train the rows of the paper's tables and figures, and print the paper's results beside ours.

    python recipes/reproduce.py table4 --rows 28-10,16-8 --runs 5
    python recipes/reproduce.py table6 --scale digits --narrow 4
    python recipes/reproduce.py all --dry_run
    python recipes/reproduce.py table4 --jobs 2           # two runs at once on this machine
    python recipes/reproduce.py table4 --part 3/8         # the third of eight machines
    python recipes/reproduce.py table4 --ray auto         # on a Ray cluster, each on a GPU

Experiments: table2 to table9, figure2 to figure4, or all. Each run has a folder in --workdir; the
same command resumes it. As in the paper, a CIFAR row is the median of five runs after the last
epoch, an SVHN or ImageNet row is one run. Rows of one recipe share their runs. A full CIFAR row
takes hours on a GPU; --scale makes it take minutes, and the tables say so.

Expected: the paper's results, printed beside ours. docs/reproduction.md has what was measured.
"""

import contextlib
import shlex
import sys
from pathlib import Path

from absl import flags

from keras_wrn.cli import program
from keras_wrn.errors import InputError
from keras_wrn.paper import (
    comparison,
    figures,
    hours,
    jobs,
    page,
    ray_jobs,
    reproduction,
    step_time,
)
from keras_wrn.paper.scale import Scale, parse_scale
from keras_wrn.paper.tables import CURVES, FIGURES, TABLES, WORKDIR, Row
from keras_wrn.system import locks
from keras_wrn.system.files import write_json, write_whole
from keras_wrn.training.recipe import PRECISIONS

SHARING = ("part", "jobs", "shared", "ray", "gpus_per_run")
# What each mode does, and the flags without effect in it.
MODES = {
    "dry_run": (
        "only builds and counts networks",
        ("table", "time", "markdown", "json", "runs", "data_dir", "precision", *SHARING),
    ),
    "table": ("only prints existing runs", ("time", "runs", "data_dir", *SHARING)),
    "time": ("only times a few steps", ("runs", "data_dir", *SHARING)),
}


def reproduce(experiments: list[str]) -> list[str]:
    """Do what the flags ask for; returns a sentence for each failure."""
    options = flags.FLAGS
    if not experiments:
        names = ", ".join([*TABLES, *FIGURES])
        raise InputError(f"Say what to reproduce: {names}, or all. Received: nothing.")
    scale = parse_scale(options.scale, options.narrow)
    rows = reproduction.select(experiments, options.rows, options.datasets)
    rows = reproduction.without_twins(rows, scale)
    drawn = [name for name in FIGURES if name in experiments or "all" in experiments]
    if options.rows or options.datasets:  # Figure 4 has no rows to choose from
        drawn = [name for name in drawn if name in CURVES or name in experiments]
    if options.dry_run:
        timed = reproduction.networks_of_figure_4() if "figure4" in drawn else []
        return dry_run(list(dict.fromkeys([*rows, *timed])), scale)
    workdir = Path(options.workdir)
    # Standard output is for the tables; the progress of `fit` goes to standard error.
    with contextlib.redirect_stdout(sys.stderr):
        failures = [] if options.table else work(rows, drawn, workdir, scale)
    report = comparison.report_on(
        rows,
        drawn,
        workdir,
        pictures=figures.draw(drawn, workdir, scale, options.precision),
        scale=scale,
        flags=flags_of_a_row(scale),
        precision=options.precision,
    )
    show(report)
    return failures


def check_flags(experiments: list[str]) -> None:
    """Refuse flags without effect."""
    options = flags.FLAGS
    if options.time and options.scale:
        raise InputError("--time estimates the hours of full rows. Leave --scale away.")
    if options.time and "figure4" in experiments:
        raise InputError("Figure 4 is timed without this flag. Leave --time away.")
    if options.time_batch and not options.time:
        raise InputError("--time_batch is for --time.")
    if (options.shared or options.jobs > 1) and locks.fcntl is None:
        raise InputError(
            "--shared and --jobs need locks between processes, which this system does not have. "
            "Use --part: each process then has runs of its own."
        )
    if options["gpus_per_run"].present and not options.ray:
        raise InputError("--gpus_per_run is for --ray.")
    if options.ray and options["jobs"].present:
        raise InputError("--ray places the runs on its nodes. Leave --jobs away.")
    if options.ray and "figure4" in experiments:
        raise InputError("Figure 4 is timed on one machine. Leave --ray away.")
    for mode, (does, ignored) in MODES.items():
        given = [f"--{name}" for name in ignored if options[name].present]
        if options[mode].value and given:
            raise InputError(f"--{mode} {does}. Leave {', '.join(given)} away.")


def flags_of_a_row(scale: Scale | None) -> str:
    """The flags that a row's command needs beside the row."""
    options = flags.FLAGS
    parts = [f"--scale {options.scale} --narrow {options.narrow:g}"] if scale else []
    parts += [f"--precision {options.precision}"] if options.precision else []
    parts += [f"--data_dir {options.data_dir}"] if options.data_dir else []
    return " ".join(parts)


def parse_part(text: str) -> tuple[int, int]:
    """Read --part: "3/8" is the third of eight parts."""
    number, _, parts = text.partition("/")
    if not (number.isdecimal() and parts.isdecimal() and 1 <= int(number) <= int(parts)):
        raise InputError(f"--part must be I/N, such as 3/8 with I from 1 to N. Received: {text}.")
    return int(number), int(parts)


def work(rows: list[Row], drawn: list[str], workdir: Path, scale: Scale | None) -> list[str]:
    """Train rows and time Figure 4, or with --time only time the rows; returns failures."""
    options = flags.FLAGS
    precision = options.precision
    if options.time:
        hours.measure_speeds(rows, workdir, precision=precision, batch=options.time_batch)
        return []
    planned = jobs.plan(
        rows,
        workdir,
        runs=options.runs,
        scale=scale,
        precision=precision,
        part=parse_part(options.part),
    )
    if options.ray:
        return ray_jobs.train_on_ray(
            planned,
            options.ray,
            workdir / "jobs",
            gpus_per_run=options.gpus_per_run,
            data_dir=options.data_dir,
            shared=options.shared,
        )
    if options.jobs > 1:
        command = [sys.executable, *sys.argv, "--jobs=1", "--shared"]
        logs = workdir / "jobs"
        failures = jobs.train_in_processes(planned, command, options.jobs, logs)
    else:
        failures = jobs.train_runs(planned, data_dir=options.data_dir, shared=options.shared)
    if options.shared:
        return failures
    if "figure4" in drawn and step_time.read_figure_4(workdir, scale, precision) is None:
        step_time.time_figure_4(workdir, scale=scale, precision=precision)
    return failures


def dry_run(rows: list[Row], scale: Scale | None) -> list[str]:
    """Build every network without data, and compare its size with the paper's."""
    failures = []
    for built in reproduction.check_networks(rows, scale):
        row = built["row"]
        right = f"right ({row.printed} in the paper)" if row.printed else "right"
        verdicts = {True: right, None: "scaled down"}
        verdict = verdicts.get(built["right"], f"WRONG, must be {row.parameters:,}")
        counts = f"{built['parameters']:,} parameters, {built['multiply_adds']:,} multiply-adds"
        print(f"{row.folder}: {counts}, {verdict}", flush=True)
        if built["right"] is False:
            failures.append(f"{row.folder} has {built['parameters']:,} parameters.")
    for row in rows:
        if row.recipe is None:
            print(f"{row.folder}: {f'python {row.command}' if row.command else row.note}")
    return failures


def show(report: comparison.Report) -> None:
    """Print the tables, and write the files of --markdown and --json."""
    options = flags.FLAGS
    print(comparison.as_markdown(report), end="")
    if options.markdown:
        file = Path(options.markdown)
        text = page.document(report, file.parent, shlex.join(sys.argv[1:]))
        write_whole(file, lambda part: part.write_text(text, encoding="utf-8"))
    folder = report.workdir / report.scale.folder if report.scale else report.workdir
    results = Path(options.json or folder / "results.json")
    if options.json or not (options.table or options.time):
        results.parent.mkdir(parents=True, exist_ok=True)
        write_json(results, comparison.as_json(report))


def main(experiments: list[str]) -> None:
    """Reproduce; rows that failed end the program with exit status 2."""
    check_flags(experiments)
    if not flags.FLAGS.table:
        program.start_keras()
    failures = reproduce(experiments)
    for sentence in failures:
        program.complain(sys.argv[0], sentence)
    if failures:
        sys.exit(2)


if __name__ == "__main__":
    flags.DEFINE_list("rows", [], "rows of the tables, such as 28-10,16-8; default all")
    flags.DEFINE_list("datasets", [], "data sets, such as cifar10; default all")
    flags.DEFINE_integer("runs", None, "runs per row, with seeds from 1; default the paper's", 1)
    flags.DEFINE_string("workdir", WORKDIR, "folder of all runs")
    flags.DEFINE_string("data_dir", None, "folder of the data sets; default ~/.keras/datasets")
    flags.DEFINE_string("part", "1/1", "I/N: every N-th run from the I-th on, on one of N machines")
    flags.DEFINE_integer("jobs", 1, "runs at once on this machine, each on its processors", 1)
    flags.DEFINE_bool("shared", False, "pass over runs that another process trains")
    flags.DEFINE_string("ray", None, "auto or HOST:PORT: one task for each run on a Ray cluster")
    flags.DEFINE_integer("gpus_per_run", 1, "with --ray: GPUs of each run; 0: one processor", 0)
    flags.DEFINE_bool("dry_run", False, "only build each network and count its parameters")
    flags.DEFINE_alias("dry-run", "dry_run")
    flags.DEFINE_string(
        "scale",
        "",
        "digits, or a share of the steps such as 0.01: images and epochs by its square root",
    )
    flags.DEFINE_float("narrow", 1.0, "with --scale: divides all widths")
    flags.DEFINE_enum("precision", "", ["", *PRECISIONS], "default float32")
    flags.DEFINE_bool("table", False, "only print the results of existing runs")
    flags.DEFINE_bool("time", False, "only time a few steps, to estimate the hours of rows")
    flags.DEFINE_integer("time_batch", 0, "with --time: images per step; default the recipe's", 0)
    flags.DEFINE_string("markdown", None, "file for the tables, as a document")
    flags.DEFINE_string("json", None, "file for the results; default results.json in --workdir")
    program.run(main, trains=True)
