"""The program of docs/training.md for several processes with JAX does what the page says."""

import ast
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import keras
import pytest

if keras.config.backend() != "jax":
    pytest.skip("the program is one of JAX", allow_module_level=True)
pytest.importorskip("sklearn", reason="the digits are scikit-learn's")

REPOSITORY = Path(__file__).parents[2]
PAGE = (REPOSITORY / "docs" / "training.md").read_text(encoding="utf-8")


def run(program, count, folder, devices=1):
    """What each of `count` processes prints."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    flags = f"--xla_force_host_platform_device_count={devices}"
    folder.mkdir()
    processes = [
        subprocess.Popen(
            [sys.executable, str(program), f"127.0.0.1:{port}", str(rank), str(count)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), "XLA_FLAGS": flags},
        )
        for rank in range(count)
    ]
    said = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * count
    return [ast.literal_eval(text.splitlines()[-1]) for text in said]


@pytest.mark.slow
def test_two_processes_have_the_losses_of_one(tmp_path):
    [text] = re.findall("```python\n(.*?)```", PAGE, re.DOTALL)
    program = tmp_path / "program.py"
    assert text.count("WideResNet(10, 1,") == 1
    program.write_text(text.replace("WideResNet(10, 1,", "WideResNet(10, 0.25,"))
    first, second = run(program, 2, tmp_path / "two")
    [alone] = run(program, 1, tmp_path / "one", devices=2)
    assert len(alone) == 2 and first == second
    assert first == pytest.approx(alone, rel=1e-6)
    assert (tmp_path / "two" / "wrn.keras").exists()
