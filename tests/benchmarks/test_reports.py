"""What the benchmarks report: each ratio is to the right peer, in the same rounds."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tiny_run import change_card, random_images, write_run

from keras_wrn.errors import InputError
from keras_wrn.inference import own_images

FOLDER = Path(__file__).parents[2] / "benchmarks"


def _card(folder, recipe, error):
    change_card(
        write_run(folder),
        recipe={"dataset": "digits", "depth": 10, "epochs": 4, **recipe},
        steps=40,
        epochs=4,
        hours=0.5,
        hardware="a processor",
        metrics={"n": 360, "error": error},
    )
    return str(folder)


def test_a_card_of_an_older_version_and_a_new_one_are_runs_of_one_recipe(tmp_path, bench):
    accuracy = bench("accuracy_per_flop")
    old = _card(tmp_path / "old", {"width": 1, "seed": 1}, 0.10)
    new = {"width": 1.0, "seed": 2, "held_out": 0, "evaluate_every": 2}
    rows = accuracy.measured([old, _card(tmp_path / "new", new, 0.12)])
    assert [accuracy.summary(row["errors"]) for row in rows] == ["11.00 ± 1.41 (10.00, 12.00)"]
    other = _card(tmp_path / "other", new | {"held_out": 100}, 0.13)
    rows = accuracy.measured([old, other])
    assert [accuracy.summary(row["errors"]) for row in rows] == [
        "10.00 (10.00)",
        "13.00 (13.00)",
    ]


def test_an_image_is_measured_with_its_mirror_image(tmp_path, bench, monkeypatch):
    from keras_wrn.inference import classifier

    images, seen = random_images(20, seed=3), []

    def probabilities(model, of, preprocessing):
        seen.append(of)
        # Right about the images themselves by little, wrong about their mirror images by much.
        return np.tile([0.6, 0.4] if len(seen) % 2 else [0.1, 0.9], (len(of), 1))

    monkeypatch.setattr(classifier, "class_probabilities", probabilities)
    test = SimpleNamespace(test=(images, np.zeros(20, np.int64)))
    monkeypatch.setattr(own_images, "images_of", lambda trained, split: test)
    folder = write_run(tmp_path / "run")
    assert bench("accuracy_per_flop").mirrored_error(str(folder)) == 100.0
    assert (seen[0] == images).all()
    assert (seen[1] == images[:, :, ::-1]).all()


def test_a_prediction_follows_the_law_that_the_runs_follow(bench):
    accuracy = bench("accuracy_per_flop")
    of_image = {width: 6e6 * width**2 for width in (1, 2, 4)}
    rows = [
        {
            "name": f"WRN-16-{width}, {images:.0e}",
            "recipe": {"dataset": "cifar10", "depth": 16, "width": float(width)},
            "flop_of_an_image": of_image[width],
            "pflop": of_image[width] * images / 1e15,
            "errors": [4e5 * of_image[width] ** -0.2 * images**-0.5] * 2,
        }
        for width, images in ((1, 1e6), (1, 4e6), (2, 1e6), (2, 4e6), (4, 4e6))
    ]
    promise = accuracy.predict(rows, (28, 10), 30.0)
    of_28_10 = 6 * 5_243_336_960
    law = 4e5 * of_28_10**-0.2 * (30e15 / of_28_10) ** -0.5
    assert promise["error"] == pytest.approx(law, rel=1e-3)
    assert promise["least"] == pytest.approx(promise["most"], rel=1e-6)
    assert promise["off"] == pytest.approx(0, abs=1e-9)
    assert promise["epochs"] == pytest.approx(19.07, rel=1e-2)
    # The paper: 5.02 for WRN-16-4, 4.00 for WRN-28-10; it did not train the other two.
    of_16_4 = 4e5 * of_image[4] ** -0.2 * (30e15 / of_28_10) ** -0.5
    by_ratio = {"WRN-16-4, 4e+06": pytest.approx(of_16_4 * 4.00 / 5.02, rel=1e-3)}
    assert promise["by_ratio"] == by_ratio
    assert accuracy.predict(rows, (28, 2), 30.0)["by_ratio"] == {}
    for row in rows:
        row["recipe"]["dataset"] = "cifar100"
    assert accuracy.predict(rows, (28, 10), 30.0)["by_ratio"] == {}
    for few in (rows[:2], [rows[0], rows[2]], rows[:3]):
        with pytest.raises(InputError, match="two lengths"):
            accuracy.predict(few, (28, 10), 30.0)


@pytest.mark.parametrize("texts", [["30", "much"], ["30", "0"], ["-1"], ["inf"], ["nan"], []])
def test_operations_are_numbers_above_0(bench, texts):
    with pytest.raises(InputError, match=f"above 0. Received: {', '.join(texts)}"):
        bench("accuracy_per_flop").budgets_of(texts)
    assert bench("accuracy_per_flop").budgets_of(["30", "67.5"]) == [30.0, 67.5]


@pytest.fixture
def engines(bench):
    """Engines of each kind, and seconds an image of each in two rounds."""
    engine = bench("engines").Engine
    kinds = {
        "Keras": engine(len),
        "file": engine(len, megabytes=2.5),
        "half": engine(len, "bfloat16"),
        "byte": engine(len, "int8"),
        "peer": engine(len, answers=False),
        "peer, compiled": engine(len, answers=False),
        "peer, half": engine(len, "bfloat16", answers=False),
    }
    seconds = {
        "Keras": [4.0, 4.0],
        "file": [2.0, 4.0],
        "half": [1.0, 2.0],
        "byte": [0.5, 0.5],
        "peer": [6.0, 6.0],
        "peer, compiled": [3.0, 5.0],
        "peer, half": [2.0, 1.0],
        "multiply-adds alone, float32": [1.0, 1.0],
        "multiply-adds alone, bfloat16": [1.0, 1.0],
    }
    return kinds, bench("interleaved").Timings(seconds)


def test_an_engine_is_compared_with_the_fastest_torch_of_its_precision(engines, bench):
    against = {of: bench("engines").against_torch(of, *engines) for of in engines[0]}
    assert against == {
        "Keras": (1.0, 0.75, 1.25),
        "file": (1.375, 1.25, 1.5),
        "half": (1.25, 0.5, 2.0),
        "byte": (3.0, 2.0, 4.0),  # against any
        "peer": None,
        "peer, compiled": None,
        "peer, half": None,
    }
    ours = {of: engine for of, engine in engines[0].items() if engine.answers}
    assert bench("engines").against_torch("Keras", ours, engines[1]) is None


def test_the_share_of_the_limit_is_of_the_fastest_that_is_not_a_peer(engines, bench):
    text = bench("inference").shares(*engines, 12, {"float32": 40.0, "bfloat16": 20.0})
    # 12 operations in 2 or 4 seconds, and 40 in 1; 12 in 1 or 2, and 20 in 1.
    assert text == (
        "Share of the rate of multiply-adds alone: "
        "float32: file 11% (8% to 15%); bfloat16: half 45% (30% to 60%)"
    )
    assert bench("inference").shares(*engines, 12, {}).endswith(": not measured")


def test_the_table_of_speeds_has_sizes_of_files_and_the_ratio_to_torch(bench):
    fact = {
        "engine": "file",
        "megabytes": 2.5,
        "images_per_second": {8: 1234.5},
        "ratio": {8: (2.0, 1.0, 3.0)},
        "pytorch": {8: (1.5, 1.25, 1.75)},
        "latency_ms": (1.0, 2.0),
    }
    peer = fact | {"engine": "peer", "megabytes": None, "pytorch": {8: None}}
    rows = bench("inference").speeds([fact, peer], [8]).splitlines()[2:]
    speed = "1,234 | 2.00 (1.00 to 3.00)"
    assert rows[0] == f"| file | 2.50 | {speed} | 1.50 (1.25 to 1.75) | 1.00 | 2.00 |"
    assert rows[1] == f"| peer | - | {speed} | - | 1.00 | 2.00 |"


def test_a_batch_has_its_size_where_there_are_fewer_images(bench):
    images = random_images(3)
    batch = bench("inference").batch_of(images, 8)
    assert batch.shape == (8, 32, 32, 3)
    assert (batch[3:6] == images).all()


@pytest.mark.parametrize(
    ("change", "peer"),
    [
        ({}, (16, 4)),
        ({"input_shape": [64, 64, 3]}, None),
        ({"width": 0.5}, None),
        ({"block": "B(3,1)"}, None),
        ({"blocks_per_group": 2}, None),
    ],
)
def test_torch_is_a_peer_of_the_papers_cifar_networks_alone(change, peer, bench):
    network = {"depth": 16, "width": 4.0, "block": "B(3,3)", "input_shape": [32, 32, 3]}
    assert bench("engines").peer_of(network | change) == peer


def test_torchs_network_is_cast_once_and_never_eager_in_silence(bench, monkeypatch):
    torch = pytest.importorskip("torch")
    peer, seen, told = bench("torch_peer"), [], {}

    class Spy(peer.WideResNet):
        def forward(self, x):
            seen.append((x.dtype, self.stem.weight.dtype, torch.is_autocast_enabled("cpu")))
            return super().forward(x)

    monkeypatch.setattr(peer, "WideResNet", Spy)
    monkeypatch.setattr(torch, "compile", lambda model, **how: told.update(how) or model)
    for how in ({"bfloat16": True}, {"bfloat16": True, "autocast": True}, {"bfloat16": False}):
        peer.inference_run(10, 1, 2, channels_last=True, **how)()
    half, full = torch.bfloat16, torch.float32
    assert seen == [(half, half, False), (full, full, True), (full, full, False)]
    assert not told
    peer.inference_run(10, 1, 2, channels_last=True, compiled=True, **how)
    assert (told["dynamic"], told["fullgraph"]) == (False, True)


def test_figures_of_fresh_processes_are_compared_round_by_round(bench):
    start = bench("start")
    found = {
        "a: step": [2.0, None, 3.0],
        "a: step, PyTorch": [1.0, 5.0, 6.0],
        "a: step, stock Keras": [None, 2.0],
    }
    rows = start.table(found)
    assert rows[0] == ["a: step", "2.50", "2.00 to 3.00", 2, "1.25 (0.50 to 2.00)", "not measured"]
    assert rows[1][-2:] == ["-", "-"]


def test_memory_is_compared_with_each_peer_in_the_same_round(bench):
    found = {
        "training, batch 8, keras_wrn": [(100.0, 300.0), (100.0, 400.0)],
        "training, batch 8, PyTorch": [(50.0, 200.0), (50.0, 200.0)],
        "training, batch 8, stock Keras": [None, (100.0, 500.0)],
        "inference, batch 8, keras_wrn": [None, None],
    }
    rows = bench("memory").table(found)
    name = "training, batch 8, keras_wrn"
    ratios = ["1.75 (1.50 to 2.00)", "0.80 (0.80 to 0.80)"]
    assert rows[0] == [name, "350", "250", *ratios, 2]
    assert [row[3:5] for row in rows[1:]] == [
        ["-", "0.40 (0.40 to 0.40)"],
        ["2.50 (2.50 to 2.50)", "-"],
    ]


def test_the_weights_of_a_start_are_loaded_and_removed(tmp_path, bench):
    start = bench("start")
    for program, measured in (
        (start.OURS, ["build", "load weights"]),
        (start.STOCK_LOAD, ["load weights, stock Keras"]),
    ):
        code = start.SET_UP + program.format(depth=10, width=1)
        answer = bench("interleaved").in_a_fresh_process("start", code, {"TMPDIR": str(tmp_path)})
        assert list(answer) == measured
    assert not list(tmp_path.iterdir())


def test_the_network_that_users_get_is_what_is_imported_and_measured(bench):
    memory, code = bench("memory"), bench("start").IMPORTS["import"]
    code += "\nimport sys; assert 'keras_wrn.applications.wide_resnet' in sys.modules"
    code += memory.PEAK.format(depth=10, width=1, batch=2, precision="float32")
    code += memory.PROGRAMS["keras_wrn", "inference"]
    code += "assert {type(la).__module__.split('.')[0] for la in model.layers} == {'keras'}"
    imported, peak = bench("interleaved").in_a_fresh_process("inference", code + memory.END)
    assert 0 < imported <= peak


def test_more_gpus_wait_for_the_network_when_their_share_is_small(bench):
    scale_out = bench("scale_out")
    row = scale_out.row_named("28-10")
    given = {"speed": 3000.0, "per_node": 8, "inside": 240.0, "between": 25.0, "gradient_bytes": 4}
    one, eight, many = (
        scale_out.planned(row, gpus, batch=1024 // gpus, **given) for gpus in (1, 8, 512)
    )
    assert one.step == pytest.approx(1024 / 3000) and one.batch == eight.batch == many.batch
    assert eight.waiting == 0 and eight.efficiency == 1
    # A ring of 512 sends all but twice the 146 MB, in 1,022 messages.
    own, sent = 2 / 3000, 36479194 * 4 * 2 * 511 / 512 / 25e9 + 1022 * 5e-6
    assert many.waiting == pytest.approx(sent - own * 2 / 3)
    assert one.hours == pytest.approx(49 * 200 * 1024 / 3000 / 3600)
    with pytest.raises(InputError, match="--networks must be of the paper's tables"):
        scale_out.row_named("29-10")


def test_the_program_of_more_gpus_writes_its_figures(tmp_path):
    program = [sys.executable, str(FOLDER / "scale_out.py"), "--networks=28-10"]
    figures = tmp_path / "plans.json"
    subprocess.run([*program, "--gpus=1,8", f"--json={figures}"], check=True, capture_output=True)
    assert [plan["gpus"] for plan in json.loads(figures.read_text())["plans"]] == [1, 8]
    done = subprocess.run([*program, "--gpus=0"], check=False, capture_output=True, text=True)
    assert done.returncode == 2 and "Whole numbers from 1 are taken" in done.stderr


def test_runs_of_two_data_sets_have_no_curve_in_common(tmp_path, bench, monkeypatch):
    folders = [
        _card(tmp_path / name, {"dataset": name, "seed": 1}, 0.1) for name in ("cifar10", "svhn")
    ]
    flags_of = SimpleNamespace(predict="28-10", pflop=["30"], mirror=False)
    monkeypatch.setattr(bench("accuracy_per_flop").flags, "FLAGS", flags_of)
    with pytest.raises(InputError, match="--predict is for runs of one data set"):
        bench("accuracy_per_flop").measure(folders)
