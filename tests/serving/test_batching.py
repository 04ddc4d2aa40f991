"""Requests computed together: as alone, and each with its own mistakes."""

import numpy as np
import pytest
from background_server import Doubler, write_version

from keras_wrn.serving.batching import Call, run_in_parts, run_together
from keras_wrn.serving.refusal import Refusal
from keras_wrn.serving.signature import Signature, TensorInfo


@pytest.fixture
def counting(tmp_path):
    class Counting(Doubler):
        """Refuses negative numbers; notes the rows of each run."""

        def __init__(self, folder):
            super().__init__(folder)
            self.rows = []

        def run(self, signature_name, arrays):
            self.rows.append(len(arrays["x"]))
            if (arrays["x"] < 0).any():
                raise Refusal("A number is negative.")
            return super().run(signature_name, arrays)

    return lambda number, factor: Counting(write_version(tmp_path, number, factor))


def call(model, *rows):
    return Call(model, "serving_default", {"x": np.array(rows, np.float32)})


def test_requests_of_one_model_are_one_run_and_have_their_own_rows(counting):
    old, new = counting(1, "2"), counting(2, "3")
    calls = [call(old, [1, 2]), call(new, [1, 2]), call(old, [3, 4], [5, 6]), call(new, [7, 8])]
    answers = [answer["doubled"].tolist() for answer in run_together(calls)]
    assert answers == [[[2, 4]], [[3, 6]], [[6, 8], [10, 12]], [[21, 24]]]
    assert (old.rows, new.rows) == ([3], [2])


def test_a_mistake_is_the_mistake_of_its_request(counting):
    model = counting(1, "2")
    first, wrong, last = run_together([call(model, [1, 2]), call(model, [-1, 2]), call(model, [3])])
    assert first["doubled"].tolist() == [[2, 4]] and last["doubled"].tolist() == [[6]]
    assert isinstance(wrong, Refusal) and str(wrong) == "A number is negative."
    assert model.rows == [2, 1, 1, 1]  # together, each alone, and the one of another shape


def test_many_rows_are_run_in_parts(counting):
    model = counting(1, "2")
    rows = np.arange(400, dtype=np.float32).reshape(200, 2)
    found = run_in_parts(call(model, *rows))
    np.testing.assert_array_equal(found["doubled"], 2 * rows)
    assert model.rows == [64, 64, 64, 8]


def test_a_model_of_one_size_is_run_for_each_request(counting):
    model = counting(1, "2")
    info = TensorInfo("x:0", "DT_FLOAT", (1, 2))
    model.signatures = {"serving_default": Signature({"x": info}, {"doubled": info})}
    run_together([call(model, [1, 2]), call(model, [3, 4])])
    assert model.rows == [1, 1]
