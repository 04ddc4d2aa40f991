"""A layer of augmentation inside a compiled program, as a training step calls it."""

import keras


class InTraining(keras.layers.Layer):
    """Calls a layer in training, also where `predict`, which can be compared, calls this one."""

    def __init__(self, layer):
        super().__init__(dtype=layer.dtype_policy)
        self.layer = layer

    def call(self, images):
        return self.layer(images, training=True)


def compiled_twice(layer, images):
    """What a compiled model of one layer makes of the same images in two calls."""
    inputs = keras.Input(images.shape[1:], dtype=images.dtype.name)
    model = keras.Model(inputs, InTraining(layer)(inputs))
    return model.predict(images, verbose=0), model.predict(images, verbose=0)
