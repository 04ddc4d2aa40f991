"""Distillation: the loss is Hinton's, the teacher never changes, and wrong teachers are refused."""

import dataclasses
import json

import keras
import numpy as np
import pytest
from tiny_run import DIGITS, change_card, write_run

from keras_wrn.errors import InputError
from keras_wrn.inference.trained import load_trained
from keras_wrn.training import losses
from keras_wrn.training.model import build, load_teacher
from keras_wrn.training.recipe import Recipe
from keras_wrn.training.run import train

TINY = Recipe(dataset="digits", depth=10, width=1, epochs=1, batch_size=32, train_images=64)


def _logits(seed, n=6, classes=4):
    return np.random.default_rng(seed).normal(0, 3, (n, classes)).astype("float32")


def test_the_loss_is_hintons():
    student, teacher, labels = _logits(1), _logits(2), np.array([0, 1, 2, 3, 0, 1])
    loss = losses.distillation(losses.cross_entropy(), teacher_share=0.9, temperature=4.0)
    both = keras.ops.convert_to_tensor(np.concatenate([student, teacher], axis=1))
    got = keras.ops.convert_to_numpy(loss(keras.ops.convert_to_tensor(labels), both))

    def softmax(logits):
        powers = np.exp(logits.astype("float64"))
        return powers / powers.sum(axis=1, keepdims=True)

    hard = -np.log(softmax(student)[np.arange(6), labels])
    p, q = softmax(teacher / 4), softmax(student / 4)
    expected = 0.1 * hard + 0.9 * 16 * (p * np.log(p / q)).sum(axis=1)
    np.testing.assert_allclose(got, expected, rtol=1e-4)


def test_a_student_like_its_teacher_loses_nothing():
    both = np.concatenate([_logits(1), _logits(1)], axis=1)
    loss = losses.distillation(losses.cross_entropy(), teacher_share=1.0, temperature=2.0)
    got = loss(keras.ops.zeros(6, "int32"), keras.ops.convert_to_tensor(both))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(got), 0, atol=1e-5)


def test_the_error_shown_is_the_students():
    student, teacher = np.eye(4, dtype="float32"), np.eye(4, dtype="float32")[::-1]
    both = keras.ops.convert_to_tensor(np.concatenate([student, teacher], axis=1))
    error = losses.student_error(keras.ops.arange(4), both)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(error), 0)


def test_the_teacher_gives_its_runs_logits(tmp_path):
    run = load_trained(write_run(tmp_path / "teacher"))
    teacher = load_teacher(tmp_path / "teacher", DIGITS, "float32")
    images = np.random.default_rng(0).normal(size=(3, 32, 32, 3)).astype("float32")
    logits = teacher.predict(images, verbose=0)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(keras.ops.softmax(logits)),
        run.model.predict(images, verbose=0),
        atol=1e-5,
    )
    assert not teacher.trainable_variables


def test_a_teacher_never_draws(tmp_path):
    folder = write_run(tmp_path / "teacher")
    network = json.loads((folder / "card.json").read_text())["network"]
    change_card(folder, network=network | {"dropout": 0.5, "stochastic_depth": 0.5})
    recipe = dataclasses.replace(TINY, teacher=str(folder))
    training_model = build(recipe, DIGITS, (32, 32, 3), steps_per_epoch=2)
    images = np.random.default_rng(0).normal(size=(3, 32, 32, 3)).astype("float32")
    expected = training_model.teacher.predict(images, verbose=0)
    start = training_model.teacher.input
    both = keras.Model(start, training_model._logits(start))
    logits = keras.ops.convert_to_numpy(both(images, training=True))
    np.testing.assert_allclose(logits[:, 10:], expected, atol=1e-5)


@pytest.mark.skipif(
    keras.config.backend() != "tensorflow", reason="a card is written alike on every backend"
)
@pytest.mark.usefixtures("no_pictures")
def test_the_card_is_of_the_student_alone(tmp_path):
    folder = write_run(tmp_path / "teacher")
    # Teacher and student of one architecture: names must not meet.
    card = train(dataclasses.replace(TINY, teacher=str(folder)), tmp_path / "student")
    assert card["recipe"]["teacher"] == str(folder)
    data = json.loads((tmp_path / "student" / "data.json").read_text())
    assert data["teacher"] == json.loads((folder / "card.json").read_text())["weights_sha256"]
    own = load_trained(tmp_path / "student").model.trainable_variables
    assert card["parameters"] == sum(int(np.prod(v.shape)) for v in own)


def test_following_the_teacher_alone_brings_the_student_to_its_answers(tmp_path):
    folder = write_run(tmp_path / "teacher")
    recipe = dataclasses.replace(TINY, teacher=str(folder), teacher_share=1.0, learning_rate=0.05)
    training_model = build(recipe, DIGITS, (32, 32, 3), steps_per_epoch=2)
    frozen = training_model.teacher.get_weights()
    images = np.random.default_rng(0).integers(0, 256, (32, 32, 32, 3)).astype("uint8")
    labels = np.zeros(32, "int64")
    losses_seen = [training_model.model.train_on_batch(images, labels)[0] for _ in range(12)]
    assert losses_seen[-1] < 0.5 * losses_seen[0]
    for one, other in zip(frozen, training_model.teacher.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_wrong_teachers_are_refused(tmp_path):
    with pytest.raises(InputError, match="must be a folder that exists"):
        load_teacher(tmp_path / "none", DIGITS, "float32")
    folder = write_run(tmp_path / "teacher")
    with pytest.raises(InputError, match="student's statistics"):
        load_teacher(folder, dataclasses.replace(DIGITS, std=(1.0,) * 3), "float32")
    with pytest.raises(InputError, match="images, of 48x48 pixels. .* for images of 32x32"):
        load_teacher(folder, dataclasses.replace(DIGITS, size=48), "float32")
    with pytest.raises(InputError, match="student's classes"):
        load_teacher(folder, dataclasses.replace(DIGITS, class_names=("a", "b")), "float32")
    with pytest.raises(InputError, match="`sam` must be 0 with a teacher"):
        dataclasses.replace(TINY, teacher="t", sam=0.05)
