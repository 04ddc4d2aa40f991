"""Losses and errors of labels, smoothed labels and shares of classes."""

import keras
import numpy as np

from keras_wrn.training import losses

LOGITS = np.array([[2.0, 0.0, -1.0], [0.5, 1.0, 3.0]], "float32")
LOG_SOFTMAX = LOGITS - np.log(np.exp(LOGITS).sum(axis=1, keepdims=True))
SHARES = np.array([[0.3, 0.7, 0.0], [0.0, 0.4, 0.6]], "float32")


def _of(function, labels):
    values = function(keras.ops.convert_to_tensor(labels), keras.ops.convert_to_tensor(LOGITS))
    return keras.ops.convert_to_numpy(values)


def test_labels_may_be_a_row_or_a_column():
    expected = -LOG_SOFTMAX[[0, 1], [0, 1]]
    for labels in (np.array([0, 1]), np.array([[0], [1]])):
        np.testing.assert_allclose(_of(losses.cross_entropy(), labels), expected, rtol=1e-5)


def test_smoothing_spreads_a_share_over_all_classes():
    wanted = 0.7 * np.eye(3)[[0, 1]] + 0.3 / 3
    got = _of(losses.cross_entropy(0.3), np.array([0, 1]))
    np.testing.assert_allclose(got, -(wanted * LOG_SOFTMAX).sum(axis=1), rtol=1e-5)


def test_shares_are_taken_as_they_are():
    got = _of(losses.cross_entropy(), SHARES)
    np.testing.assert_allclose(got, -(SHARES * LOG_SOFTMAX).sum(axis=1), rtol=1e-5)


def test_an_image_is_right_where_its_larger_share_is_found():
    np.testing.assert_array_equal(_of(losses.error, np.array([0, 1])), [0, 1])
    np.testing.assert_array_equal(_of(losses.error, SHARES), [1, 0])
