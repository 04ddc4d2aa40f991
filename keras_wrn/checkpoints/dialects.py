"""How other people name the layers of wide residual networks, and what they do differently.

An entry of `DIALECTS` maps the names of a checkpoint's layers to ours, and has the `Conventions`
that the network is built with. In the names `{g}`, `{b}` and `{i}` stand for the group, the block
and the layer in the block, counted from 1; `{g0}`, `{b0}` and `{i0}` are counted from 0.

Names do not tell everything, so the caller must know where a checkpoint comes from. FixMatch's
PyTorch ports have xternalz' names and another network (leaky ReLU, raw shortcuts): the dialects
"fixmatch" and "torchssl" must be named. The networks of uncertainty-baselines have the same names
in their post-activation version 1. DeepMind's names are the same with ReLU and with SiLU.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from keras_wrn.checkpoints.layer_names import Layers, Renamer, fill, number_layers, pattern_of
from keras_wrn.errors import InputError
from keras_wrn.networks.blocks import PAPER, Conventions

OUR_LAYER = re.compile(
    r"stem_conv|stem_bn|head_bn|predictions|group\d+_block\d+_(conv\d+|bn\d+|proj|proj_bn)"
)
Statistics = tuple[tuple[float, ...], tuple[float, ...]]  # mean and std of images in [0, 1]
KeyMap = Mapping[str, str | None] | Callable[[str], str | None]


@dataclass(frozen=True, eq=False)
class Dialect:
    """One implementation's names and conventions.

    Attributes:
        name: for `convert(dialect=...)`.
        source: the repositories that use it.
        names: their layer -> our layer, or None for a layer to leave out.
        numbered: their names only count, see `number_layers`.
        conventions: of the network.
        statistics: the names of mean and std, if the network normalises its images itself.
        default_statistics: classes -> mean and std, if a file lacks the constants.
        ignored: a pattern of layers that the network never uses.
        aliases: other names for the dialect.
    """

    name: str
    source: str
    names: KeyMap
    numbered: bool = False
    conventions: Conventions = PAPER
    statistics: tuple[str, str] | None = None
    default_statistics: Mapping[int, Statistics] = field(default_factory=dict)
    ignored: str = r"(?!)"
    aliases: tuple[str, ...] = ()

    def translate(self, layers: Layers) -> dict[str, str]:
        """Map our layers to the checkpoint's, for the layers that this dialect knows."""
        rename = self.names if callable(self.names) else Renamer(self.names)
        theirs_to_ours = (
            number_layers(layers) if self.numbered else {layer: rename(layer) for layer in layers}
        )
        translated: dict[str, str] = {}
        for theirs, ours in theirs_to_ours.items():
            if ours is None:
                continue
            if not isinstance(ours, str) or not OUR_LAYER.fullmatch(ours):
                raise InputError(
                    "The new names in a key map must be those of WideResNet's layers: stem_conv, "
                    "group1_block1_bn1, group2_block1_proj, head_bn, predictions. "
                    f"Received: {ours!r} for {theirs!r}"
                )
            if ours in translated:
                raise InputError(
                    f"Two layers of the checkpoint would be {ours}: {translated[ours]}, {theirs}."
                )
            translated[ours] = theirs
        return translated

    def ignores(self, layer: str) -> bool:
        """Whether the table or the key map leaves this layer of a checkpoint out."""
        if re.fullmatch(self.ignored, layer) or layer in (self.statistics or ()):
            return True
        if callable(self.names):
            return self.names(layer) is None
        left_out = [theirs for theirs, ours in self.names.items() if ours is None]
        return any(pattern_of(theirs).fullmatch(layer) for theirs in left_out)

    def their_name(self, ours: str) -> str | None:
        """This dialect's name of our layer, for messages; None if no rule gives it."""
        if callable(self.names):
            return None
        for theirs, template in self.names.items():
            match = template and pattern_of(template).fullmatch(ours)
            if match:
                return fill(theirs, match)
        return None


def key_map_dialect(key_map: KeyMap, base: Dialect | None) -> Dialect:
    """Make a dialect from a key map; all but the names come from `base`."""
    if not callable(key_map) and not isinstance(key_map, Mapping):
        raise InputError(
            "`key_map` must map names of layers to names of layers, as a dictionary, a function "
            f"or a JSON file. Received: key_map of type {type(key_map).__name__}"
        )
    names = [] if callable(key_map) else [*key_map.items()]
    if not all(isinstance(theirs, str) and isinstance(ours, str | None) for theirs, ours in names):
        raise InputError("The names in `key_map` must be strings, or None to leave a layer out.")
    if base is None:
        return Dialect("key_map", "the caller's key map", key_map)
    return replace(base, names=key_map, numbered=False)


def dialect_called(name: str) -> Dialect:
    """Find a dialect by its name or alias. Raises InputError if there is none."""
    for dialect in DIALECTS:
        if name in (dialect.name, *dialect.aliases):
            return dialect
    known = ", ".join(repr(dialect.name) for dialect in DIALECTS)
    raise InputError(f"`dialect` must be None or one of {known}. Received: dialect={name!r}")


_CIFAR10 = ((0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616))
_CIFAR100 = ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762))
_DEEPMIND = Dialect(
    "deepmind",
    "DeepMind's robust networks with SiLU, RobustBench's DMWideResNet",
    {
        "init_conv": "stem_conv",
        "layer.{g0}.block.{b0}.batchnorm_{i0}": "group{g}_block{b}_bn{i}",
        "layer.{g0}.block.{b0}.conv_{i0}": "group{g}_block{b}_conv{i}",
        "layer.{g0}.block.{b0}.shortcut": "group{g}_block{b}_proj",
        "batchnorm": "head_bn",
        "logits": "predictions",
    },
    conventions=Conventions(activation="silu", strided_padding=(0, 1)),
    statistics=("mean", "std"),
    default_statistics={10: _CIFAR10, 100: _CIFAR100},
)
_XTERNALZ = Dialect(
    "xternalz",
    "xternalz/WideResNet-pytorch, TRADES, RobustBench's WideResNet",
    {
        "conv1": "stem_conv",
        "block{g}.layer.{b0}.bn{i}": "group{g}_block{b}_bn{i}",
        "block{g}.layer.{b0}.conv{i}": "group{g}_block{b}_conv{i}",
        "block{g}.layer.{b0}.convShortcut": "group{g}_block{b}_proj",
        "bn1": "head_bn",
        "fc": "predictions",
    },
    statistics=("mu", "sigma"),
    # TRADES makes a second copy of the first group and never uses it.
    ignored=r"sub_block1\..*",
    aliases=("trades", "robustbench"),
)
_FIXMATCH = Conventions(
    activation="leaky_relu",
    negative_slope=0.1,
    projection_input="raw after group 1",
    branch_input="raw",
    bn_momentum=0.999,
)
DIALECTS = (
    Dialect(
        "authors",
        "szagoruyko/wide-residual-networks, pytorch/",
        {
            "conv0": "stem_conv",
            "group{g0}.block{b0}.bn{i0}": "group{g}_block{b}_bn{i}",
            "group{g0}.block{b0}.conv{i0}": "group{g}_block{b}_conv{i}",
            "group{g0}.block{b0}.convdim": "group{g}_block{b}_proj",
            "bn": "head_bn",
            "fc": "predictions",
        },
    ),
    _XTERNALZ,
    replace(
        _XTERNALZ,
        name="fixmatch",
        source="PyTorch's ports of FixMatch and MixMatch: kekmodel, YU1ut",
        conventions=_FIXMATCH,
        aliases=("mixmatch",),
    ),
    replace(
        _XTERNALZ,
        name="torchssl",
        source="TorchSSL and USB",
        conventions=replace(_FIXMATCH, bn_epsilon=1e-3),
        aliases=("usb",),
    ),
    _DEEPMIND,
    replace(
        _DEEPMIND,
        name="deepmind_relu",
        source="DeepMind's robust networks with ReLU",
        conventions=Conventions(strided_padding=(0, 1)),
    ),
    Dialect(
        "torchvision",
        "torchvision's and timm's wide_resnet50_2 and wide_resnet101_2, resnet18 and resnet34",
        {
            "conv1": "stem_conv",
            "bn1": "stem_bn",
            "layer{g}.{b0}.conv{i}": "group{g}_block{b}_conv{i}",
            "layer{g}.{b0}.bn{i}": "group{g}_block{b}_bn{i}",
            "layer{g}.{b0}.downsample.0": "group{g}_block{b}_proj",
            "layer{g}.{b0}.downsample.1": "group{g}_block{b}_proj_bn",
            "fc": "predictions",
        },
        aliases=("timm",),
    ),
    Dialect(
        "attention_transfer",
        "repositories with nblockLayer in their names",
        {
            "conv1": "stem_conv",
            "block{g}.nblockLayer.{b0}.batch_norm{i}": "group{g}_block{b}_bn{i}",
            "block{g}.nblockLayer.{b0}.conv{i}": "group{g}_block{b}_conv{i}",
            "block{g}.nblockLayer.{b0}.conv_inp": "group{g}_block{b}_proj",
            "batch_norm": "head_bn",
            "fc": "predictions",
        },
    ),
    Dialect(
        "meliketoy",
        "meliketoy/wide-resnet.pytorch, SWA's and Fast AutoAugment's networks",
        {
            "conv1": "stem_conv",
            "layer{g}.{b0}.bn{i}": "group{g}_block{b}_bn{i}",
            "layer{g}.{b0}.conv{i}": "group{g}_block{b}_conv{i}",
            "layer{g}.{b0}.shortcut.0": "group{g}_block{b}_proj",
            "bn1": "head_bn",
            "linear": "predictions",
        },
        conventions=Conventions(strided_conv=2, projection_input="raw", conv_bias=True),
    ),
    Dialect(
        "uncertainty_baselines",
        "google/uncertainty-baselines, wide_resnet of version 2",
        {},
        numbered=True,
        conventions=Conventions(strided_padding=(0, 1), projection_input="raw"),
    ),
)
