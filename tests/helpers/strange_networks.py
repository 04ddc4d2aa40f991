"""Wide ResNets as strangers write them: Keras' own layer names, one thing wrong at a time."""

from functools import partial

import keras
from keras import layers


def stranger(
    *,
    momentum=0.9,
    epsilon=1e-5,
    l2=None,
    decay_of_norms=True,
    padding="torch",
    shortcut="activated",
    bias=False,
    dropout=None,
    order="pre",
    counts=(1, 1, 1),
    width=2,
    stem=16,
    final_norm=True,
    nested=False,
    name="wrn_10_2",
):
    """A network of the paper but for the arguments that differ from their defaults."""
    decay = keras.regularizers.L2(l2) if l2 else None
    conv = partial(layers.Conv2D, use_bias=bias, kernel_regularizer=decay)
    own = decay if decay_of_norms else None

    def norm(x):
        x = layers.BatchNormalization(
            momentum=momentum, epsilon=epsilon, gamma_regularizer=own, beta_regularizer=own
        )(x)
        return layers.ReLU()(x)

    def strided(x, planes, stride):
        if stride == 1 or padding == "same":
            return conv(planes, 3, stride, padding="same")(x)
        pads = {"torch": 1, "early": ((0, 1), (0, 1))}[padding]
        return conv(planes, 3, stride)(layers.ZeroPadding2D(pads)(x))

    def project(raw, activated, planes, stride):
        if shortcut == "raw":
            return conv(planes, 1, stride)(raw)
        if shortcut == "3x3":
            return conv(planes, 3, stride, padding="same" if stride == 1 else "valid")(
                layers.ZeroPadding2D(1)(activated) if stride > 1 else activated
            )
        return conv(planes, 1, stride)(activated)

    def pre(x, planes, stride):
        y = norm(x)
        changed = x.shape[-1] != planes
        skip = project(x, y, planes, stride) if changed else x
        y = strided(y, planes, stride)
        if dropout == "before norm":
            y = layers.Dropout(0.3)(y)
        y = norm(y)
        if dropout == "between":
            y = layers.Dropout(0.3)(y)
        y = conv(planes, 3, padding="same")(y)
        if dropout == "shortcut":
            skip = layers.Dropout(0.3)(skip)
        return layers.add([y, skip])

    def post(x, planes, stride):
        y = norm(strided(x, planes, stride))
        y = conv(planes, 3, padding="same")(y)
        y = layers.BatchNormalization(momentum=momentum, epsilon=epsilon)(y)
        changed = x.shape[-1] != planes
        skip = conv(planes, 1, stride)(x) if changed else x
        return layers.ReLU()(y + skip)

    inputs = keras.Input((32, 32, 3))
    x = conv(stem, 3, padding="same")(inputs)
    for group, count in enumerate(counts):
        for block in range(count):
            make = pre if order == "pre" else post
            x = make(x, 16 * 2**group * width, 2 if group and not block else 1)
    if final_norm and order == "pre":
        x = norm(x)
    x = layers.GlobalAveragePooling2D()(x)
    if dropout == "end":
        x = layers.Dropout(0.3)(x)
    outputs = layers.Dense(10, activation="softmax", kernel_regularizer=decay)(x)
    model = keras.Model(inputs, outputs, name=name)
    if not nested:
        return model
    pixels = keras.Input((32, 32, 3))
    return keras.Model(pixels, model(layers.Rescaling(1 / 255)(pixels)))
