"""Sharpness-aware minimisation: steps by the gradient at the worst point nearby."""

from typing import Any

import keras

from keras_wrn.training.devices import ReplicatedModel, across_workers


class SharpnessAwareModel(ReplicatedModel):
    """A model whose training step is SAM's, on TensorFlow.

    A step moves the weights by rho along the gradient, computes the gradient there, moves back,
    and gives that gradient to the optimiser. On several devices all move along the gradient of the
    whole batch. Both passes see the same augmented images. Batch
    normalisation's moving statistics come from the first pass.

    Args:
        front: augmentation and normalisation.
        network: the network to train: front's output to logits.
        rho: length of the move, in the L2 norm over all weights, > 0.

    Source: Foret et al. 2021, arXiv:2010.01412, algorithm 1.
    """

    def __init__(self, front: keras.Model, network: keras.Model, rho: float) -> None:
        super().__init__(front.inputs, network(front.outputs[0]), name="training_model")
        self.front = front
        self.network = network
        self.rho = rho

    def train_step(self, data: Any) -> dict[str, Any]:
        """Take one step; returns the running means of loss and metrics in this epoch."""
        import tensorflow as tf

        images, labels = data
        images = self.front(images, training=True)
        variables = self.network.trainable_variables
        gradients, _, _ = self._gradients(images, labels, variables)
        # compute_loss divides by the replicas, whose gradients are summed.
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        if replicas > 1:
            gradients = tf.distribute.get_replica_context().all_reduce("sum", gradients)
        climb = self.rho / (tf.linalg.global_norm(gradients) + 1e-12)
        moving = [v for v in self.network.non_trainable_variables if "moving_" in v.path]
        statistics = [tf.identity(variable.value) for variable in moving]
        for variable, gradient in zip(variables, gradients, strict=True):
            variable.assign_add(climb * gradient)
        worst, loss, logits = self._gradients(images, labels, variables)
        for variable, gradient in zip(variables, gradients, strict=True):
            variable.assign_sub(climb * gradient)
        for variable, value in zip(moving, statistics, strict=True):
            variable.assign(value)
        self.optimizer.apply(worst, variables)
        self._loss_tracker.update_state(replicas * loss, sample_weight=tf.shape(images)[0])
        return across_workers(self.compute_metrics(images, labels, logits))

    def _gradients(self, images: Any, labels: Any, variables: list[Any]) -> tuple[Any, Any, Any]:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            logits = self.network(images, training=True)
            loss = self.compute_loss(images, labels, logits)
        gradients = tape.gradient(loss, [variable.value for variable in variables])
        return gradients, loss, logits
