"""Several devices train as one does, each draws for itself, and a killed run goes on exactly."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from keras_wrn.errors import InputError
from keras_wrn.training import devices
from keras_wrn.training.batches import even_batch
from keras_wrn.training.recipe import Recipe

if keras.config.backend() == "torch":
    pytest.skip("Torch trains on one device", allow_module_level=True)

REPOSITORY = Path(__file__).parents[2]
PROGRAM = REPOSITORY / "tests" / "helpers" / "device_runs.py"
ON_TENSORFLOW = keras.config.backend() == "tensorflow"
COUNTS = (2, 3) if ON_TENSORFLOW else (2,)
KILLED = 2  # the number of devices whose run is killed and goes on
CLOCKS = {"seconds", "images_per_second"}


def run(count, folder, *tasks):
    return subprocess.run(
        [sys.executable, str(PROGRAM), str(count), str(folder), *tasks],
        check=False,
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        # What XLA compiles without its optimisations is not the same to the last bit each time.
        env={
            **os.environ,
            "KERAS_BACKEND": keras.config.backend(),
            "JAX_DISABLE_MOST_OPTIMIZATIONS": "0",
        },
    )


def compared(count):
    """The run whose figures are compared with one device's."""
    return "sam" if ON_TENSORFLOW and count == 2 else "alike"


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """The folder of the runs on one device."""
    folder = tmp_path_factory.mktemp("one")
    program = run(1, folder, *(["sam"] if ON_TENSORFLOW else []), "alike")
    assert program.returncode == 0, program.stderr
    assert "devices" not in program.stderr
    (folder / "printed").write_text(program.stdout, encoding="utf-8")
    return folder


@pytest.fixture(scope="module", params=COUNTS)
def several(request, tmp_path_factory):
    """The number of devices, the folder of the runs on them, and what these print."""
    count, folder, tasks = request.param, tmp_path_factory.mktemp(f"on-{request.param}"), []
    if count == KILLED:
        killed = run(count, folder, "kill")
        assert killed.returncode == -9, killed.stderr
        assert (folder / "killed" / "state.npz").exists()
        tasks = ["finish", "whole"]
    program = run(count, folder, *tasks, compared(count))
    assert program.returncode == 0, program.stderr
    assert f"training on {count} devices" in program.stderr
    assert ("resuming after step 7" in program.stderr) == (count == KILLED)
    return count, folder, program.stdout


def history(folder):
    with (folder / "history.csv").open(newline="", encoding="utf-8") as file:
        return [{k: v for k, v in row.items() if k not in CLOCKS} for row in csv.DictReader(file)]


def weights(folder):
    arrays = {}

    def keep(name, item):
        if isinstance(item, h5py.Dataset):
            arrays[name] = item[()]

    with h5py.File(folder / "model.weights.h5") as file:
        file.visititems(keep)
    return arrays


@pytest.mark.parametrize("several", [KILLED], indirect=True)
def test_a_killed_run_goes_on_bit_equal(several):
    _, folder, _ = several
    assert history(folder / "killed") == history(folder / "whole")
    ours, theirs = weights(folder / "killed"), weights(folder / "whole")
    assert ours.keys() == theirs.keys() and ours
    for name, array in ours.items():
        np.testing.assert_array_equal(array, theirs[name], err_msg=name)


def test_several_devices_train_and_validate_as_one_does(one, several):
    count, folder, _ = several
    name = compared(count)
    [ours], [theirs] = history(folder / name), history(one / name)
    for key in ("loss", "error", "val_error"):
        assert float(ours[key]) == pytest.approx(float(theirs[key]), rel=1e-4), key
    # Moving variances round differently on several devices, and are young after three steps.
    assert float(ours["val_loss"]) == pytest.approx(float(theirs["val_loss"]), rel=1e-3)
    reference = weights(one / name)
    arrays = weights(folder / name)
    for name, array in arrays.items():
        np.testing.assert_allclose(array, reference[name], atol=2e-3, err_msg=name)
    # Sums over several devices round differently: these were not all runs on one.
    assert any((reference[name] != array).any() for name, array in arrays.items())


def confusions(printed):
    """The matrices of all validations."""
    lines = [line for line in printed.splitlines() if line.startswith('{"confusion"')]
    return [np.array(json.loads(line)["confusion"]) for line in lines]


def test_several_devices_count_every_image_once(one, several):
    """In the confusion matrix that TensorBoard gets."""
    count, _, printed = several
    ours, theirs = confusions(printed)[-1], confusions((one / "printed").read_text("utf-8"))
    assert ours.sum() == 361
    theirs = theirs[0 if compared(count) == "sam" else -1]
    assert np.trace(ours) == np.trace(theirs)
    # Rounding may move an image that lies between two classes.
    assert np.abs(ours - theirs).sum() <= 4


@pytest.mark.parametrize("several", [KILLED], indirect=True)
def test_the_card_says_whose_statistics_are_kept(several):
    count, folder, _ = several
    kept = json.loads((folder / "whole" / "card.json").read_text(encoding="utf-8"))["kept"]
    ours = f"; batch normalisation's statistics are those of the first of {count} devices"
    assert kept == "the moving average" + (ours if ON_TENSORFLOW else "")
    synchronized = json.loads((folder / compared(count) / "card.json").read_text(encoding="utf-8"))
    assert synchronized["kept"] == "the last epoch"


@pytest.mark.skipif(not ON_TENSORFLOW, reason="JAX draws for the whole batch at once")
@pytest.mark.parametrize("several", [KILLED], indirect=True)
def test_each_device_draws_for_itself(several):
    count, _, printed = several
    seeds = json.loads(next(line for line in printed.splitlines() if "seeds" in line))["seeds"]
    assert seeds
    for copies in seeds:
        first, draws = copies[0]
        assert copies == [[first + replica, draws] for replica in range(count)]
        assert draws > 0


def test_the_batch_must_divide(monkeypatch):
    monkeypatch.setattr(devices, "_devices", lambda: ["a", "b", "c"])
    with (
        pytest.raises(InputError, match="divide by 3. Received: batch_size=128"),
        devices.device_scope(Recipe()),
    ):
        pass


@pytest.mark.parametrize("images", [505, 502, 361, 360, 5, 2])
def test_batches_for_validation_fit_the_devices(monkeypatch, images):
    """TensorFlow splits each batch, and none may leave a device idle; JAX splits all or none."""
    monkeypatch.setattr(keras.config, "backend", lambda: "tensorflow")
    size = even_batch(images, 2, 100)
    assert size % 2 == 0 and images % size != 1
    for replicas in (3, 4, 8):
        size = even_batch(images, replicas, 100)
        share = -(-(images % size) // replicas)  # the last batch's of all devices but the last
        assert size % replicas == 0
        assert images % size > share * (replicas - 1) or size == replicas or images % size == 0
    monkeypatch.setattr(keras.config, "backend", lambda: "jax")
    size = even_batch(images, 2, 100)
    assert size in (99, 100) and (size % 2 == 0) == (images % 2 == 0)
