"""Audit a Wide ResNet: where does somebody's network differ from the paper's?"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras

from keras_wrn.checkpoints.dialects import DIALECTS, Dialect
from keras_wrn.errors import InputError
from keras_wrn.insight import block_traps, layer_traps
from keras_wrn.insight.findings import Finding, Findings
from keras_wrn.insight.residual import ResidualNetwork, read_residual_network
from keras_wrn.networks.blocks import PAPER, Conventions
from keras_wrn.networks.recognition import count_parameters

CHECKS: tuple[Callable[[ResidualNetwork], Findings], ...] = (
    layer_traps.bn_momentum,
    layer_traps.bn_epsilon,
    layer_traps.weight_decay,
    block_traps.same_padding,
    block_traps.raw_shortcut,
    layer_traps.biased_convolutions,
    block_traps.dropout_place,
    block_traps.post_activation,
    block_traps.depth_rule,
    layer_traps.parameter_count,
)
# What follows from the conventions of a dialect, and stays as it is with its weights.
_BY_CONVENTION = ("same_padding", "raw_shortcut")


@dataclass(frozen=True)
class Audit:
    """What an audit found.

    Attributes:
        network: the name of the model, its blocks and parameters, in words.
        dialect: whose conventions the network has, as `convert` names them; None for the
            paper's.
        findings: the traps that it fell into; empty for a clean network.
    """

    network: str
    dialect: str | None
    findings: tuple[Finding, ...]

    def __str__(self) -> str:
        lines = [self.network]
        if self.dialect:
            lines.append(f"conventions of the dialect {self.dialect!r}")
        lines += [str(finding) for finding in self.findings]
        return "\n".join(lines if self.findings else [*lines, "nothing differs from the paper"])

    def to_json(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {**vars(self), "findings": [vars(finding) for finding in self.findings]}


def audit(model: keras.Model) -> Audit:
    """Find where a Wide ResNet differs from the paper's, whoever built it.

    The graph is read, not the names of the layers; the depth and the width of which the blocks and
    the parameters should be are read off the name of the model ("wrn_28_10"), where it says them.
    Weight decay is read off regularisers, and off the optimiser of a compiled model. Networks of
    ImageNet's form may be post-activation, as the authors' are.

    Args:
        model: a functional Keras model of any author, converted or not.

    Returns:
        The findings, each with what was received and expected, the place in the paper, what it
        costs and the mend; and the dialect whose conventions explain them.

    Raises:
        InputError: the model has no graph, or no residual blocks.

    Example:
        >>> audit(keras_wrn.WideResNet16_4(dropout=0.3)).findings
        ()
        >>> late = keras_wrn.Conventions(bn_momentum=0.99)
        >>> print(audit(keras_wrn.WideResNet(10, 1, conventions=late)).findings[0].received)
        momentum=0.99 in group1_block1_bn1 and 6 more

    Source: Zagoruyko & Komodakis, arXiv:1605.07146, and the authors' code.
    """
    network = read_residual_network(model)
    findings = tuple(finding for check in CHECKS for finding in check(network))
    dialect = _dialect(network, findings)
    if dialect is not None:
        findings = tuple(_kept(finding, dialect) for finding in findings)
    return Audit(_described(network, model), dialect.name if dialect else None, findings)


def audit_file(path: str | os.PathLike[str]) -> Audit:
    """Audit a file: a Keras model, a run folder, or a checkpoint that `convert` reads.

    Args:
        path: a .keras or .h5 model, a folder with card.json, or a checkpoint.

    Returns:
        As `audit`; a checkpoint's dialect is that of its names.

    Raises:
        InputError: it is none of these, or cannot be read.

    Example:
        >>> print(audit_file("saved_models/wrn-16-4-cifar10"))  # doctest: +SKIP
        wide_resnet16_4: 2, 2, 2 blocks of B(3,3), 2,748,890 trainable parameters
        nothing differs from the paper
    """
    from keras_wrn.applications.conversion import convert_checkpoint
    from keras_wrn.inference.trained import load_trained

    if Path(path).is_dir():
        return audit(load_trained(path).model)
    if str(path).endswith(".keras") or _is_keras_h5(Path(path)):
        return audit(_load(Path(path)))
    found = convert_checkpoint(path)
    result = audit(found.model)
    return result if result.dialect else replace(result, dialect=found.dialect)


def _load(path: Path) -> keras.Model:
    """A whole Keras model."""
    if not path.is_file():
        raise InputError(f"The file to audit must exist. Received: {path}")
    from keras_wrn.inference.trained import register

    register()
    try:
        return keras.saving.load_model(path)
    except (ValueError, TypeError, OSError, KeyError) as error:
        first = " ".join(str(error).split())[:300]
        raise InputError(
            f"{path} cannot be loaded as a Keras model; build it and call keras_wrn.audit(model). "
            f"Keras says: {first}"
        ) from error


def _is_keras_h5(path: Path) -> bool:
    """Whether an HDF5 file holds a whole model, not weights alone."""
    if path.suffix not in (".h5", ".hdf5") or not path.is_file():
        return False
    import h5py

    if not h5py.is_hdf5(path):
        return False
    with h5py.File(path) as file:
        return "model_config" in file.attrs


def _dialect(network: ResidualNetwork, findings: tuple[Finding, ...]) -> Dialect | None:
    """The dialect whose conventions the network has, if they are not the paper's."""
    traps = {finding.trap for finding in findings}
    if network.for_imagenet or traps & {"post_activation", "shortcut_form"}:
        return None
    strided = [
        block_traps.strided_padding(node)
        for node in network.nodes
        if node.kind == "conv" and node.layer.strides[0] > 1 and node.layer.kernel_size[0] > 1
    ]
    found = Conventions(
        activation=_activation(network),
        strided_padding=(0, 1) if None in strided or (0, 1) in strided else PAPER.strided_padding,
        projection_input="raw" if "raw_shortcut" in traps else PAPER.projection_input,
    )
    matching = [row for row in DIALECTS if row.conventions == found]
    return matching[0] if matching and found != PAPER else None


def _activation(network: ResidualNetwork) -> str:
    """The most common activation."""
    names = []
    for node in network.nodes:
        if node.kind == "act":
            function = getattr(node.layer, "activation", None)
            names.append(getattr(function, "__name__", type(node.layer).__name__.lower()))
    return max(set(names), key=names.count) if names else "relu"


def _kept(finding: Finding, dialect: Dialect) -> Finding:
    """Say of a convention of a dialect that it belongs to its weights."""
    if finding.trap not in _BY_CONVENTION:
        return finding
    mend = f"none with weights of {dialect.name!r} ({dialect.source}); else {finding.mend}"
    return replace(finding, mend=mend)


def _described(network: ResidualNetwork, model: keras.Model) -> str:
    """The network in a line."""
    counts = ", ".join(str(len(group)) for group in network.groups)
    kernels = ",".join(map(str, network.kernels))
    total = count_parameters(model)
    return f"{model.name}: {counts} blocks of B({kernels}), {total:,} trainable parameters"
