"""The how-to pages: their commands, in the pages' order, print what the pages show."""

import doctest
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import pytest
from image_folders import write_folder

from keras_wrn.cli import main

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs" / "howto"
# The backends that a page is run on, and the packages that it needs beside them.
NEEDS = {
    "cluster": (("tensorflow",), ("sklearn",)),
    "export": (("tensorflow",), ("sklearn", "tensorflow_serving", "tf2onnx", "onnxruntime")),
    "folder": (("tensorflow",), ()),
    "gpus": (("jax",), ("sklearn",)),
    "publish": (("tensorflow", "jax"), ("sklearn", "matplotlib")),
    "quantise": (("tensorflow",), ("sklearn", "ai_edge_litert", "openvino")),
    "resume": (("tensorflow",), ("sklearn",)),
}
BLOCK = re.compile(r"^```(console|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INTERRUPT = "^C\n"
SHELL = 'keras-wrn() { python -m keras_wrn "$@"; }\n'
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def steps(block):
    """Pairs of a command of a console block and what the page shows below it."""
    return re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE)


def environment():
    folder = Path(sys.executable).parent
    return os.environ | {
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "KERAS_BACKEND": keras.config.backend(),
    }


def in_bash(script, *, interrupted=False):
    """What a script prints, on both streams, and its status."""
    process = subprocess.Popen(
        ["bash", "-c", SHELL + script if not interrupted else f"exec {script}"],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    history = Path("RUN", "history.csv")
    while interrupted and not (history.exists() and len(history.read_text().splitlines()) > 1):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.005)
    if interrupted:
        process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=300)
    return out, process.returncode


def here(command, capsys):
    """The same of a command of ours, in this process."""
    program, *words = shlex.split(command, comments=True)
    if program == "ls":
        return in_bash(command)
    assert program == "keras-wrn"
    status = main.main(main.parse(words))
    out, error = capsys.readouterr()
    return error + out, status


def check(command, wanted, found, status):
    mistake = re.search(r"^(keras-wrn|recipes/\w+\.py): ", wanted, re.MULTILINE)
    expected = 128 + signal.SIGINT if wanted.startswith(INTERRUPT) else 2 if mistake else 0
    assert status == expected, found
    wanted = wanted.removeprefix(INTERRUPT)
    if wanted:
        same = doctest.OutputChecker().check_output(wanted, found, OPTIONS)
        assert same, f"{command}\n--- the page\n{wanted}\n--- here\n{found}"


def run_block(block, capsys):
    """Run a console block: ours here, others in Bash, a command that is interrupted alone."""
    parts = steps(block)
    assert parts, block
    if all(re.match("keras-wrn |ls ", command) for command, _ in parts):
        for command, wanted in parts:
            check(command, wanted, *here(command, capsys))
    elif any(wanted.startswith(INTERRUPT) for _, wanted in parts):
        for command, wanted in parts:
            stops = wanted.startswith(INTERRUPT)
            check(command, wanted, *in_bash(command, interrupted=stops))
    else:
        script = "\n".join(command for command, _ in parts)
        check(script, "".join(wanted for _, wanted in parts), *in_bash(script))


@pytest.mark.slow
@pytest.mark.parametrize("page", NEEDS)
def test_the_commands_of_a_page_print_what_it_shows(page, tmp_path, monkeypatch, capsys):
    backends, packages = NEEDS[page]
    if keras.config.backend() not in backends:
        pytest.skip(f"the page runs on {' and '.join(backends)}")
    for package in packages:
        pytest.importorskip(package, reason=f"{package} is not installed")
    if shutil.which("bash") is None:
        pytest.skip("there is no bash")
    monkeypatch.chdir(tmp_path)
    Path("recipes").symlink_to(ROOT / "recipes")
    if page == "folder":
        write_folder(Path("insects"))
    elif page in ("export", "publish", "quantise"):
        shutil.copytree(ROOT / "saved_models" / "wrn-16-1-digits", "RUN")
    blocks = BLOCK.findall((PAGES / f"{page}.md").read_text("utf-8"))
    assert blocks
    for language, block in blocks:
        if language == "python":
            exec(block, {})
            capsys.readouterr()
        else:
            run_block(block, capsys)


def test_every_page_is_run():
    assert sorted(path.stem for path in PAGES.glob("*.md")) == sorted(NEEDS)
