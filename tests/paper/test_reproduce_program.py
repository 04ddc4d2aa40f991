"""recipes/reproduce.py as a person runs it: what it prints, writes and refuses."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import pytest
from paper_runs import row_of, write_card

REPOSITORY = Path(__file__).parents[2]
GENERATED = [
    page
    for page in sorted((REPOSITORY / "docs").glob("*.md"))
    if "<!-- Generated: `python recipes/reproduce.py" in page.read_text()
]


def reproduce(*arguments, cwd=REPOSITORY):
    """The program, as a person runs it."""
    return subprocess.run(
        [sys.executable, str(REPOSITORY / "recipes/reproduce.py"), *map(str, arguments)],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["table44"], "There is no experiment table44 here"),
        (["table4", "--rows", "b33"], "There is no row b33 here"),
        ([], "Say what to reproduce: table2"),
        (["table4", "--scale", "tiny"], "`scale` must be digits, or a share"),
        (["table4", "--narrow", "2"], "Give --scale too"),
    ],
)
def test_the_program_refuses_in_a_sentence(arguments, sentence):
    result = reproduce(*arguments, "--table")
    assert result.returncode == 2 and result.stdout == ""
    assert sentence in result.stderr and "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--time", "--scale", "digits"], "Leave --scale away"),
        (["--time", "--table"], "--table only prints existing runs. Leave --time away"),
        (["--table", "--runs", "3"], "--table only prints existing runs. Leave --runs away"),
        (["--time", "--runs", "3", "--data_dir", "d"], "Leave --runs, --data_dir away"),
        (["--dry_run", "--json", "a.json"], "--dry_run only builds and counts networks. Leave"),
        (["--dry_run", "--runs=2"], "--dry_run only builds and counts networks. Leave --runs"),
        (["--time_batch", "8"], "--time_batch is for --time"),
        (["figure4", "--time"], "Figure 4 is timed without this flag. Leave --time away"),
        (["--gpus_per_run", "2"], "--gpus_per_run is for --ray"),
        (["--ray", "auto", "--jobs", "2"], "--ray places the runs on its nodes. Leave --jobs"),
        (["figure4", "--ray", "auto"], "Figure 4 is timed on one machine. Leave --ray away"),
        (["--ray", "auto", "--table"], "--table only prints existing runs. Leave --ray away"),
    ],
)
def test_flags_that_would_be_ignored_are_refused(flags, sentence):
    done = reproduce("table4", *flags)
    assert done.returncode == 2 and sentence in done.stderr


def test_the_program_prints_and_writes_the_tables(tmp_path):
    write_card(tmp_path / "runs", row_of("table2", "b33"), 1, 5.5)
    options = ("--workdir", tmp_path / "runs", "--json", tmp_path / "a.json")
    result = reproduce("table2", "--table", *options, "--markdown", tmp_path / "a.md")
    assert result.returncode == 0, result.stderr
    assert "| 5.73 | 5.50 | 1 | 67.5 s/epoch | 36.0 | 2.00 |" in result.stdout
    document = (tmp_path / "a.md").read_text()
    elsewhere = f" --workdir {tmp_path / 'runs'}"  # whose runs they are is nobody else's business
    assert result.stdout.count(elsewhere) == 6
    assert document.startswith("# The paper's experiments")
    assert document.endswith(result.stdout.replace(elsewhere, ""))
    rows = json.loads((tmp_path / "a.json").read_text())["rows"]
    assert [row["ours"] == "not measured" for row in rows] == [True] * 4 + [False, True]


@pytest.mark.skipif(
    keras.config.backend() != "tensorflow", reason="counts do not depend on the backend"
)
def test_the_dry_run_needs_no_data(tmp_path):
    result = reproduce("table6", "--rows", "16-4,16-8", "--dry-run", "--workdir", tmp_path / "none")
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == [
        "table6/16-4-cifar10: 2,748,890 parameters, 392,612,352 multiply-adds, right",
        "table6/16-4-cifar100: 2,772,020 parameters, 392,635,392 multiply-adds, right",
        "table6/16-4-svhn: 2,748,890 parameters, 392,612,352 multiply-adds, right",
        "table6/16-8-svhn: 10,961,370 parameters, 1,548,145,664 multiply-adds, "
        "right (11.0M in the paper)",
    ]
    assert not (tmp_path / "none").exists()
    result = reproduce("figure4", "--dry-run")
    assert [line.split(": ")[0] for line in result.stdout.splitlines()] == [
        *("table5/pre-resnet-164-cifar10", "table5/pre-resnet-1001-cifar10"),
        *("table4/40-4-cifar10", "table4/16-10-cifar10", "table4/28-10-cifar10"),
    ]


@pytest.mark.parametrize("page", GENERATED, ids=lambda page: page.name)
def test_the_published_tables_are_those_of_the_runs(page, tmp_path):
    pytest.importorskip("matplotlib")
    left = shutil.ignore_patterns("published", "_build", "*.npz")
    shutil.copytree(REPOSITORY / "docs", tmp_path / "docs", ignore=left)
    published = page.read_text()
    [command] = re.findall("Generated: `python recipes/reproduce.py (.*?)`", published, re.DOTALL)
    result = reproduce(*shlex.split(command), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / page.relative_to(REPOSITORY)).read_text() == published


def test_a_damaged_result_is_a_sentence(tmp_path):
    (write_card(tmp_path, row_of("table4", "16-8"), 1, 4.8) / "card.json").write_text("{")
    result = reproduce("table4", "--table", "--workdir", tmp_path)
    assert result.returncode == 2 and "Traceback" not in result.stderr
    assert "card.json is damaged" in result.stderr
