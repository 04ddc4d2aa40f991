"""Run folders: whose they are, and files that are whole or not there."""

import json
import sys
import types

import keras
import numpy as np
import pytest

from keras_wrn.errors import InputError
from keras_wrn.system import machine
from keras_wrn.system.files import write_whole
from keras_wrn.training import run_folder

DEFAULTS = {"depth": 28, "epochs": 200, "drop_epochs": [60, 120]}


def open_run(folder, **values):
    with run_folder.open_run(folder, {**DEFAULTS, **values}, DEFAULTS):
        pass


def test_a_new_folder_gets_its_recipe_and_the_same_recipe_may_come_back(tmp_path):
    open_run(tmp_path / "a" / "run", epochs=3)
    open_run(tmp_path / "a" / "run", epochs=3)
    assert json.loads((tmp_path / "a" / "run" / "recipe.json").read_text())["epochs"] == 3


def test_another_run_is_not_overwritten(tmp_path):
    open_run(tmp_path / "run", depth=16)
    with pytest.raises(InputError, match="already holds another run: depth is 16 there and 22"):
        open_run(tmp_path / "run", depth=22)
    assert json.loads((tmp_path / "run" / "recipe.json").read_text())["depth"] == 16


def test_an_option_that_is_newer_than_a_run_had_its_default_there(tmp_path):
    (tmp_path / "recipe.json").write_text('{"depth": 28, "epochs": 200}')
    open_run(tmp_path)
    with pytest.raises(InputError, match=r"drop_epochs is \[60, 120\] there and \[1\] here"):
        open_run(tmp_path, drop_epochs=[1])


def test_an_option_that_only_the_run_there_has_is_another_run(tmp_path):
    (tmp_path / "recipe.json").write_text(json.dumps({**DEFAULTS, "colour": "red"}))
    with pytest.raises(InputError, match="colour is 'red' there and None here"):
        open_run(tmp_path)


def test_a_history_has_a_row_an_epoch_and_blanks(tmp_path):
    rows = [{"epoch": 1, "loss": 2 / 3}, {"epoch": 2, "loss": 0.5, "mAP": 0.25}]
    run_folder.write_history(tmp_path, ("epoch", "loss", "mAP"), rows)
    text = (tmp_path / "history.csv").read_text()
    assert text.splitlines() == ["epoch,loss,mAP", "1,0.666667,", "2,0.5,0.25"]


def test_hardware_is_the_processor_and_each_accelerator(monkeypatch):
    with monkeypatch.context() as patch:
        patch.delitem(sys.modules, "keras")  # and no backend is imported to find out
        alone = machine.hardware()
    gpu = types.SimpleNamespace(device_type="GPU", device_kind="H100", platform="gpu")
    cpu = types.SimpleNamespace(device_type="CPU", device_kind="cpu", platform="cpu")
    if keras.config.backend() == "tensorflow":
        import tensorflow as tf

        monkeypatch.setattr(tf.config, "get_visible_devices", lambda: [cpu, gpu, gpu])
        details = {"device_name": "H100"}
        monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda _: details)
    else:
        import jax

        monkeypatch.setattr(jax, "devices", lambda: [cpu, gpu, gpu])
    assert machine.hardware() == f"{alone}, 2 x H100"


def test_strange_folders_are_left_alone(tmp_path):
    (tmp_path / "photo.png").write_bytes(b"x")
    with pytest.raises(InputError, match="not empty and holds no run"):
        open_run(tmp_path)
    with pytest.raises(InputError, match="is a file"):
        open_run(tmp_path / "photo.png")
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]


def test_a_damaged_recipe_is_named(tmp_path):
    (tmp_path / "recipe.json").write_text("{")
    with pytest.raises(InputError, match="recipe.json is damaged"):
        open_run(tmp_path)


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    target = tmp_path / "card.json"
    target.write_text("before")

    def full_disk(part):
        part.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_whole(target, full_disk)
    assert target.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["card.json"]


def test_states_come_back_and_the_one_before_is_kept(tmp_path):
    assert run_folder.load_state(tmp_path) is None
    for step in (1, 2):
        run_folder.save_state(tmp_path, [np.full((2, 3), step), np.arange(4)], {"step": step})
    arrays, facts = run_folder.load_state(tmp_path)
    assert facts == {"step": 2}
    np.testing.assert_array_equal(arrays[0], np.full((2, 3), 2))

    (tmp_path / "state.npz").write_bytes((tmp_path / "state.npz").read_bytes()[:100])
    arrays, facts = run_folder.load_state(tmp_path)
    assert facts == {"step": 1}

    (tmp_path / "state.previous.npz").write_bytes(b"")
    with pytest.raises(InputError, match="is damaged"):
        run_folder.load_state(tmp_path)
    run_folder.forget_state(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_state_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    run_folder.save_state(tmp_path, [np.zeros(2)], {"step": 1})
    monkeypatch.setattr(np, "savez", _no_space)
    with pytest.raises(OSError, match="No space"):
        run_folder.save_state(tmp_path, [np.ones(2)], {"step": 2})
    assert run_folder.load_state(tmp_path)[1] == {"step": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["state.npz"]


def _no_space(*_, **__):
    raise OSError(28, "No space left on device")
