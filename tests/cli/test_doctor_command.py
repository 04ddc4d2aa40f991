"""`doctor` says what is here; --help gives each command an example; shells complete."""

import json
import os
import subprocess
import sys

import keras
import pytest

from keras_wrn.cli import doctor_command, main


def lines_of(arguments, capsys):
    assert main.main(main.parse(arguments)) == 0
    return capsys.readouterr().out


def test_doctor_says_what_is_here(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (tmp_path / "datasets" / "insects").mkdir(parents=True)
    found = json.loads(lines_of(["doctor", "--json"], capsys))
    assert found["system"]["keras"] == keras.__version__
    assert found["backend"]["used"] == keras.config.backend()
    assert found["data sets"] == {"folder": str(tmp_path / "datasets"), "there": "insects"}
    assert "wrn-16-1-digits" in found["weights"]["there"]
    text = lines_of(["doctor"], capsys)
    assert f"  keras                      {keras.__version__}\n" in text


def test_an_extra_is_complete_or_lacks_packages(monkeypatch):
    requirements = ["keras>=3.10", 'numpy>=1; extra == "train"', 'no-such>=2; extra == "hub"']

    monkeypatch.setattr(doctor_command.metadata, "requires", lambda _: requirements)
    found = doctor_command._extras()
    assert (found["train"], found["hub"]) == ("complete", "lacks no-such")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ImportError("Keras was asked for torch, which is not installed."), "Keras was asked for"),
        (RuntimeError("jaxlib is too old.\nSecond line."), "RuntimeError: jaxlib is too old.\n"),
    ],
)
def test_a_backend_that_cannot_start_is_a_line(monkeypatch, capsys, error, line):
    def start():
        raise error

    monkeypatch.setattr("keras_wrn.cli.program.start_keras", start)
    said = lines_of(["doctor"], capsys)
    assert line in said and "\nextras\n" in said


def test_help_shows_each_command_with_an_example(capsys):
    with pytest.raises(SystemExit):
        main.parse(["--help"])
    text = capsys.readouterr().out
    names = [line.split()[0] for line in text.splitlines() if line[:3].strip() and line[:2] == "  "]
    assert set(main.EXAMPLES) <= set(names)
    for name, example in main.EXAMPLES.items():
        assert f"            {example}\n" in text
        words = example.split()
        assert words[:2] == ["keras-wrn", name]
        arguments = main.parse(words[1:])  # the options that it shows exist
        assert callable(arguments.answer)


def test_shells_complete_commands_and_options():
    pytest.importorskip("argcomplete", reason="argcomplete is optional")

    def completed(line):
        reader, writer = os.pipe()
        program = (
            "import os, sys; from keras_wrn.cli import main; "
            "sys.argv[0] = 'keras-wrn'; main.parse([])"
        )
        environment = {"_ARGCOMPLETE": "1", "COMP_LINE": line, "COMP_POINT": str(len(line))}
        environment |= {"_ARGCOMPLETE_IFS": "\n"}
        redirected = f'exec 8>&{writer} 9>/dev/null; exec "$0" -c "$1"'
        subprocess.run(
            ["bash", "-c", redirected, sys.executable, program],
            env={**os.environ, **environment},
            pass_fds=[writer],
            check=False,
        )
        os.close(writer)
        with os.fdopen(reader) as file:
            return {word.strip() for word in file.read().split("\n")}

    assert {"evaluate", "export"} <= completed("keras-wrn e")
    assert {"--batching", "--engine"} <= completed("keras-wrn export --")
