"""What the commands of the Makefile install, and what a source distribution holds."""

import shutil
import subprocess
import sys
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
    assert '".[bench,engines,serve]"' in said_by("make", "-nB", "bench")


def test_a_source_distribution_holds_what_is_tracked():
    files = said_by("git", "ls-files").splitlines()
    tracked = {Path(name).parts[0] for name in files}
    named = (ROOT / "MANIFEST.in").read_text().split()
    # The package and what builds it go without saying; what begins with a dot stays here.
    said = {"keras_wrn", "setup.py", "pyproject.toml", "MANIFEST.in", *named}
    assert sorted(name for name in tracked - said if not name.startswith(".")) == []
    assert sum((ROOT / name).stat().st_size for name in files) < 100_000_000  # PyPI's limit


def test_the_wheel_has_the_weights_once_and_stays_small(tmp_path):
    """PyPI takes 100 MB a file; what the Hub wants beside the weights stays out."""
    build = [sys.executable, "setup.py", "-q", "build_py", "--build-lib", str(tmp_path)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    if "No module named 'setuptools'" in done.stderr:
        pytest.skip("setuptools is not installed")
    assert done.returncode == 0, done.stderr
    folders = tmp_path / "keras_wrn" / "saved_models"
    for shipped in ROOT.glob("saved_models/*/card.json"):
        names = {path.name for path in (folders / shipped.parent.name).iterdir()}
        assert names == {"README.md", "card.json", "curves.png", "history.csv", "model.weights.h5"}
    packed = [path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()]
    assert sum(packed) < 100_000_000
