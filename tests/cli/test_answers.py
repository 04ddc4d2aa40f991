"""Answers for programs, in JSON, and bars for people, on a terminal only."""

import json
import re

import pytest
from foreign_checkpoints import small_weights, write_npz
from foreign_networks import checkpoint, xternalz
from terminal import terminal

from keras_wrn.cli import main


def call(*words):
    return main.main(main.parse([str(word) for word in words]))


@pytest.mark.parametrize("command", main.EXAMPLES)
def test_every_command_has_an_answer_in_json(command, capsys):
    with pytest.raises(SystemExit):
        call(command, "--help")
    assert "--json" in capsys.readouterr().out


def test_a_person_sees_bars_and_a_program_none(run, image, tmp_path, monkeypatch, capsys):
    words = ("predict", run, *[image] * 3, "--json")
    with terminal(monkeypatch) as shown:
        assert call(*words) == 0
        assert call("evaluate", run, "--json") == 0
    assert re.search(r"Reading images .*3/3", shown())
    assert re.search(r"Images .*360/360 0:00:00", shown())
    first, second = capsys.readouterr().out.splitlines()
    assert len(json.loads(first)) == 3 and json.loads(second)["n"] == 360
    assert call(*words) == 0
    assert capsys.readouterr() == (f"{first}\n", "")


def test_convert_answers_in_json(tmp_path, capsys, monkeypatch):
    theirs = write_npz(tmp_path / "theirs.npz", checkpoint(xternalz, small_weights(10, 1)))
    target = tmp_path / "wrn.keras"
    assert call("convert", theirs, target, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["path"], found["architecture"]) == (str(target), "WRN-10-1")
    assert (found["dialect"], found["parameters"]) == ("xternalz", 77_850)
    assert any("assumed" in note.lower() for note in found["notes"])
    with terminal(monkeypatch) as shown:
        assert call("convert", theirs, tmp_path / "again.keras") == 0
    assert re.search(r"Converting .*3/3", shown())
