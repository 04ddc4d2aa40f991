"""The moving average of the weights, step by step; the callbacks of the caller."""

import keras
import numpy as np
import pytest

from keras_wrn.training.callbacks import OneTraining, WeightAverage


@pytest.fixture
def network():
    """One weight, and batch normalisation's moving statistics."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.BatchNormalization(scale=False)])
    model.set_weights([np.full(1, value, "float32") for value in (0, 0, 0)])
    return model


def run(average, network, steps):
    """Let the weights be the number of the step, after each."""
    average.set_model(network)
    for step in steps:
        network.set_weights([np.full(1, step, "float32")] * 3)
        average.on_train_batch_end(step)


def expected(decay, steps):
    """min(decay, (1 + t) / (10 + t)) over updates, ten steps apart."""
    value = 0.0
    for update in range(1, steps // 10 + 1):
        kept = min(decay**10, (1 + update) / (10 + update))
        value = kept * value + (1 - kept) * 10 * update
    return value


# With a decay of 0.9 a step, 0.35 of ten steps is kept from the fourth update on.
@pytest.mark.parametrize("decay", [0.9, 0.999])
def test_it_moves_every_ten_steps_and_forgets_the_start(network, decay):
    average = WeightAverage(network, decay)
    run(average, network, range(1, 206))
    assert expected(decay, 205) > 0
    for weight in average.weights:
        assert weight[0] == pytest.approx(expected(decay, 205), rel=1e-5)


def test_the_last_steps_are_in_it_too(network):
    average = WeightAverage(network, 0.9)
    run(average, network, range(1, 4))
    average.finish(network)
    kept = (1.3 / 10.3) ** 0.3
    assert average.weights[0][0] == pytest.approx((1 - kept) * 3, rel=1e-5)
    run(average, network, range(4, 11))
    before = average.weights
    average.finish(network)
    assert average.weights is before


def test_it_goes_on_where_it_was_saved(network):
    uninterrupted = WeightAverage(network, 0.95)
    run(uninterrupted, network, range(1, 206))
    first = WeightAverage(network, 0.95)
    first.weights = [np.zeros(1, "float32")] * 3
    run(first, network, range(1, 84))
    second = WeightAverage(network, 0.95, step=first.step)
    second.weights = first.weights
    run(second, network, range(84, 206))
    np.testing.assert_array_equal(second.weights, uninterrupted.weights)


class Record(keras.callbacks.Callback):
    """Says what it is called for."""

    def __init__(self):
        super().__init__()
        self.called = []

    def on_train_begin(self, logs=None):
        self.called.append("begin")

    def on_epoch_end(self, epoch, logs=None):
        self.called.append((epoch, sorted(logs), self.params["epochs"]))

    def on_train_batch_end(self, batch, logs=None):
        self.called.append(batch)

    def on_train_end(self, logs=None):
        self.called.append("end")


def test_several_fits_are_one_training_to_the_caller_s_callbacks():
    record = Record()
    of_caller = OneTraining([record])
    for epochs in (1, 3):
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        x = np.zeros((4, 1))
        options = {"initial_epoch": epochs // 2, "batch_size": 4, "verbose": 0}
        model.fit(x, x, epochs=epochs, callbacks=[of_caller], **options)
        assert record.model is model
    of_caller.finish()
    epochs = [0, (0, ["loss"], 1), 0, (1, ["loss"], 3), 0, (2, ["loss"], 3)]
    assert record.called == ["begin", *epochs, "end"]
    unused = OneTraining([Record()])
    unused.finish()
    assert unused.callbacks[0].called == []
