"""What the commands of the Makefile install, and what a source distribution holds."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def said_by(*command):
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{' '.join(command)}: {done.stderr}")
    return done.stdout


def test_the_demo_installs_what_it_needs_and_no_more():
    installed = [
        line for line in said_by("make", "-nB", "demo").splitlines() if "pip install" in line
    ]
    assert [line.rpartition(" ")[2] for line in installed] == ['".[tf-cpu,train]"']
    assert '".[dev]"' in said_by("make", "-nB", "check")
    assert '".[bench,engines]"' in said_by("make", "-nB", "bench")


def test_a_source_distribution_holds_what_is_tracked():
    tracked = {Path(name).parts[0] for name in said_by("git", "ls-files").splitlines()}
    named = (ROOT / "MANIFEST.in").read_text().split()
    # The package and what builds it go without saying; what begins with a dot stays here.
    said = {"keras_wrn", "setup.py", "pyproject.toml", "MANIFEST.in", *named}
    assert sorted(name for name in tracked - said if not name.startswith(".")) == []
