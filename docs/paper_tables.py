"""What paper.md prints: the paper's figures from `keras_wrn.paper`, ours from docs/runs."""

import re
from pathlib import Path

import keras
from IPython.display import Markdown

import keras_wrn
from keras_wrn.networks.names import NETWORKS
from keras_wrn.paper import step_time
from keras_wrn.paper.figures import times_table
from keras_wrn.paper.reproduction import Outcome, gather, median_and_range, select
from keras_wrn.paper.scale import Scale
from keras_wrn.system import markdown
from keras_wrn.training.recipe import Recipe

RUNS = Path(__file__).resolve().with_name("runs") / "reproduction"
# What divides the widths of the runs on digits.
SMALL = {"table2": 8, "table3": 8, "table4": 8, "table6": 4}
NAMES = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "svhn": "SVHN", "imagenet": "ImageNet"}


def call(recipe: Recipe) -> str:
    """The Python that builds a recipe's network, with the default classes."""
    options = [f"dropout={recipe.dropout:g}"] if recipe.dropout else []
    if recipe.form == "imagenet":
        basic = recipe.depth in (18, 34)
        return f"WideResNet{recipe.depth}" + (f"(width={recipe.width:g})" if basic else "_2()")
    thin = f"pre-ResNet-{recipe.depth}" if recipe.block == "bottleneck" else ""
    known = NETWORKS.get(thin or f"{recipe.depth}-{recipe.width:g}")
    own = recipe.blocks_per_group is not None or recipe.block not in ("B(3,3)", "bottleneck")
    if known and not own:
        return f"{known.builder}({', '.join(options)})"
    words = [f"{recipe.depth}", f"{recipe.width:g}", f'"{recipe.block}"']
    if recipe.blocks_per_group is not None:
        words.append(f"blocks_per_group={recipe.blocks_per_group}")
    if recipe.stochastic_depth:
        words.append(f"stochastic_depth={recipe.stochastic_depth:g}")
    return f"WideResNet({', '.join(words + options)})"


def table(name: str) -> Markdown:
    """A table of the paper: networks, parameters, and errors in percent, the paper's and ours."""
    rows = select([name])
    scale = Scale(None, SMALL[name]) if name in SMALL else None
    datasets = list(dict.fromkeys(row.dataset for row in rows))
    head = ["network", "parameters", *["time, paper"] * any(row.time for row in rows)]
    for dataset in datasets:
        head += [f"{NAMES.get(dataset, 'COCO')}, paper", "ours"]
    head += [f"digits, widths / {scale.narrow:g}"] if scale else []
    lines = []
    for key in dict.fromkeys(row.key for row in rows):
        same = {row.dataset: row for row in rows if row.key == key}
        first = next(iter(same.values()))
        network = f"`{call(first.recipe)}`" if first.recipe else first.system
        exact = f"{first.parameters:,}" if first.parameters else ""
        printed = f"({first.printed})" if exact and first.printed else first.printed
        line = [network, f"{exact} {printed}".strip() or "-"]
        line += [first.time or "-"] if "time, paper" in head else []
        for dataset in datasets:
            row = same.get(dataset)
            line += [" / ".join(f"{error:.2f}" for error in row.errors) or "-"] if row else ["-"]
            line += [_ours(gather(row, RUNS))] if row else ["-"]
        if scale:
            line.append(_ours(gather(first, RUNS, scale)))
        lines.append(line)
    return Markdown(markdown.table(head, lines))


def _ours(outcome: Outcome) -> str:
    if outcome.recipe is None and not outcome.row.command:
        return "not built"
    if not outcome.runs:
        return "not measured"
    errors = range(len(outcome.runs[0].errors))
    shown = " / ".join(median_and_range(outcome.errors(which)) for which in errors)
    return f"**{shown}**, n = {len(outcome.runs)}"


def table_1(depth: int = 28, width: int = 10) -> Markdown:
    """The layers of a network, in the rows of Table 1."""
    with keras.StatelessScope(initialize_variables=False):
        model = keras_wrn.WideResNet(depth, width)
    lines = []
    for number in range(4):
        prefix = f"group{number}_" if number else "stem_"
        found = [layer for layer in model.layers if layer.name.startswith(prefix)]
        convs = [layer for layer in found if re.search(r"conv\d?$", layer.name)]
        blocks = len({layer.name.partition("_conv")[0] for layer in convs})
        block = [f"{c.kernel_size[0]}x{c.kernel_size[1]}, {c.filters}" for c in convs]
        shown = f"[{'; '.join(block[: len(block) // blocks])}]"
        planes = f"{16 << max(number - 1, 0)}{'k' * (number > 0)}"
        paper = f"[3x3, {planes}; 3x3, {planes}] x N" if number else "[3x3, 16]"
        height, wide = convs[-1].output.shape[1:3]
        layers = f"`group{number}_block1` to `{blocks}`" if number else "`stem_conv`"
        times = f" x {blocks}" if number else ""
        lines.append([f"conv{number + 1}", f"{height}x{wide}", paper, shown + times, layers])
    pool = model.get_layer("avg_pool")
    size = "{}x{}".format(*pool.input.shape[1:3])
    lines.append(["avg-pool", "1x1", "[8x8]", f"[{size}]", "`avg_pool`, `predictions`"])
    head = ["group", "output", "block type B(3,3)", f"here, k = {width}, N = {blocks}", "layers"]
    return Markdown(markdown.table(head, lines))


def figure_4() -> Markdown:
    """Figure 4 as ratios, and its picture."""
    result = step_time.read_figure_4(RUNS, None, "mixed_bfloat16")
    assert result is not None, "the times of Figure 4 are part of the repository"
    return Markdown(times_table(result))
