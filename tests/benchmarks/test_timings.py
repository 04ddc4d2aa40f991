"""What the benchmarks make of their timings, and what they refuse before they take any."""

import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


def test_a_variant_that_times_itself_is_taken_at_its_word(bench):
    interleaved = bench("interleaved")
    variants = {"own": lambda: interleaved.Spent(7.0, 8.0), "whole": lambda: time.sleep(0.02)}
    timings = interleaved.interleave(variants, rounds=2)
    assert timings.seconds["own"] == [7.0, 7.0]
    assert timings.cpu_seconds["own"] == [8.0, 8.0]
    assert all(0.02 <= seconds < 7 for seconds in timings.seconds["whole"])


def test_a_variant_that_may_fail_is_left_out_and_says_why(bench, capsys):
    interleave = bench("interleaved").interleave
    calls = []

    def late():
        calls.append(1)
        if len(calls) == 3:
            raise MemoryError("no room\nat all")

    timings = interleave({"late": late, "sound": lambda: None}, rounds=4, may_fail=["late"])
    assert len(calls) == 3
    assert timings.failed == {"late": "MemoryError: no room"}
    assert list(timings.seconds) == ["sound"]
    assert len(timings.seconds["sound"]) == 4
    assert capsys.readouterr().err == "late: not measured: MemoryError: no room\n"
    calls.clear()
    with pytest.raises(MemoryError):
        interleave({"late": late}, rounds=4)


def test_what_other_processes_did_is_said(bench, monkeypatch):
    interleaved = bench("interleaved")
    busy = iter([0.0, 10.0, 20.0, 30.0])
    monkeypatch.setattr(interleaved, "_busy", lambda: next(busy))
    timings = interleaved.interleave({"a": lambda: time.sleep(0.1)}, rounds=2, warm_ups=0)
    assert all(0 < share <= 100 for share in timings.others["a"])
    timings.others["a"] = [0.1, 0.2, 0.6]
    assert interleaved.company([timings]).endswith("used 0.20 of a core (median).")
    monkeypatch.setattr(interleaved, "_busy", lambda: None)
    timings = interleaved.interleave({"a": lambda: None}, rounds=1)
    assert interleaved.company([timings]).endswith("is not known.")


def test_the_processors_work_as_long_as_this_process_at_least(bench):
    busy = bench("interleaved")._busy
    before, own = busy(), time.process_time()
    if before is None:
        pytest.skip("only Linux has /proc/stat")
    while time.process_time() - own < 0.3:
        pass
    assert busy() - before > 0.2  # counted in hundredths


def test_of_a_fit_the_steps_after_the_first_are_timed(bench):
    class SlowStart(keras.utils.PyDataset):
        def __len__(self):
            return 3

        def __getitem__(self, index):
            if not index:
                time.sleep(1.0)
            return np.ones((2, 1), "float32"), np.ones((2, 1), "float32")

    inputs = keras.Input((1,))
    model = keras.Model(inputs, keras.layers.Dense(1)(inputs))
    model.compile("sgd", "mse")
    start = time.perf_counter()
    spent = bench("interleaved").fit_timed(model, SlowStart(), shuffle=False)
    assert time.perf_counter() - start > 1.0
    assert 0 < spent.seconds < 1.0


def test_smaller_batches_make_more_steps(bench):
    steps_of = bench("training_step").steps_of
    assert [steps_of(batch, 128, 6) for batch in (128, 32, 1)] == [6, 24, 200]
    assert steps_of(1, 128, 500) == 500


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["16-4"], "for what is on or off. Received: 16-4."),
        (["--json", "/dev/null/figures.json"], "--json cannot be written"),
        (["--json", str(FOLDER)], "--json must be a file, not a folder"),
    ],
)
def test_a_mistake_is_said_before_anything_is_measured(arguments, said):
    done = subprocess.run(
        [sys.executable, FOLDER / "scale.py", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert said in done.stderr
    assert not done.stdout


def test_a_package_that_is_not_installed_is_named_in_a_sentence(tmp_path):
    program = tmp_path / "program.py"
    program.write_text("from interleaved import run\nrun(lambda: __import__('absent.part'))\n")
    done = subprocess.run(
        [sys.executable, program],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(FOLDER), str(FOLDER.parent)])},
    )
    assert done.returncode == 2
    said = "This program needs absent, which is not installed. Run: pip install absent"
    assert done.stderr == f"{program}: {said}\n"


def test_the_gpu_benchmark_asks_for_jax_before_it_imports_it(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    done = subprocess.run(
        [sys.executable, FOLDER / "gpu.py"], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 2
    assert done.stderr.endswith("with KERAS_BACKEND=jax. Received: KERAS_BACKEND=torch.\n")


def test_a_failed_step_has_its_row_in_the_table_of_the_gpu(bench, monkeypatch):
    gpu, timings = bench("gpu"), bench("interleaved").Timings()
    options = SimpleNamespace(batch_size=8, steps=2, side=10, products=1)
    monkeypatch.setattr(gpu, "flags", SimpleNamespace(FLAGS=options))
    slow_peak, peak = gpu.MATRICES
    timings.seconds |= {gpu.OURS: [2.0], "PyTorch": [4.0], slow_peak: [3.0], peak: [1.0]}
    timings.failed["PyTorch, compiled"] = "OutOfMemoryError: 1 GB"
    rows = gpu._rows("10-1", timings, flop=1000)
    assert rows == [
        ["WRN-10-1", gpu.OURS, "8 (8 to 8)", "25%", "1.00 (1.00 to 1.00)"],
        ["WRN-10-1", "PyTorch", "4 (4 to 4)", "12%", "2.00 (2.00 to 2.00)"],
        ["WRN-10-1", "PyTorch, compiled", "not measured: OutOfMemoryError: 1 GB", "", ""],
    ]


def test_the_fits_find_what_they_are_made_of(bench):
    scale = bench("scale")
    middle = {
        f"16-{k}": {"step": 3.0 * k**1.5, "mb": 30.0 + 60 * k, "build": 0, "first": 0}
        for k in (1, 2, 4, 8)
    }
    time_line, memory_line = scale._fits(middle).split("\n")[1:]
    assert "to the power of 1.50, off by 0% at most; 1.50, 1.50, 1.50 from" in time_line
    assert memory_line.endswith("+60 MB for each, +30 at none, off by 0% at most")


def test_a_ratio_of_processes_is_of_rounds_in_which_both_were_measured(bench):
    found = {"thin": [{"step": 3.0}, None, {"step": 8.0}], "wide": [{"step": 1.0}] * 3}
    over = bench("scale")._over
    assert over(found, "thin", "wide", "step") == "5.50 (3.00 to 8.00)"
    assert over(found, "thin", "absent", "step") == ""


def test_a_setting_that_is_many_times_as_slow_is_timed_once(bench, monkeypatch):
    settings = bench("settings")
    seconds = {settings.NOTHING: 1.0, "slow": 2.0, "hopeless": 9.0}
    flags = {key: SimpleNamespace(value=1) for key in ("batch_size", "steps", "repeats")}
    flags |= {key: SimpleNamespace(value=settings.OURS) for key in ("precision", "step")}
    options = type("Options", (), {"__getitem__": lambda self, key: flags[key]})()
    options.step, options.rounds = settings.OURS, 3
    monkeypatch.setattr(settings, "flags", SimpleNamespace(FLAGS=options))
    monkeypatch.setattr(settings, "SETTINGS", {name: {} for name in seconds})
    monkeypatch.setattr(
        settings,
        "in_a_fresh_process",
        lambda name, code, environment: [[seconds[name.split(", ")[1]]] * 3] * 2,
    )
    found = settings._time(10, 1, list(seconds))
    assert found["slow"] == [(2.0, 2.0)] * 3
    assert found["hopeless"] == [(9.0, 9.0), None, None]
