"""Run folders: whose they are, and files that are whole or not there."""

import json
import os
import shutil
import subprocess
import sys
import threading
import types
from pathlib import Path

import keras
import numpy as np
import pytest
from absl import logging

from keras_wrn.errors import InputError
from keras_wrn.system import locks, machine
from keras_wrn.system.files import write_whole
from keras_wrn.training import run_folder, run_lock

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


def test_a_full_disk_is_said_with_the_file(tmp_path):
    def full_disk(part):
        raise OSError("3211264 requested and 0 written")  # NumPy's own words have no number

    with pytest.raises(OSError, match=r"card.json could not be written: 3211264 requested"):
        write_whole(tmp_path / "card.json", full_disk)
    with pytest.raises(OSError, match="No space left") as caught:
        write_whole(tmp_path / "card.json", _no_space)
    assert caught.value.filename == str(tmp_path / "card.json")
    with pytest.raises(OSError, match="No such file") as caught:
        write_whole(tmp_path / "absent" / "card.json", lambda part: part.write_text("x"))
    assert caught.value.filename == str(tmp_path / "absent" / "card.json")


def test_files_are_on_the_disk_before_they_have_their_names(tmp_path, monkeypatch):
    order = []
    sync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda file: order.append("sync") or sync(file))
    monkeypatch.setattr(Path, "replace", lambda *a: order.append("name") or replace(*a))
    write_whole(tmp_path / "recipe.json", lambda part: part.write_text("{}"))
    assert order == ["sync", "name", "sync"]  # the file, its name, the folder


def test_what_a_kill_left_half_written_is_passed_over_and_removed(tmp_path):
    (tmp_path / ".part-123-recipe.json").write_text("{")
    (tmp_path / ".lock").write_text("")
    open_run(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["recipe.json"]


def test_a_damaged_state_is_logged(tmp_path, caplog):
    for step in (1, 2):
        run_folder.save_state(tmp_path, [np.zeros(2)], {"step": step})
    (tmp_path / "state.npz").write_bytes(b"half")
    logging.set_verbosity("warning")
    with caplog.at_level("WARNING", logger="absl"):
        assert run_folder.load_state(tmp_path)[1]["step"] == 1
    assert "state.npz" in caplog.text and "the state before it is used" in caplog.text


def test_a_folder_that_cannot_be_written_is_named_as_a_fresh_one_is(tmp_path, monkeypatch):
    open_run(tmp_path)

    open_file = Path.open

    def read_only(path, mode="r", **options):
        if set(mode) & set("wax+"):
            raise PermissionError(13, "Permission denied", str(path))
        return open_file(path, mode, **options)

    monkeypatch.setattr(Path, "open", read_only)
    with pytest.raises(PermissionError) as caught:
        open_run(tmp_path)
    assert caught.value.filename == str(tmp_path)


DATA = {
    "train": {"cat": {"images": 4, "content": "a"}, "dog": {"images": 4, "content": "b"}},
    "test": {"cat": {"images": 1, "content": "c"}, "dog": {"images": 1, "content": "d"}},
}


@pytest.mark.parametrize(
    ("split", "name", "value", "said"),
    [
        ("train", "bird", {"images": 2, "content": "e"}, "train class 'bird' is new"),
        ("train", "dog", {"images": 5, "content": "f"}, "train class 'dog' had 4 images and has 5"),
        ("test", "cat", {"images": 1, "content": "g"}, "test class 'cat' has other content"),
    ],
)
def test_a_run_does_not_go_on_with_other_data(tmp_path, split, name, value, said):
    def resume(data):
        with run_folder.open_run(tmp_path, DEFAULTS, DEFAULTS, data):
            pass

    resume(DATA)
    resume(DATA)
    changed = {**DATA, split: {**DATA[split], name: value}}
    with pytest.raises(InputError, match=f"data have changed since .*: {said}"):
        resume(changed)
    assert json.loads((tmp_path / "data.json").read_text()) == DATA


def test_a_run_folder_from_before_fingerprints_gets_one(tmp_path):
    open_run(tmp_path)
    with run_folder.open_run(tmp_path, DEFAULTS, DEFAULTS, DATA):
        assert json.loads((tmp_path / "data.json").read_text()) == DATA


def test_a_state_of_another_run_is_refused(tmp_path):
    for name, data in (("a", DATA), ("b", DATA), ("c", {**DATA, "test": {}})):
        options = {**DEFAULTS, "epochs": 200 if name != "b" else 3}
        with run_folder.open_run(tmp_path / name, options, DEFAULTS, data):
            run_folder.save_state(tmp_path / name, [np.zeros(2)], {"step": 1})
    assert run_folder.load_state(tmp_path / "a")[1]["step"] == 1
    shutil.copy(tmp_path / "b" / "state.npz", tmp_path / "a")
    with pytest.raises(InputError, match="state of another run: epochs is 3 there and 200 here"):
        run_folder.load_state(tmp_path / "a")
    shutil.copy(tmp_path / "c" / "state.npz", tmp_path / "a")
    with pytest.raises(InputError, match="state of another run: its data were other data"):
        run_folder.load_state(tmp_path / "a")


def test_a_state_of_another_network_is_a_sentence(tmp_path):
    arrays = [np.zeros((3, 3)), np.zeros(2)]
    run_folder.check_shapes(tmp_path, arrays, [(3, 3), (2,)])
    with pytest.raises(InputError, match="another network: 2 arrays there and 1 here"):
        run_folder.check_shapes(tmp_path, arrays, [(3, 3)])
    with pytest.raises(InputError, match=r"an array of shape \(2,\) there and \(4,\) here"):
        run_folder.check_shapes(tmp_path, arrays, [(3, 3), (4,)])


HOLDER = """
import sys, time
from pathlib import Path
from keras_wrn.training import run_lock
with run_lock.locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_one_process_trains_in_a_folder_and_a_killed_one_leaves_no_lock(tmp_path):
    open_run(tmp_path)
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        try:
            with pytest.raises(InputError, match=f"Another process .*: process {holder.pid} on "):
                run_folder.check_run(tmp_path, DEFAULTS, DEFAULTS)
            with (
                pytest.raises(InputError, match="Wait for it or stop it"),
                run_lock.locked(tmp_path),
            ):
                pass
        finally:
            holder.kill()
    assert (tmp_path / ".lock").exists()
    open_run(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["recipe.json"]


def test_a_look_at_a_lock_keeps_no_run_from_starting(tmp_path):
    if locks.fcntl is None:
        pytest.skip("this system has no flock")
    path = tmp_path / run_lock.LOCK_FILE
    path.touch()  # a killed process has left it
    with path.open() as looked_at:
        assert locks.take(looked_at)
        threading.Timer(0.02, looked_at.close).start()
        with run_lock.locked(tmp_path):
            pass


def test_on_windows_a_lock_that_stays_ends_no_run(tmp_path, monkeypatch):
    def held(path, missing_ok=False):
        raise PermissionError(13, "The process cannot access the file", str(path))

    monkeypatch.setattr(locks, "fcntl", None)
    monkeypatch.setattr(Path, "unlink", held)
    with run_lock.locked(tmp_path):
        pass
    with pytest.raises(KeyError), run_lock.locked(tmp_path):  # the run's own error
        raise KeyError("mine")


def test_a_look_at_a_lock_opens_it_for_writing(tmp_path, monkeypatch):
    """On NFS only such a file can be locked."""
    (tmp_path / run_lock.LOCK_FILE).touch()
    seen = []
    monkeypatch.setattr(locks, "take", lambda file: seen.append(file.writable()) or True)
    run_lock.refuse_if_locked(tmp_path)
    assert seen == [True]
