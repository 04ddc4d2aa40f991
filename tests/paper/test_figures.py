"""Figures 2 to 4, from histories and times."""

import json
import types

import pytest
from paper_runs import row_of, write_card
from tiny_run import write_history

from keras_wrn.errors import InputError
from keras_wrn.paper import comparison, figures, hours, step_time
from keras_wrn.paper.scale import Scale
from keras_wrn.paper.systems import recipe_of
from keras_wrn.training import model as trainer

pytest.importorskip("matplotlib")


def times(**changes):
    seconds = {"40-4": [0.1, 0.2], "pre-resnet-164": [0.2, 0.2], "28-10": [0.5, 0.8]}
    return {
        "minibatch": 32,
        "seconds": seconds,
        "precision": "float32",
        "hardware": "1 x a processor",
        "date": "2026-11-23",
        **changes,
    }


def test_figure_2_has_solid_errors_and_dashed_losses(tmp_path, drawn):
    for key, error in (("28-10", 4.2), ("pre-resnet-164", 5.6)):
        folder = write_card(tmp_path, row_of("table5", key), 1, error)
        write_history(folder / "history.csv", 20)
    assert figures.draw(["figure2"], tmp_path) == {"figure2": tmp_path / "figure2.png"}
    [left, losses] = drawn[0].axes  # CIFAR-100 has no runs
    assert [line.get_linestyle() for line in left.lines] == ["-", "-"]
    assert [line.get_linestyle() for line in losses.lines] == ["--", "--"]
    assert [line.get_label() for line in left.lines] == [
        "ResNet-164 (error 5.60 %; the paper 5.46 %)",
        "WRN-28-10 (error 4.20 %; the paper 4.00 %)",
    ]
    assert losses.get_yscale() == "linear"
    report = comparison.report_on([row_of("table5", "28-10")], ["figure2"], tmp_path)
    undrawn = comparison.as_markdown(report)
    assert (
        f"Measured, not drawn: `python recipes/reproduce.py figure2 --workdir {tmp_path}`"
        in undrawn
    )


def test_on_the_digits_two_data_sets_are_one_panel(tmp_path, drawn):
    for key in ("28-10", "pre-resnet-164"):
        folder = write_card(tmp_path, row_of("table5", key), 1, 4.2, Scale())
        write_history(folder / "history.csv", 20)
    figures.draw(["figure2"], tmp_path, Scale())
    [panel, _] = drawn[0].axes
    assert panel.get_title() == "digits"
    assert [line.get_label() for line in panel.lines] == [
        "ResNet-164 (error 4.20 %)",
        "WRN-28-10 (error 4.20 %)",
    ]


def test_figure_3_has_a_logarithmic_loss_and_the_median_run(tmp_path, drawn):
    row = row_of("table6", "16-4", "svhn")
    for seed, error in ((1, 1.9), (2, 1.7), (3, 1.8)):
        write_history(write_card(tmp_path, row, seed, error) / "history.csv", 8)
    assert list(figures.draw(["figure2", "figure3"], tmp_path)) == ["figure3"]
    *panels, first_losses, second_losses = drawn[0].axes
    assert first_losses.get_yscale() == second_losses.get_yscale() == "log"
    assert len(panels) == 2
    assert drawn[0].axes[0].lines[0].get_label() == "WRN-16-4 (error 1.80 %; the paper 1.85 %)"


def test_the_bars_of_figure_4_have_their_milliseconds(tmp_path, drawn):
    path = step_time.figure_4_path(tmp_path, None)
    path.parent.mkdir()
    seconds = {"pre-resnet-164": [0.01234], "40-4": [0.2], "28-10": [1.2818]}
    path.write_text(json.dumps(times(seconds=seconds)))
    figures.draw(["figure4"], tmp_path)
    [axes] = drawn[0].axes
    assert [label.get_text() for label in axes.texts] == ["12.3", "200", "1,282"]


def test_figure_4_is_printed_as_ratios(tmp_path):
    text = comparison.as_markdown(comparison.report_on([], ["figure4"], tmp_path))
    assert f"Not measured: `python recipes/reproduce.py figure4 --workdir {tmp_path}`" in text
    path = step_time.figure_4_path(tmp_path, None)
    path.parent.mkdir()
    path.write_text(json.dumps(times()))
    pictures = figures.draw(["figure4"], tmp_path)
    made = comparison.report_on([], ["figure4"], tmp_path, pictures=pictures)
    text = comparison.as_markdown(made, tmp_path)
    assert "| pre-resnet-164 | 5.46 | 1.25 | 1.50 (1.00 to 2.00) | 2 | 85 | 200.0 |" in text
    assert "| 28-10 | 4.38 | 4.59 | 4.50 (4.00 to 5.00) | 2 | 312 | 650.0 |" in text
    assert "](figure4/figure4.png)" in text and "SCALED" not in text
    assert pictures["figure4"].is_file()
    assert comparison.as_json(made)["figure4"]["minibatch"] == 32
    assert step_time.read_figure_4(tmp_path, Scale()) is None
    path.parent.rename(step_time.figure_4_path(tmp_path, Scale()).parent)
    scaled = comparison.report_on([], ["figure4"], tmp_path, scale=Scale())
    assert "**SCALED DOWN: 8 images a step" in comparison.as_markdown(scaled)


def test_damaged_times_are_refused_in_a_sentence(tmp_path):
    path = step_time.figure_4_path(tmp_path, None)
    path.parent.mkdir()
    for wrong in (times(seconds={"40-4": []}), times(seconds={}), {"seconds": 3}, {}):
        path.write_text(json.dumps(wrong))
        with pytest.raises(InputError, match="timing.json is damaged"):
            step_time.read_figure_4(tmp_path)


def test_steps_are_timed_in_turn(monkeypatch):
    """The first timing of each network, which compiles it, does not count.

    Neither do the first step of each and what `fit` does before and after its steps.
    """
    fitted = []

    def build(recipe, *_):
        def fit(batches, *, callbacks, **_):
            assert (batches.num_batches, len(batches[0][0]), len(batches[2][1])) == (3, 4, 4)
            fitted.append(recipe.width)
            clock[0] += 100
            for batch in range(3):
                clock[0] += recipe.width * (1 + 10 * (batch == 0))
                callbacks[0].on_train_batch_end(batch, {"loss": 1.0})
            callbacks[0].on_epoch_end(0, {"loss": 1.0})
            clock[0] += 100

        return types.SimpleNamespace(model=types.SimpleNamespace(fit=fit))

    clock = [0.0]
    monkeypatch.setattr(trainer, "build", build)
    monkeypatch.setattr("keras_wrn.training.batches.untuned", lambda stream: stream)
    monkeypatch.setattr(step_time.time, "perf_counter", lambda: clock[0])
    recipes = {
        name: recipe_of("cifar10", "16-4", width=w) for name, w in (("40-4", 2.0), ("b", 3.0))
    }
    seconds = step_time.time_steps(recipes, batch=4, steps=2, repeats=2)
    assert fitted == [2.0, 3.0] * 3
    assert seconds == {"40-4": [2.0, 2.0], "b": [3.0, 3.0]}
    assert step_time.ratios(seconds, "b") == [1.5, 1.5]


def test_a_scaled_figure_4_times_a_shallower_network(tmp_path, monkeypatch):
    asked = []

    def pretend(recipes, batch, steps, repeats):
        asked.append((batch, steps, repeats, {name: r.depth for name, r in recipes.items()}))
        return {name: [0.1] * repeats for name in recipes}

    monkeypatch.setattr(step_time, "time_steps", pretend)
    wide = {"pre-resnet-164": 164, "40-4": 40, "16-10": 16, "28-10": 28}
    step_time.time_figure_4(tmp_path)
    step_time.time_figure_4(tmp_path, scale=Scale())
    assert asked == [
        (32, 20, 10, wide | {"pre-resnet-1001": 1001}),
        (8, 2, 3, wide | {"pre-resnet-326": 326}),
    ]
    assert step_time.read_figure_4(tmp_path)["minibatch"] == 32
    assert step_time.read_figure_4(tmp_path, Scale())["minibatch"] == 8


def test_what_is_timed_is_a_network_without_its_augmentation(monkeypatch):
    built = []

    def build(recipe, preprocessing, shape, steps):
        built.append((recipe, len(preprocessing.class_names), shape))
        return types.SimpleNamespace(model=types.SimpleNamespace(fit=lambda *_, **__: None))

    monkeypatch.setattr(trainer, "build", build)
    recipes = {"a": recipe_of("cifar100", "16-4"), "b": recipe_of("imagenet", "50-2")}
    step_time.time_steps(recipes, batch=2, steps=1, repeats=1)
    assert [arguments[1:] for arguments in built] == [(100, (32, 32, 3)), (1000, (224, 224, 3))]
    for recipe, *_ in built:
        assert (recipe.batch_size, recipe.pad, recipe.flip, recipe.schedule) == (
            2,
            0,
            False,
            "constant",
        )
        assert not (recipe.whitening or recipe.color_jitter or recipe.random_resized_crop)


def test_speeds_are_measured_once(tmp_path, monkeypatch):
    asked = []

    def pretend(recipes, batch, steps, repeats):
        asked.extend(recipes)
        return {name: [0.5] for name in recipes}

    monkeypatch.setattr(step_time, "time_steps", pretend)
    rows = [row_of("table4", "16-8"), row_of("table5", "16-8"), row_of("table5", "nin")]
    hours.measure_speeds(rows, tmp_path)
    hours.measure_speeds(rows, tmp_path)
    assert asked == ["table4/16-8-cifar10"]
    [speed] = hours.read_speeds(tmp_path).values()
    assert speed["images_per_second"] == 256
    hours.measure_speeds(rows, tmp_path, batch=32)  # another measurement
    hours.measure_speeds(rows, tmp_path, batch=32)
    assert len(asked) == 2
    speeds = hours.read_speeds(tmp_path)
    assert [(s["images_per_second"], s["batch"]) for s in speeds.values()] == [(256, 128), (64, 32)]
    assert hours.estimated_hours(rows[0], speeds) == pytest.approx(200 * 390 * 128 / 256 / 3600)
