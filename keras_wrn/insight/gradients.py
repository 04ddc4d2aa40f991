"""The gradient of a loss with respect to images, on TensorFlow, JAX and Torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from keras_wrn.inference.classifier import check_batch_size
from keras_wrn.system.console import progress

Loss = Callable[..., Any]
Gradient = Callable[..., tuple[np.ndarray, np.ndarray]]


def gradient_function(loss: Loss, *, compiled: bool = True) -> Gradient:
    """Make a function that returns a loss and its gradient with respect to the first argument.

    Args:
        loss: takes tensors of the backend, images first, and returns one loss per image, (n,), or
            a scalar. A network in it is called with training=False.
        compiled: trace once per shape of the arguments (TensorFlow, JAX). The weights of a
            network in `loss` must then stay as they are.

    Returns:
        A function of NumPy arrays, images first: uint8 or float of any shape. It returns the
        losses, float32, and the gradient of their sum, float32 of the shape of the images.

    Example:
        >>> square = gradient_function(lambda x: keras.ops.sum(x**2, axis=-1))
        >>> losses, gradient = square(np.array([[1, 2], [3, 4]], "uint8"))
        >>> losses.tolist(), gradient.tolist()
        ([5.0, 25.0], [[2.0, 4.0], [6.0, 8.0]])
    """
    make = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}[keras.backend.backend()]
    step = make(loss, compiled)

    def gradient(images: np.ndarray, *others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        arguments = [keras.ops.convert_to_tensor(other) for other in others]
        losses, slopes = step(keras.ops.convert_to_tensor(np.float32(images)), *arguments)
        return keras.ops.convert_to_numpy(losses), keras.ops.convert_to_numpy(slopes)

    return gradient


def full_batches(n: int, size: int, task: str) -> Iterator[tuple[np.ndarray, slice]]:
    """Split n images into batches of one size, for which a gradient is traced once.

    Args:
        n: number of images.
        size: images a batch.
        task: what the bar of progress says.

    Yields:
        The indices of a batch, of which the last one begins again at 0 to be full, and the slice
        of the images that it is for.

    Raises:
        InputError: the size is no whole number from 1.

    Example:
        >>> [(rows.tolist(), part) for rows, part in full_batches(3, 2, "Images")]
        [([0, 1], slice(0, 2, None)), ([2, 0], slice(2, 3, None))]
    """
    check_batch_size(size)
    size = min(size, n)
    with progress(task, n) as advance:
        for start in range(0, n, size):
            part = slice(start, min(start + size, n))
            yield np.arange(start, start + size) % n, part
            advance(part.stop - start)


def _tensorflow(loss: Loss, compiled: bool) -> Loss:
    import tensorflow as tf

    def step(images: Any, *others: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(images)
            losses = loss(images, *others)
        return losses, tape.gradient(losses, images, unconnected_gradients="zero")

    return tf.function(step, reduce_retracing=False) if compiled else step


def _jax(loss: Loss, compiled: bool) -> Loss:
    import jax

    def total(images: Any, *others: Any) -> Any:
        losses = loss(images, *others)
        return losses.sum(), losses

    def step(images: Any, *others: Any) -> Any:
        (_, losses), slopes = jax.value_and_grad(total, has_aux=True)(images, *others)
        return losses, slopes

    return jax.jit(step) if compiled else step


def _torch(loss: Loss, compiled: bool) -> Loss:
    import torch

    def step(images: Any, *others: Any) -> Any:
        images = images.detach().requires_grad_(True)
        with torch.enable_grad():
            losses = loss(images, *others)
            (slopes,) = torch.autograd.grad(losses.sum(), images)
        return losses.detach(), slopes

    return step
