"""`train`: what it leaves, and that it goes on where it stopped."""

import csv
import json
import signal

import h5py
import keras
import numpy as np
import pytest
from board_logs import board_logs

from keras_wrn.errors import InputError, Interrupted
from keras_wrn.inference.trained import load_trained
from keras_wrn.system.files import sha256
from keras_wrn.training import devices, run_folder, run_keeper, sharpness_aware
from keras_wrn.training import run as training
from keras_wrn.training.recipe import Recipe

ON_TENSORFLOW = keras.config.backend() == "tensorflow"
pytestmark = pytest.mark.usefixtures("no_pictures")
SMALL = Recipe(
    dataset="digits",
    depth=10,
    width=1,
    dropout=0.3,
    epochs=3,
    drop_epochs=(2, 3),
    batch_size=32,
    train_images=256,
    learning_rate=0.05,
    flip=False,
)


@pytest.fixture(scope="module")
def small_run(tmp_path_factory):
    """A run from beginning to end, its pictures included."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    return folder, training.train(SMALL, folder)


def _weights(folder):
    arrays = {}
    with h5py.File(folder / "model.weights.h5") as file:
        file.visititems(
            lambda name, item: (
                arrays.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None
            )
        )
    return arrays


def _history(folder):
    with (folder / "history.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_leaves_everything_about_itself(small_run):
    folder, card = small_run
    names = {path.name for path in folder.iterdir()}
    expected = {"recipe.json", "data.json", "card.json", "history.csv", "model.weights.h5"}
    expected |= {"curves.png", "predictions.png"}
    assert expected | {"logs"} == names
    assert card == json.loads((folder / "card.json").read_text())
    assert card["metrics"]["n"] == 360 and card["steps"] == 24
    assert card["parameters"] == 77_850
    assert Recipe.from_dict(card["recipe"]) == SMALL
    assert card["versions"]["keras"] == keras.__version__
    assert card["weights_sha256"] == sha256(folder / "model.weights.h5")


def test_the_history_has_a_row_an_epoch_with_the_rates_of_the_paper(small_run):
    rows = _history(small_run[0])
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3]
    assert [float(row["learning_rate"]) for row in rows] == pytest.approx([0.05, 0.01, 0.002])
    assert all(float(row["images_per_second"]) > 0 for row in rows)
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])


def test_the_card_tells_what_the_stored_weights_do(small_run):
    folder, card = small_run
    trained = load_trained(folder)
    from keras_wrn import datasets
    from keras_wrn.inference import evaluation

    metrics = evaluation.evaluate(
        trained.model, *datasets.load("digits").test, trained.preprocessing
    )
    assert metrics == pytest.approx(card["metrics"], abs=1e-5)


def test_tensorboard_has_loss_error_rate_speed_and_pictures(small_run):
    found = board_logs(small_run[0])
    wanted = ["epoch_loss", "epoch_error", "epoch_learning_rate", "epoch_images_per_second"]
    for name in [*(f"train/{tag}" for tag in wanted), "validation/epoch_error"]:
        assert list(found[name]) == [1, 2, 3], name
    assert list(found["train/augmented"]) == [0]
    rates = list(found["train/epoch_learning_rate"].values())
    assert rates == pytest.approx([0.05, 0.01, 0.002])


def test_a_finished_run_is_left_alone(small_run):
    folder, card = small_run
    before = (folder / "model.weights.h5").stat().st_mtime_ns
    assert training.train(SMALL, folder) == card
    assert (folder / "model.weights.h5").stat().st_mtime_ns == before


def _train_with_a_stop(recipe, folder, stop_after, monkeypatch):
    """Train, stop after a step as SIGTERM would, and go on in fresh objects."""
    count_step = run_keeper.RunKeeper.on_train_batch_end

    def stop(self, batch, logs=None):
        if self.step + 1 == stop_after:
            self._signal = signal.SIGTERM
        count_step(self, batch, logs)

    with monkeypatch.context() as patch:
        patch.setattr(run_keeper.RunKeeper, "on_train_batch_end", stop)
        with pytest.raises(Interrupted, match=f"after step {stop_after}"):
            training.train(recipe, folder)
    assert (folder / "state.npz").exists() and not (folder / "card.json").exists()
    with pytest.raises(InputError, match="not finished"):
        load_trained(folder)
    keras.backend.clear_session()
    return training.train(recipe, folder)


def count_traces(monkeypatch, model):
    """A list that is longer by one after each trace of the training step."""
    traced, step = [], model.train_step
    monkeypatch.setattr(model, "train_step", lambda *a: traced.append(1) or step(*a))
    return traced


slow_to_compile = pytest.mark.skipif(
    not ON_TENSORFLOW, reason="the same code as on TensorFlow, after minutes of compilation"
)


def test_an_interrupted_run_ends_as_if_it_had_not_been(small_run, tmp_path, monkeypatch):
    """Dropout, crops, order, momentum and its resets included: the weights are the same."""
    folder = tmp_path / "run"
    stop_after = 8 if ON_TENSORFLOW else 11  # at the end of an epoch, or in the middle of one
    card = _train_with_a_stop(SMALL, folder, stop_after, monkeypatch)
    assert card["steps"] == 24 and not (folder / "state.npz").exists()
    ours, theirs = _weights(folder), _weights(small_run[0])
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        np.testing.assert_allclose(array, theirs[name], rtol=1e-5, atol=1e-6, err_msg=name)
    for one, other in zip(_history(folder), _history(small_run[0]), strict=True):
        for key in ("epoch", "step", "loss", "error", "val_loss", "learning_rate"):
            assert float(one[key]) == pytest.approx(float(other[key]), rel=1e-4), key
    logged, whole = board_logs(folder), board_logs(small_run[0])
    norms = [tag for tag in whole if "_norm/" in tag]
    assert len(norms) == 10
    for tag in norms:
        if stop_after == 8 and "gradient" in tag:
            whole[tag].pop(1)  # its last step was in the process that was stopped
        assert logged[tag] == pytest.approx(whole[tag], rel=1e-4), tag


@slow_to_compile
def test_a_run_that_is_stopped_in_a_validation_ends_as_if_it_had_not_been(
    small_run, tmp_path, monkeypatch
):
    """In the second epoch, which begins with a reset of the momentum."""
    folder, validate = tmp_path / "run", run_keeper.RunKeeper.on_test_batch_end

    def stop(self, batch, logs=None):
        if self.step == 16:
            self._signal = signal.SIGINT
        validate(self, batch, logs)

    with monkeypatch.context() as patch:
        patch.setattr(run_keeper.RunKeeper, "on_test_batch_end", stop)
        with pytest.raises(Interrupted, match="after step 16"):
            training.train(SMALL, folder)
    assert len(_history(folder)) == 1
    keras.backend.clear_session()
    training.train(SMALL, folder)
    clocks = {"seconds", "images_per_second"}
    for one, other in zip(_history(folder), _history(small_run[0]), strict=True):
        assert {k: v for k, v in one.items() if k not in clocks} == {
            k: v for k, v in other.items() if k not in clocks
        }
    ours, theirs = _weights(folder), _weights(small_run[0])
    assert ours.keys() == theirs.keys() and ours
    for name, array in ours.items():
        np.testing.assert_array_equal(array, theirs[name], err_msg=name)


@slow_to_compile
def test_a_rate_that_is_too_high_ends_the_run_and_keeps_the_last_state(tmp_path):
    recipe = Recipe(**{**vars(SMALL), "width": 0.25, "learning_rate": 1e30, "epochs": 1})
    with pytest.raises(InputError, match=r"after step \d .* a learning rate of 1e\+30. .* kept in"):
        training.train(recipe, tmp_path / "run", save_every=0)
    arrays, facts = run_folder.load_state(tmp_path / "run")
    assert facts["step"] >= 1
    assert all(np.isfinite(a).all() for a in arrays if a.dtype.kind == "f")


@slow_to_compile
def test_every_ingredient_of_our_own_recipe_goes_on_exactly_too(tmp_path, monkeypatch):
    recipe = Recipe(
        **{**vars(SMALL), "schedule": "one_cycle", "drop_epochs": (), "average": 0.9}
        | {"train_sizes": (16, 32), "size_epochs": (2,), "cutout": 8, "mixup": 0.2}
        | {"flip": True, "alternating_flip": True, "policy": "trivial_augment"}
        | {"label_smoothing": 0.1, "vector_rate": 4.0, "sam": 0.05}
        | {"train_images": 128, "precision": "mixed_bfloat16"}
    )
    with monkeypatch.context() as patch:
        traced = count_traces(patch, sharpness_aware.SharpnessAwareModel)
        uninterrupted = training.train(recipe, tmp_path / "whole")
        assert len(traced) == 2  # once for each size
    # In the last size, and after the one time that the average takes the weights in.
    _train_with_a_stop(recipe, tmp_path / "stopped", 11, monkeypatch)
    assert uninterrupted["kept"] == "the moving average"
    ours, theirs = _weights(tmp_path / "stopped"), _weights(tmp_path / "whole")
    assert ours.keys() == theirs.keys() and ours
    for name, array in ours.items():
        np.testing.assert_allclose(array, theirs[name], rtol=1e-4, atol=1e-5, err_msg=name)


@slow_to_compile
def test_a_callback_that_stops_the_run_is_in_the_card(tmp_path, monkeypatch):
    traced = count_traces(monkeypatch, devices.ReplicatedModel)
    stop = keras.callbacks.EarlyStopping("learning_rate", patience=0, mode="max")
    card = training.train(SMALL, tmp_path / "run", callbacks=[stop])
    assert (card["epochs"], card["steps"], len(_history(tmp_path / "run"))) == (2, 16, 2)
    assert card["chosen_by"] == "a callback, before the 3 epochs of the recipe"
    assert len(traced) == 1


def test_a_full_disk_is_an_os_error_and_leaves_no_half_file(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(keras.Model, "save_weights", full)
    monkeypatch.setattr(training, "_fit", lambda *_: None)
    with pytest.raises(OSError, match="No space left"):
        training.train(SMALL, tmp_path / "run")
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert "card.json" not in names and not [name for name in names if "part" in name]


def test_more_images_a_step_than_there_are_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(InputError, match="`batch_size` must be at most .* 256"):
        training.train(Recipe(**{**vars(SMALL), "batch_size": 257}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_impossible_network_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(InputError, match="Nearest: 10, 16"):
        training.train(Recipe(**{**vars(SMALL), "depth": 12}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_padding_as_large_as_the_image_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(InputError, match="pad=32 for images of 32x32"):
        training.train(Recipe(**{**vars(SMALL), "pad": 32}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_is_the_same_whatever_precision_the_program_uses(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "_train", lambda *_: {"policy": keras.config.dtype_policy().name})
    keras.config.set_dtype_policy("mixed_bfloat16")
    assert training.train(SMALL, tmp_path / "run") == {"policy": "float32"}
    assert keras.config.dtype_policy().name == "mixed_bfloat16"
