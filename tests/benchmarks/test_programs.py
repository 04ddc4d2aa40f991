"""The benchmarks compile, find what they take from the package, and count right; none is run."""

import ast
import importlib
import inspect
import json
from collections import defaultdict
from pathlib import Path

import keras
import pytest
from tiny_run import change_card, write_run

from keras_wrn.errors import InputError

FOLDER = Path(__file__).parents[2] / "benchmarks"
FILLED = "x"  # what stands for everything that a program is told


def names_are_there(tree):
    """Import what a program imports from the package and from benchmarks/; nothing is computed."""
    ours = {path.stem for path in FOLDER.glob("*.py")}
    if importlib.util.find_spec("torch") is None:
        ours.remove("torch_peer")
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            if not node.module.startswith("keras_wrn") and node.module not in ours:
                continue
            if node.module == "keras_wrn.detection" and keras.config.backend() != "tensorflow":
                continue
            module = importlib.import_module(node.module)
            for name in node.names:
                if not hasattr(module, name.name):
                    importlib.import_module(f"{node.module}.{name.name}")
        elif isinstance(node, ast.Import):
            imported |= {name.name for name in node.names} & (ours | {"keras_wrn"})
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and getattr(node.value, "id", None) in imported:
            assert node.attr == FILLED or hasattr(
                importlib.import_module(node.value.id), node.attr
            ), ast.unparse(node)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_what_a_benchmark_takes_from_the_package_is_there(path, bench):
    text = path.read_text(encoding="utf-8")
    compile(text, path, "exec")
    names_are_there(ast.parse(text))


def programs_in(value):
    """Every program of several lines, or with an import, among a module's constants."""
    if isinstance(value, str):
        return [value] if "\n" in value or value.startswith("import ") else []
    if not isinstance(value, dict | list | tuple):
        return []
    parts = value.values() if isinstance(value, dict) else value
    return [text for part in parts for text in programs_in(part)]


@pytest.mark.parametrize("name", ["memory", "scale", "settings", "start"])
def test_the_programs_of_fresh_processes_compile_and_find_their_names(name, bench):
    constants = {of: value for of, value in vars(bench(name)).items() if of.isupper()}
    texts = programs_in(constants)
    assert texts
    for text in texts:
        names_are_there(ast.parse(text.format_map(defaultdict(lambda: FILLED))))


def test_every_step_of_the_settings_has_its_builder(bench):
    settings, training_step = bench("settings"), bench("training_step")
    for builders in set(settings.STEPS.values()):
        call = settings.PROGRAM.partition("{builders}(")[2].partition(")")[0]
        inspect.signature(getattr(training_step, builders)).bind(*call.split(","))
    assert set(settings.UNSET) >= {"OMP_NUM_THREADS", "GLIBC_TUNABLES", "TF_ENABLE_ONEDNN_OPTS"}
    assert set(settings.UNSET.values()) == {None}


def test_variants_run_in_turn_after_their_warm_up(bench):
    ran = []
    variants = {name: lambda name=name: ran.append(name) for name in "ab"}
    timings = bench("interleaved").interleave(variants, rounds=3)
    assert "".join(ran) == "ab" + "ababab"
    assert [len(seconds) for seconds in timings.seconds.values()] == [3, 3]


def test_a_ratio_is_of_pairs_and_its_median_is_between_its_ends(bench):
    timings = bench("interleaved").Timings({"ours": [1.0, 2.0, 4.0], "peer": [3.0, 2.0, 8.0]})
    assert timings.ratio("ours", "peer") == (2.0, 1.0, 3.0)
    assert timings.fastest(["peer", "ours", "not timed"]) == "ours"
    assert timings.fastest(["not timed"]) is None


@pytest.mark.parametrize("text", ["16", "16-", "16-0", "17-4", "a-b", "4-1"])
def test_what_is_no_network_is_refused(text, bench):
    with pytest.raises(InputError, match=r"Received: " + text):
        bench("interleaved").parse_network(text)


def test_the_last_line_of_a_fresh_process_is_its_answer(bench, capsys, monkeypatch):
    in_a_fresh_process = bench("interleaved").in_a_fresh_process
    code = "import os; print('noise'); print([1, int(os.environ['TWO'])])"
    assert in_a_fresh_process("a", code, {"TWO": "2"}) == [1, 2]
    monkeypatch.setenv("TWO", "2")
    assert in_a_fresh_process("a", "import os; print(int('TWO' in os.environ))", {"TWO": None}) == 0
    assert in_a_fresh_process("a", "raise SystemExit('no such thing')") is None
    assert capsys.readouterr().err == "a: not measured: no such thing\n"


def test_runs_that_differ_in_the_seed_alone_are_one_row(tmp_path, bench):
    folders = [write_run(tmp_path / name) for name in ("a", "b", "c")]
    for folder, seed, epochs in zip(folders, (1, 2, 1), (4, 4, 2), strict=True):
        change_card(
            folder,
            recipe={"dataset": "digits", "depth": 10, "width": 1, "epochs": epochs, "seed": seed},
            steps=10 * epochs,
            epochs=epochs,
            hours=0.5,
            hardware="a processor",
            metrics={"n": 360, "error": 0.1 * seed},
        )
    rows = bench("accuracy_per_flop").measured([str(folder) for folder in folders])
    assert [row["errors"] for row in rows] == [[10.0], [10.0, 20.0]]  # the shorter one first
    assert rows[1]["pflop"] == pytest.approx(2 * rows[0]["pflop"])
    change_card(folders[0], recipe=None)
    with pytest.raises(InputError, match="by which recipe"):
        bench("accuracy_per_flop").measured([str(folders[0])])


def test_the_table_of_ingredients_has_a_row_for_each(tmp_path, bench):
    ingredients = bench("ingredients")
    for name, error in (("base-1", 0.2), ("base-2", 0.3), ("cutout-8-1", 0.26)):
        (tmp_path / name).mkdir()
        card = {"metrics": {"error": error}}
        (tmp_path / name / "card.json").write_text(json.dumps(card))
    lines = ingredients.table(ingredients.measured(tmp_path)).splitlines()
    assert len(lines) == 2 + len(ingredients.INGREDIENTS)
    assert "| base | 25.00 (20.00, 30.00) | +0.00 | 2 |" in lines[2]
    assert any(line.startswith("| cutout 8 | 26.00 (26.00) | +1.00 | 1 |") for line in lines)
    assert sum("not measured" in line for line in lines) == len(ingredients.INGREDIENTS) - 2
