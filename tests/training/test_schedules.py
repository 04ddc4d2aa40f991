"""Learning rates at the steps where the paper has them."""

import pytest

from keras_wrn.training.recipe import Recipe
from keras_wrn.training.schedules import PiecewiseLinear, learning_rate

STEPS = 390


def _rate(schedule, step):
    return schedule if isinstance(schedule, float) else float(schedule(step))


@pytest.mark.parametrize("warmup", [0, 0.5])
def test_drops_at_the_start_of_one_epoch_are_all_made(warmup):
    recipe = Recipe(epochs=3, drop_epochs=(2, 2, 3), warmup_epochs=warmup)
    schedule = learning_rate(recipe, STEPS)
    for epoch, rate in {1: 0.1, 2: 0.004, 3: 0.0008}.items():
        for step in ((epoch - 1) * STEPS + STEPS // 2, epoch * STEPS - 1):
            assert _rate(schedule, step) == pytest.approx(rate, rel=1e-5)


@pytest.mark.parametrize("name", ["cosine", "one_cycle", "steps", "constant"])
def test_a_warmup_is_shorter_than_the_run(name):
    recipe = Recipe(epochs=1, drop_epochs=(), schedule=name, warmup_epochs=0.999)
    assert _rate(learning_rate(recipe, STEPS), STEPS - 1) == pytest.approx(0.1, rel=1e-3)


def test_warmup_rises_and_the_drops_follow():
    schedule = learning_rate(Recipe(warmup_epochs=5), STEPS)
    assert _rate(schedule, 0) == 0
    assert _rate(schedule, 5 * STEPS // 2) == pytest.approx(0.05)
    assert _rate(schedule, 5 * STEPS) == pytest.approx(0.1)
    assert _rate(schedule, 59 * STEPS - 1) == pytest.approx(0.1)
    assert _rate(schedule, 59 * STEPS) == pytest.approx(0.02)
    assert _rate(schedule, 159 * STEPS) == pytest.approx(0.0008, rel=1e-5)


def test_cosine_falls_to_zero():
    schedule = learning_rate(Recipe(schedule="cosine", epochs=10, drop_epochs=()), STEPS)
    assert _rate(schedule, 0) == pytest.approx(0.1)
    assert _rate(schedule, 5 * STEPS) == pytest.approx(0.05)
    assert _rate(schedule, 10 * STEPS) == pytest.approx(0, abs=1e-7)
    warmed = learning_rate(
        Recipe(schedule="cosine", epochs=10, drop_epochs=(), warmup_epochs=2), STEPS
    )
    assert _rate(warmed, STEPS) == pytest.approx(0.05)
    assert _rate(warmed, 6 * STEPS) == pytest.approx(0.05)


def test_one_cycle_peaks_after_a_quarter():
    schedule = learning_rate(Recipe(schedule="one_cycle", epochs=8, drop_epochs=()), STEPS)
    assert _rate(schedule, 2 * STEPS) == pytest.approx(0.1)
    assert _rate(schedule, STEPS) == pytest.approx(0.05)
    assert _rate(schedule, 5 * STEPS) == pytest.approx(0.05)
    assert _rate(schedule, 8 * STEPS) == pytest.approx(0, abs=1e-7)


def test_a_constant_rate_is_a_number():
    assert learning_rate(Recipe(schedule="constant", drop_epochs=()), STEPS) == 0.1
    assert learning_rate(Recipe(drop_epochs=()), STEPS) == 0.1


def test_piecewise_linear_is_constant_outside_its_points():
    line = PiecewiseLinear([2, 4], [1.0, 3.0])
    assert [float(line(step)) for step in (0, 2, 3, 4, 9)] == [1.0, 1.0, 2.0, 3.0, 3.0]
    assert PiecewiseLinear.from_config(line.get_config()).rates == [1.0, 3.0]
