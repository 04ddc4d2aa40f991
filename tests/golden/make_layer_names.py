"""Write layer_names.json: the layers that published weights are read by.

    python tests/golden/make_layer_names.py

Run it only when a network is added: a changed name, class or shape makes every weights file
that is out there unreadable.
"""

import json
import pathlib

import keras

from keras_wrn.applications.wide_resnet import WideResNet
from keras_wrn.applications.wide_resnet_imagenet import WideResNet18, WideResNet50_2

GOLDEN = pathlib.Path(__file__).with_name("layer_names.json")
NETWORKS = {
    "WRN-16-1": lambda: WideResNet(16, 1),
    "WRN-16-2 dropout": lambda: WideResNet(16, 2, dropout=0.3),
    "WRN-13-1-B(3,1,3)": lambda: WideResNet(13, 1, "B(3,1,3)"),
    "pre-ResNet-20 stochastic depth": lambda: WideResNet(20, 1, "bottleneck", stochastic_depth=0.5),
    "WRN-18-1": lambda: WideResNet18(1),
    "WRN-50-2-bottleneck": WideResNet50_2,
}


def layers_of(model: keras.Model) -> dict[str, str]:
    """Layer name -> class and weight shapes, such as "Conv2D 3x3x16x32", in the model's order."""
    return {
        layer.name: " ".join(
            [type(layer).__name__, *("x".join(map(str, weight.shape)) for weight in layer.weights)]
        )
        for layer in model.layers
        if not isinstance(layer, keras.layers.InputLayer)
    }


if __name__ == "__main__":
    table = {name: layers_of(build()) for name, build in NETWORKS.items()}
    GOLDEN.write_text(json.dumps(table, indent=1) + "\n")
