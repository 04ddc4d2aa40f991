"""Torch as Keras' backend: build, load, evaluate, predict, convert, audit, gradients, attacks.

KERAS_BACKEND=torch python -m pytest tests/test_torch_backend.py tests/insight
"""

import copy
import json
from pathlib import Path

import foreign_networks as foreign
import keras
import numpy as np
import pytest
from foreign_checkpoints import compare, images, small_weights, write_npz
from PIL import Image
from reference_network import PreActivation, pre_activation_logits

import keras_wrn
from keras_wrn.insight.attacks import attack
from keras_wrn.insight.audit import audit
from keras_wrn.insight.gradients import gradient_function

if keras.backend.backend() != "torch":
    pytest.skip("for KERAS_BACKEND=torch, with PyTorch installed", allow_module_level=True)

import torch

DIGITS = Path(keras_wrn.__file__).parents[1] / "saved_models" / "wrn-16-1-digits"


@pytest.fixture(scope="module")
def digits():
    return keras_wrn.load_trained(DIGITS), keras_wrn.datasets.load("digits").test


def test_a_network_is_a_torch_module():
    model = keras_wrn.WideResNet(10, 1, dropout=0.3)
    assert isinstance(model, torch.nn.Module)
    count = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    assert count == 77_850


def test_published_weights_have_the_error_of_their_card(digits):
    trained, test = digits
    found = keras_wrn.evaluate(trained.model, *test, trained.preprocessing)
    metrics = json.loads((DIGITS / "card.json").read_text())["metrics"]
    assert found["error"] == metrics["error"]
    assert found["nll"] == pytest.approx(metrics["nll"], rel=1e-3)


def test_files_are_classified(digits, tmp_path):
    trained, test = digits
    Image.fromarray(test.images[0]).save(tmp_path / "digit.png")
    files = [tmp_path / "digit.png"]
    (best,) = keras_wrn.predict(trained.model, files, trained.preprocessing, 1)
    assert best[0][0] == test.labels[0]


def test_a_checkpoint_is_converted(tmp_path):
    weights = small_weights()
    path = write_npz(tmp_path / "a.npz", foreign.checkpoint(foreign.xternalz, weights))
    model = keras_wrn.convert(path, classifier_activation=None)
    compare(model, pre_activation_logits(images(), weights, PreActivation((3, 3), 2)))


def test_networks_are_audited():
    assert audit(keras_wrn.WideResNet(10, 1)).findings == ()
    late = keras_wrn.Conventions(bn_momentum=0.99, bn_epsilon=1e-3)
    found = audit(keras_wrn.WideResNet(10, 1, conventions=late)).findings
    assert [finding.trap for finding in found] == ["bn_momentum", "bn_epsilon"]


def test_the_gradient_is_pytorch_s_own(digits):
    trained, test = digits
    x = keras_wrn.preprocess_input(test.images[:4].astype("float32"), trained.preprocessing)
    _, slopes = gradient_function(lambda x: trained.model(x, training=False)[:, 3])(x)
    tensor = torch.tensor(x, requires_grad=True)
    trained.model(tensor, training=False)[:, 3].sum().backward()
    np.testing.assert_allclose(slopes, tensor.grad.numpy(), atol=1e-7)


def test_attacks_raise_the_error(digits):
    trained, test = digits
    shown, labels = test.images[:60], test.labels[:60]
    changed = attack(trained.model, shown, labels, trained.preprocessing, epsilon=32)
    x = keras_wrn.preprocess_input(changed, trained.preprocessing)
    fooled = trained.model.predict_on_batch(x).argmax(axis=1) != labels
    assert fooled.mean() > 0.3


def test_models_are_saved_and_loaded(tmp_path):
    model = keras_wrn.WideResNet(10, 1)
    model.save(tmp_path / "a.keras")
    again = keras.saving.load_model(tmp_path / "a.keras")
    x = images()
    ours, theirs = (keras.ops.convert_to_numpy(m(x, training=False)) for m in (model, again))
    np.testing.assert_array_equal(ours, theirs)


def test_the_paper_s_optimiser_steps():
    model = keras_wrn.WideResNet(10, 1, input_shape=(8, 8, 3))
    before = copy.deepcopy(model.get_weights())
    model.compile(keras_wrn.optimizers.TorchSGD(0.1), "sparse_categorical_crossentropy")
    history = model.fit(images((8, 8), 16), np.arange(16) % 10, epochs=3, verbose=0).history["loss"]
    assert history[-1] < history[0]
    assert any(not np.array_equal(a, b) for a, b in zip(before, model.get_weights()))
