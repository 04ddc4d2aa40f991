"""Checks of blocks: padding, shortcut, dropout, order, and how many there are.

Each check reads a network and says what it found, what the paper has, what the difference costs
and how to mend it. Costs without a figure were not measured.
"""

from __future__ import annotations

from keras_wrn.insight.findings import LUA, Finding, Findings, where
from keras_wrn.insight.residual import Node, ResidualNetwork
from keras_wrn.networks.blocks import GROUPS


def same_padding(network: ResidualNetwork) -> Findings:
    """A strided 3x3 convolution with "same" pads (0, 1), Torch's pads (1, 1)."""
    found = []
    for node in network.nodes:
        if node.kind not in ("conv", "max_pool"):
            continue
        layer = node.layer
        size = layer.kernel_size[0] if node.kind == "conv" else layer.pool_size[0]
        if layer.strides[0] > 1 and size > 1 and strided_padding(node) != (size // 2, size // 2):
            found.append(node)
    if found:
        pads = strided_padding(found[0])
        size = "'same', which is (0, 1) for even sizes," if pads is None else str(pads)
        yield Finding(
            "same_padding",
            f"padding {size} with stride 2 in {where([node.layer for node in found])}",
            "as many zeros on both sides: (1, 1) for 3x3",
            LUA,
            "Features move by a pixel: with one set of weights, logits of WRN-16-2 differ by up "
            "to 1.69 (their standard deviation is 4.4).",
            "ZeroPadding2D(1), then padding='valid'",
        )


def strided_padding(node: Node) -> tuple[int, int] | None:
    """Zeros before and after the width of a strided layer; None for "same"."""
    if node.layer.padding == "same":
        return None
    before = node.inputs[0] if node.inputs else None
    if before is not None and before.kind == "pad":
        pads = getattr(before.layer, "padding", None) or before.layer.pad_width[1:3]
        return tuple(int(side) for side in pads[0])  # type: ignore[return-value]
    return 0, 0


def raw_shortcut(network: ResidualNetwork) -> Findings:
    """The projection takes the activated input, and is 1x1 without normalisation."""
    blocks = [block for block in network.blocks if block.projections and not block.post_activation]
    raw = [
        block.projections[0]
        for block in blocks
        if block.fork.kind != "act" and block.shortcut[0].kind == "conv"
    ]
    if raw:
        yield Finding(
            "raw_shortcut",
            f"{where(raw)} take the input before batch normalisation and ReLU",
            "one batch normalisation and ReLU, shared by both branches",
            LUA,
            "Not measured; weights trained in the other way give other logits.",
            "feed the projection with the output of the block's first ReLU",
        )
    other = [
        block.projections[0]
        for block in blocks
        if block.projections[0].kernel_size != (1, 1)
        or any(node.kind in ("norm", "act") for node in block.shortcut)
        or len(block.projections) > 1
    ]
    if other:
        yield Finding(
            "shortcut_form",
            f"the shortcut of {where(other)} is more than one 1x1 convolution",
            "a 1x1 convolution without batch normalisation of its own",
            LUA,
            "More parameters and operations than the paper's network.",
            "Conv2D(planes, 1, strides=stride, use_bias=False) alone",
        )


def dropout_place(network: ResidualNetwork) -> Findings:
    """Dropout stands between the convolutions of a block, after batch normalisation and ReLU."""
    right = set()
    for block in network.blocks:
        seen = 0
        for position, node in enumerate(block.residual):
            before = block.residual[position - 1].kind if position else block.fork.kind
            after = [later.kind for later in block.residual[position + 1 :] if later.kind != "pad"]
            seen += node.kind == "conv"
            if node.kind != "drop":
                continue
            between = bool(seen) and before == "act" and after[:1] == ["conv"]
            # Whole branches are dropped at their end: stochastic depth.
            shape = getattr(node.layer, "noise_shape", None)
            drops_planes = shape is not None and tuple(shape[1:]) == (1, 1, 1) and not after
            if between or drops_planes:
                right.add(node)
    wrong = [node.layer for node in network.nodes if node.kind == "drop" and node not in right]
    if wrong:
        yield Finding(
            "dropout_place",
            f"{where(wrong)}, not between batch normalisation, ReLU and a later convolution",
            "BN, ReLU, convolution, BN, ReLU, dropout, convolution",
            "section 2.4, Figure 1 (d)",
            "Dropout in the identity part made results worse (section 2.4); before batch "
            "normalisation it shifts the variance between training and test.",
            "Dropout directly before the block's second convolution",
        )


def post_activation(network: ResidualNetwork) -> Findings:
    """On small images, batch normalisation and ReLU precede each convolution."""
    if network.for_imagenet:
        return
    blocks = [block for block in network.blocks if block.post_activation]
    if blocks:
        yield Finding(
            "post_activation",
            f"batch normalisation or ReLU follow {where([b.convolutions[-1] for b in blocks])}",
            "BN-ReLU-convolution in every block",
            "section 2, Figure 1",
            "Slower training and higher error with depth (section 2, He et al. 2016b).",
            "move batch normalisation and ReLU before the convolution, and one pair to the end",
        )


def depth_rule(network: ResidualNetwork) -> Findings:
    """The depth in the name is 3 N len(M) + 4, or that of Table 2."""
    counts = [len(group) for group in network.groups]
    if network.for_imagenet:
        return
    if len(counts) != len(GROUPS) or len(set(counts)) > 1:
        yield Finding(
            "depth_rule",
            f"groups of {', '.join(map(str, counts))} blocks",
            "three groups of N blocks each",
            "Table 1",
            "This is none of the paper's networks.",
            "N = (depth - 4) / 6 blocks of B(3,3) in each group",
        )
        return
    if network.label is None:
        return
    length, blocks, labelled = len(network.kernels), counts[0], network.label[0]
    depth = 9 * blocks + 2 if network.bottleneck else 3 * blocks * length + 4
    # Table 2 keeps the label of B(3,3), or counts N as its rows do.
    table2 = {(40, 6), (28, 4), (22, 3)} if network.kernels != (3, 3) else set()
    if depth != labelled and (labelled, blocks) not in table2:
        wanted = (labelled - 2) / 9 if network.bottleneck else (labelled - 4) / (3 * length)
        rename = f"the depth {depth} in the name"
        is_whole = wanted >= 1 and wanted == int(wanted)
        yield Finding(
            "depth_rule",
            f"N={blocks} for the depth {labelled} in the name; N={blocks} is of depth {depth}",
            f"N={wanted:g}" if is_whole else f"a depth of {3 * length} N + 4 with B(M) of {length}",
            "Tables 1 and 3: depth = 3 * N * len(M) + 4",
            "Results are compared with those of another network.",
            f"N={wanted:g}, or {rename}" if is_whole else rename,
        )
