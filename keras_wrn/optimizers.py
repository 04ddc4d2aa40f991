"""The paper's optimiser: stochastic gradient descent as torch.optim.SGD computes it."""

from typing import Any

import keras
from keras import ops

from keras_wrn.errors import InputError


@keras.saving.register_keras_serializable(package="keras_wrn")
class TorchSGD(keras.optimizers.Optimizer):
    """SGD with momentum whose weight decay is coupled and whose velocity is free of the rate.

    For every trainable variable w, batch normalisation and biases included, with gradient g::

        d = g + weight_decay * w
        v = momentum * v + d
        w = w - learning_rate * (d + momentum * v  if nesterov else  v)

    Keras' own SGD differs in two ways that a Wide ResNet feels. Its `weight_decay` is decoupled
    (w shrinks by learning_rate * weight_decay a step, outside the velocity): the paper's 5e-4 is
    then ten times too weak at momentum 0.9. And it keeps the learning rate inside the velocity,
    so that after a drop of the rate the old, larger steps go on for a while.

    Args:
        learning_rate: a float > 0, or a `keras.optimizers.schedules.LearningRateSchedule`.
        momentum: in [0, 1).
        nesterov: whether to look ahead along the velocity (the paper does).
        weight_decay: coupled L2 decay >= 0; the penalty is weight_decay / 2 times the sum of w**2.
        vector_rate: multiplies the learning rate of variables of one dimension: biases, and the
            scales and offsets of batch normalisation.
        name: the optimiser's name.
        **options: of `keras.optimizers.Optimizer` (clipnorm, use_ema, ...); but for its
            weight_decay, which is decoupled.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        >>> model.compile(TorchSGD(0.1, weight_decay=5e-4), "mse")

    Source: section 3 of the paper, "SGD with Nesterov momentum", dampening 0, decay 0.0005;
    the authors' flat parameter vector decays everything.
    """

    def __init__(
        self,
        learning_rate: Any = 0.1,
        momentum: float = 0.9,
        nesterov: bool = True,
        weight_decay: float = 5e-4,
        vector_rate: float = 1.0,
        name: str = "torch_sgd",
        **options: Any,
    ) -> None:
        if not 0 <= momentum < 1:
            raise InputError(f"`momentum` must be in [0, 1). Received: momentum={momentum!r}")
        if not weight_decay >= 0:
            raise InputError(f"`weight_decay` must be >= 0. Received: weight_decay={weight_decay}")
        # The base class' own weight_decay is the decoupled one, and must stay off.
        super().__init__(learning_rate=learning_rate, name=name, **options)
        self.momentum = momentum
        self.nesterov = nesterov
        self.coupled_weight_decay = weight_decay
        self.vector_rate = vector_rate
        self.velocities: list[Any] = []

    def build(self, variables: list[Any]) -> None:
        """Make one velocity for each variable, at 0."""
        if self.built:
            return
        super().build(variables)
        self.velocities = [
            self.add_variable_from_reference(variable, "velocity") for variable in variables
        ]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Take one step for one variable."""
        velocity = self.velocities[self._get_variable_index(variable)]
        rate = ops.cast(learning_rate, variable.dtype)
        if self.vector_rate != 1.0 and len(variable.shape) == 1:
            rate = rate * self.vector_rate
        direction = ops.cast(gradient, variable.dtype)
        if self.coupled_weight_decay and self._use_weight_decay(variable):
            direction = direction + variable * ops.cast(self.coupled_weight_decay, variable.dtype)
        momentum = ops.cast(self.momentum, variable.dtype)
        moved = momentum * velocity + direction
        step = direction + momentum * moved if self.nesterov else moved
        self.assign(velocity, moved)
        self.assign_sub(variable, rate * step)

    def reset_velocity(self) -> None:
        """Forget all momentum, as the authors' code does where the learning rate drops."""
        for velocity in self.velocities:
            velocity.assign(ops.zeros(velocity.shape, velocity.dtype))

    def get_config(self) -> dict[str, Any]:
        """What `from_config` needs to make this optimiser again."""
        config = super().get_config()
        return {
            **config,
            "momentum": self.momentum,
            "nesterov": self.nesterov,
            "weight_decay": self.coupled_weight_decay,
            "vector_rate": self.vector_rate,
        }
