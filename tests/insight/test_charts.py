import re

import numpy as np

from keras_wrn.insight import charts


def test_ticks_are_round_and_inside():
    assert charts.ticks(0, 100) == [0, 20, 40, 60, 80, 100]
    assert charts.ticks(-0.93, -0.51) == [-0.9, -0.8, -0.7, -0.6]
    for low, high in ((0, 0.001), (3, 3.7), (-120, 4e5)):
        found = charts.ticks(low, high)
        assert 3 <= len(found) <= 10 and low <= found[0] and found[-1] <= high


def test_bars_stand_where_their_values_are():
    bars = [{"n": 0, "confidence": 0, "accuracy": 0}, {"n": 4, "confidence": 0.9, "accuracy": 0.5}]
    drawn = charts.reliability_diagram(bars)
    rectangles = re.findall(
        r'class="(\w+)" x="([\d.]+)" y="[\d.]+" width="[\d.]+" height="([\d.]+)', drawn
    )
    (low, x, height), (gap, _, more) = rectangles
    assert (low, gap) == ("bar", "gap")
    assert float(more) / float(height) == np.float64(0.4 / 0.5).round(3)
    middle = (charts._LEFT + charts._WIDTH - charts._RIGHT) / 2
    assert abs(float(x) - middle) < 1
    assert "4 images: 90.0% sure, 50.0% right" in drawn


def test_histograms_share_an_axis_and_count_every_image():
    scores = {"data set": np.linspace(0, 1, 1000), "far & off": np.array([-1e6, 0.5])}
    drawn = charts.histograms(scores, "energy")
    assert drawn.count("<polyline") == 2
    assert "far &amp; off" in drawn
    same = charts.histograms({"a": np.ones(3), "b": np.ones(2)}, "constant")
    assert "nan" not in same


def test_cells_of_a_heat_map():
    values = np.array([[3, 0], [1, 2]])
    names = ["cat", "dog"]
    drawn = charts.heat_map(
        values, names, names, strength=values / 3, form="{:d}", title="Confusion"
    )
    assert drawn.count("<rect") == 3  # the empty cell is not drawn
    assert "<title>dog, cat: 1</title>" in drawn
    many = [str(number) for number in range(30)]
    drawn = charts.heat_map(np.eye(30), many, many, strength=np.eye(30), form="{:.0f}", title="")
    assert drawn.count("<rect") == 30 and "<text" not in drawn
