"""TorchSGD against stored steps of torch.optim.SGD, and against closed forms."""

from pathlib import Path

import keras
import numpy as np
import pytest

from keras_wrn.errors import InputError
from keras_wrn.optimizers import TorchSGD

GOLDEN = np.load(Path(__file__).parent / "golden" / "torch_sgd.npz")
NAMES = ("kernel", "bias", "gamma")
STEPS, DROP_AT, RATES = 20, 10, (0.1, 0.02)


@pytest.mark.parametrize("reset", [True, False])
@pytest.mark.parametrize("nesterov", [True, False])
def test_equals_torch_over_twenty_steps_across_a_drop(nesterov, reset):
    variables = [keras.Variable(GOLDEN[f"start_{name}"], dtype="float32") for name in NAMES]
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([DROP_AT - 1], RATES)
    optimizer = TorchSGD(schedule, momentum=0.9, nesterov=nesterov, weight_decay=5e-4)
    optimizer.build(variables)
    worst = 0.0
    for step in range(STEPS):
        if step == DROP_AT and reset:
            optimizer.reset_velocity()
        gradients = [keras.ops.convert_to_tensor(GOLDEN[f"gradient_{n}"][step]) for n in NAMES]
        optimizer.apply([keras.ops.cast(g, "float32") for g in gradients], variables)
        for name, variable in zip(NAMES, variables, strict=True):
            expected = GOLDEN[f"nesterov{nesterov:d}_reset{reset:d}_{name}"][step]
            worst = max(worst, np.abs(keras.ops.convert_to_numpy(variable) - expected).max())
    assert worst < 1e-6


def test_decay_alone_shrinks_a_weight_as_torch_does():
    weight = keras.Variable(np.ones(1, "float32"))
    optimizer = TorchSGD(0.1, momentum=0.9, weight_decay=5e-4)
    optimizer.build([weight])
    for _ in range(2000):
        optimizer.apply([keras.ops.zeros((1,))], [weight])
    # torch.optim.SGD, 2000 steps: 0.3678; decoupled decay would leave 0.905.
    assert float(keras.ops.convert_to_numpy(weight)[0]) == pytest.approx(0.3678, abs=2e-4)


def test_biases_and_batch_normalisation_can_have_a_rate_of_their_own():
    kernel, bias = (keras.Variable(np.ones(shape, "float32")) for shape in ((1, 2), (2,)))
    optimizer = TorchSGD(0.1, momentum=0.9, weight_decay=0.5, vector_rate=4.0)
    optimizer.build([kernel, bias])
    optimizer.apply([keras.ops.ones((1, 2)), keras.ops.ones((2,))], [kernel, bias])
    # d = 1 + 0.5 = v, and the step is d + 0.9 v = 2.85.
    np.testing.assert_allclose(keras.ops.convert_to_numpy(kernel), 1 - 0.285, rtol=1e-5)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(bias), 1 - 4 * 0.285, rtol=1e-5)


def test_variables_can_be_left_out_of_the_decay():
    kernel, bias = (keras.Variable(np.ones(2, "float32"), name=name) for name in ("kernel", "bias"))
    optimizer = TorchSGD(0.1, momentum=0.0, nesterov=False, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    optimizer.build([kernel, bias])
    optimizer.apply([keras.ops.zeros((2,))] * 2, [kernel, bias])
    np.testing.assert_allclose(keras.ops.convert_to_numpy(kernel), 0.95, rtol=1e-6)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(bias), 1)


def test_decay_reaches_batch_normalisation_and_biases():
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.BatchNormalization(), keras.layers.Dense(2)]
    )
    model.layers[0].beta.assign([1.0, 1.0, 1.0])
    optimizer = TorchSGD(0.1, momentum=0.0, nesterov=False, weight_decay=0.5)
    optimizer.build(model.trainable_variables)
    before = [keras.ops.convert_to_numpy(v).copy() for v in model.trainable_variables]
    optimizer.apply(
        [keras.ops.zeros(v.shape) for v in model.trainable_variables], model.trainable_variables
    )
    for old, variable in zip(before, model.trainable_variables, strict=True):
        np.testing.assert_allclose(keras.ops.convert_to_numpy(variable), old * 0.95, rtol=1e-6)


def test_the_configuration_makes_the_same_optimiser_again():
    optimizer = TorchSGD(0.05, momentum=0.8, nesterov=False, weight_decay=1e-4)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert isinstance(again, TorchSGD)
    assert again.get_config() == optimizer.get_config()
    assert again.weight_decay is None, "Keras' own, decoupled decay must stay off"


@pytest.mark.parametrize("options", [{"momentum": 1.0}, {"momentum": -0.1}, {"weight_decay": -1}])
def test_bad_numbers_are_refused(options):
    with pytest.raises(InputError, match="Received"):
        TorchSGD(0.1, **options)
