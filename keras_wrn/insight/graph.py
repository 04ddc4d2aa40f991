"""Walk the graph of a functional model, through the models inside it.

A walk calls every layer in order, and lets its caller see, replace or skip each call. Values may
be tensors of the backend (compute), Keras tensors (build a new model of the same layers) or any
other objects (read the graph).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras

from keras_wrn.errors import InputError

ENSEMBLE_MEAN = "ensemble_mean"  # the last layer of `ensembles.ensemble`
# A layer and the arguments of one call of it -> what it returns.
Visit = Callable[..., Any]


def walk(model: keras.Model, inputs: Sequence[Any], visit: Visit) -> list[Any]:
    """Go through a model's graph, layer by layer.

    Args:
        model: a functional or sequential model; the models inside it are gone through too.
        inputs: a value for each input.
        visit: called as visit(layer, *args, **kwargs) for each call of a layer or operation.

    Returns:
        The values of the model's outputs.

    Raises:
        InputError: the model, or one inside it, is a subclass without a graph.

    Example:
        >>> def name(layer, *args, **kwargs):
        ...     return layer.name
        >>> walk(keras_wrn.WideResNet(10, 1), ["x"], name)
        ['predictions']
    """
    graph = graph_of(model)
    values = {id(tensor): value for tensor, value in zip(graph.inputs, inputs, strict=True)}
    for depth in sorted(graph._nodes_by_depth, reverse=True):
        for node in graph._nodes_by_depth[depth]:
            if node.is_input:
                continue
            args, kwargs = node.arguments.fill_in(values)
            if hasattr(node.operation, "layers"):
                results = walk(node.operation, [values[id(x)] for x in node.input_tensors], visit)
            else:
                result = visit(node.operation, *args, **kwargs)
                several = isinstance(result, (list, tuple)) and len(node.outputs) > 1
                results = result if several else [result] * len(node.outputs)
            values |= {id(tensor): value for tensor, value in zip(node.outputs, results)}
    return [values[id(tensor)] for tensor in graph.outputs]


def graph_of(model: Any) -> Any:
    """The functional model that a functional or a built sequential model is."""
    graph = getattr(model, "_functional", None) or model
    if not hasattr(graph, "_nodes_by_depth"):
        raise InputError(
            "`model` must be a functional or a built sequential Keras model, whose graph can be "
            f"read. Received: {getattr(model, 'name', model)!r} of type {type(model).__name__}. "
            "Rebuild it with keras.Model(inputs, outputs)."
        )
    return graph


def leaf_layers(model: keras.Model) -> list[Any]:
    """The layers of a model and of the models inside it, in the order of the graph."""
    found: list[Any] = []

    def visit(layer: Any, *args: Any, **kwargs: Any) -> Any:
        if layer not in found:
            found.append(layer)
        return layer

    walk(model, graph_of(model).inputs, visit)
    return found


def check_unique(model: keras.Model, name: str) -> None:
    """Raise InputError if several layers have a name, as those of an ensemble's members do."""
    if (count := [layer.name for layer in leaf_layers(model)].count(name)) > 1:
        raise InputError(
            f"`model` must have one layer with the name {name!r}. Received: {model.name} with "
            f"{count}. Take the members of an ensemble one by one."
        )


def single_input(model: keras.Model) -> Any:
    """The only symbolic input of a model; raises InputError where there are several."""
    inputs = graph_of(model).inputs
    if len(inputs) != 1:
        raise InputError(f"`model` must have one input. Received: {model.name} with {len(inputs)}.")
    return inputs[0]


def refuse_quantized(layer: Any) -> None:
    """Raise InputError for a layer after `model.quantize`, whose kernel are numbers to scale."""
    if getattr(layer, "quantization_mode", None):
        raise InputError(
            f"`model` must have float weights. Received: {layer.name} in "
            f"{layer.quantization_mode}. Give the model as it was before `quantize`."
        )


def input_like(model: keras.Model) -> Any:
    """A new symbolic input, of the shape and dtype of a model's only one."""
    start = single_input(model)
    return keras.Input(start.shape[1:], dtype=start.dtype, name="images")


def logits_function(
    model: keras.Model, change: Callable[[Any, Any], Any] | None = None
) -> Callable[[Any], Any]:
    """The same classifier without its softmax, as a function of tensors.

    Args:
        model: a functional classifier, possibly with models inside, that ends in a softmax (as a
            layer or as the activation of a Dense layer) or in logits; or an ensemble.
        change: called with each layer and its result; what it returns takes the result's place.

    Returns:
        A function of a tensor that the model takes (or a Keras tensor) to logits, (n, classes).
        It uses the layers and weights of the model, in inference.

    Raises:
        InputError: the last layer has another activation, or the model several inputs.

    Example:
        >>> logits = logits_function(keras_wrn.WideResNet(10, 1))
        >>> logits(keras.ops.zeros((2, 32, 32, 3))).shape[1]
        10
    """
    last = leaf_layers(model)[-1]
    activation = getattr(last, "activation", None)
    is_softmax = activation is keras.activations.softmax
    if not isinstance(last, keras.layers.Softmax) and not (
        activation in (None, keras.activations.linear)
        or (is_softmax and isinstance(last, (keras.layers.Dense, keras.layers.Activation)))
    ):
        raise InputError(
            "`model` must end in a softmax or in logits. Received: the last layer "
            f"{last.name!r} with activation {keras.activations.serialize(activation)!r}."
        )
    single_input(model)
    refuse_quantized(last)

    def compute(layer: Any, *args: Any, **kwargs: Any) -> Any:
        if layer is last and last.name == ENSEMBLE_MEAN:
            # The logarithm of probabilities is a logit; float32's smallest number is 1e-38.
            return keras.ops.log(keras.ops.maximum(layer(*args, **kwargs), 1e-30))
        if layer is not last or not (is_softmax or isinstance(last, keras.layers.Softmax)):
            return layer(*args, **kwargs)
        if not isinstance(last, keras.layers.Dense):
            return args[0]
        product = keras.ops.matmul(keras.ops.cast(args[0], last.kernel.dtype), last.kernel)
        return product if last.bias is None else keras.ops.add(product, last.bias)

    def visit(layer: Any, *args: Any, **kwargs: Any) -> Any:
        result = compute(layer, *args, **kwargs)
        return result if change is None else change(layer, result)

    return lambda images: walk(model, [images], visit)[0]
