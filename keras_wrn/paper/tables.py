"""The paper's tables, row by row: what the paper reports, and the recipe that repeats it.

Errors in percent, times and printed parameter counts are those of arXiv:1605.07146v4. Exact
parameter counts are computed from the layout, trainable variables only, and agree with the printed
ones. A row's note says what another source says.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any, NamedTuple

from keras_wrn.paper.systems import DROPOUT, SYSTEMS, recipe_of
from keras_wrn.training.recipe import Recipe

TABLES = {
    "table2": "Table 2: block types of k = 2, whitened CIFAR-10, median of 5",
    "table3": "Table 3: convolutions per block, WRN-40-2, whitened CIFAR-10, median of 5",
    "table4": "Table 4: depth and width, whitened CIFAR, median of 5",
    "table5": "Table 5: against other networks, mean/std CIFAR, no dropout; WRN: median of 5",
    "table6": "Table 6: dropout; CIFAR median of 5, SVHN one run",
    "table7": "Table 7: ImageNet, basic blocks, single crop, top-1 / top-5 error",
    "table8": "Table 8: ImageNet, bottlenecks, single crop, top-1 / top-5 error",
    "table9": "Table 9: the best single runs",
}
WORKDIR = "runs/reproduction"  # default folder of all runs


@dataclass(frozen=True)
class Row:
    """One system on one data set, in one table.

    Attributes:
        table: such as "table4".
        key: the system's name on the command line.
        dataset: the data set's name.
        system: the system's name in the paper.
        errors: the paper's test error in percent, on ImageNet top-1 and top-5; empty: none.
        printed: the paper's parameter count, as printed.
        parameters: trainable parameters, exactly; None if the package does not build the network.
        recipe: trains the system; None if the package cannot.
        time: the paper's time, with its unit.
        note: what a reader must know beside the numbers.
        multiply_adds: millions per image.
        command: the program that runs the row, if not `recipes/reproduce.py`.
        unit: what `errors` has in place of an error, such as "mAP".
        settings: options that a run of `command` must have.
    """

    table: str
    key: str
    dataset: str
    system: str
    errors: tuple[float, ...] = ()
    printed: str = ""
    parameters: int | None = None
    recipe: Recipe | None = None
    time: str = ""
    note: str = ""
    multiply_adds: float = 0.0
    command: str = ""
    unit: str = ""
    settings: tuple[tuple[str, Any], ...] = ()

    @property
    def folder(self) -> str:
        """The folder of its runs, in the folder of all runs."""
        return f"{self.table}/{self.key}-{self.dataset}"

    @property
    def runs(self) -> int:
        """Number of runs to train: the paper's, the median of 5 or one."""
        return 5 if self.dataset.startswith("cifar") and self.table != "table9" else 1

    @property
    def printed_runs(self) -> int | None:
        """Number of runs behind the printed error; None for other papers' networks."""
        is_ours = self.recipe is not None and self.system.startswith("WRN")
        return self.runs if is_ours or self.table != "table5" else None


_Errors = tuple[float | None, ...]  # on CIFAR-10, and on CIFAR-100 where there is a second
_TABLE_2 = {"b131": 6.06, "b31": 5.78, "b13": 6.42, "b311": 5.86, "b33": 5.73, "b313": 5.78}
_SECONDS = {"b131": 85.8, "b31": 67.5, "b13": 72.2, "b311": 82.2, "b33": 67.5, "b313": 59.9}
_TABLE_3 = {"l1": 6.69, "l2": 5.43, "l3": 5.65, "l4": 5.93}
_TABLE_4: dict[str, _Errors] = {
    "40-1": (6.85, 30.89),
    "40-2": (5.33, 26.04),
    "40-4": (4.97, 22.89),
    "40-8": (4.66, None),
    "28-10": (4.17, 20.50),
    "28-12": (4.33, 20.43),
    "22-8": (4.38, 21.22),
    "22-10": (4.44, 20.75),
    "16-8": (4.81, 22.07),
    "16-10": (4.56, 21.59),
}
_PEERS_5: dict[str, tuple[str, str, _Errors]] = {
    "nin": ("NIN", "", (8.81, 35.67)),
    "dsn": ("DSN", "", (8.22, 34.57)),
    "fitnet": ("FitNet", "", (8.39, 35.04)),
    "highway": ("Highway", "", (7.72, 32.39)),
    "elu": ("ELU", "", (6.55, 24.28)),
    "resnet-110": ("original ResNet-110", "1.7M", (6.43, 25.16)),
    "resnet-1202": ("original ResNet-1202", "10.2M", (7.93, 27.82)),
    "stochastic-depth-1202": ("stochastic depth, 1202", "10.2M", (4.91,)),
}
_TABLE_5: dict[str, _Errors] = {
    "stochastic-depth-110": (5.23, 24.58),
    "pre-resnet-110": (6.37, None),
    "pre-resnet-164": (5.46, 24.33),
    "pre-resnet-1001": (4.92, 22.71),
    "pre-resnet-1001-batch64": (4.64,),
    "40-4": (4.53, 21.18),
    "16-8": (4.27, 20.43),
    "28-10": (4.00, 19.25),
}
# Without and with dropout. SVHN's 16-8 is in the text of section 3 only.
_TABLE_6 = {
    ("16-4", "cifar10"): (5.02, 5.24),
    ("16-4", "cifar100"): (24.03, 23.91),
    ("16-4", "svhn"): (1.85, 1.64),
    ("28-10", "cifar10"): (4.00, 3.89),
    ("28-10", "cifar100"): (19.25, 18.85),
    ("52-1", "cifar10"): (6.43, 6.28),
    ("52-1", "cifar100"): (29.89, 29.78),
    ("52-1", "svhn"): (2.08, 1.70),
    ("16-8", "svhn"): (1.81, 1.54),
}
_TABLE_7 = {
    "18-1": (30.4, 10.93),
    "18-1.5": (27.06, 9.0),
    "18-2": (25.58, 8.06),
    "18-3": (24.06, 7.33),
    "34-1": (26.77, 8.67),
    "34-1.5": (24.5, 7.58),
    "34-2": (23.39, 7.00),
    "34-3": (),
}
_PEERS_8 = {
    "resnet-50": ("ResNet-50", "25.6M", 49, (24.01, 7.02)),
    "resnet-101": ("ResNet-101", "44.5M", 82, (22.44, 6.21)),
    "resnet-152": ("ResNet-152", "60.2M", 115, (22.16, 6.16)),
    "pre-resnet-200": ("pre-ResNet-200", "64.7M", 154, (21.66, 5.79)),
}
_SLIP = "the paper's 5.79 is pre-ResNet-200's of Table 8, where WRN-50-2 has 6.03"
_COCO = (
    "mAP on test-std, after AttractioNet proposals and MultiPathNet; the authors' README has 36 on "
    "val5k; here a RetinaNet"
)


def _row(
    table: str, system: str, dataset: str, errors: _Errors, *, dropout: bool = False, **facts: Any
) -> Row:
    """Make a row of a system that the package builds."""
    known = SYSTEMS[system]
    changes: dict[str, Any] = {"dropout": DROPOUT[dataset]} if dropout else {}
    changes |= {"whitening": True} if table in ("table2", "table3", "table4") else {}
    facts.setdefault("note", known.note)
    return Row(
        table,
        f"{system}-dropout" if dropout else system,
        dataset,
        known.name + (", dropout" if dropout else ""),
        tuple(error for error in errors if error is not None),
        known.printed,
        known.parameters_on(dataset),
        recipe_of(dataset, system, **changes),
        multiply_adds=known.multiply_adds,
        **facts,
    )


def _peer(table: str, key: str, dataset: str, name: str, printed: str, *errors: float) -> Row:
    note = "not built here"
    if "1202" in key:
        note += "; 1,200 convolutions of 3x3 and 16 to 64 planes have 19.4M"
    return Row(table, key, dataset, name, errors, printed, note=note)


def _rows() -> list[Row]:
    both = ("cifar10", "cifar100")
    rows = [
        _row("table2", key, "cifar10", (error,), time=f"{_SECONDS[key]} s/epoch")
        for key, error in _TABLE_2.items()
    ]
    rows += [_row("table3", key, "cifar10", (error,)) for key, error in _TABLE_3.items()]
    rows += [
        _row("table4", key, dataset, (error,))
        for key, errors in _TABLE_4.items()
        for dataset, error in zip(both, errors)
    ]
    rows += [
        _peer("table5", key, dataset, name, printed, error)
        for key, (name, printed, errors) in _PEERS_5.items()
        for dataset, error in zip(both, errors)
        if error is not None
    ]
    rows += [
        _row("table5", key, dataset, (error,))
        for key, errors in _TABLE_5.items()
        for dataset, error in zip(both, errors)
    ]
    rows += [
        _row("table6", key, dataset, (error,), dropout=dropout)
        for (key, dataset), errors in _TABLE_6.items()
        for dropout, error in zip((False, True), errors)
    ]
    rows += [_row("table7", key, "imagenet", errors) for key, errors in _TABLE_7.items()]
    peers = [
        dataclasses.replace(
            _peer("table8", key, "imagenet", name, printed, *errors), time=f"{ms} ms/16 images"
        )
        for key, (name, printed, ms, errors) in _PEERS_8.items()
    ]
    widest = _row("table8", "50-2", "imagenet", (21.9, 6.03), time="93 ms/16 images")
    rows += [*peers[:3], widest, peers[3]]
    rows += [
        _row("table9", "40-10", "cifar10", (3.8,), dropout=True),
        _row("table9", "40-10", "cifar100", (18.3,), dropout=True),
        _row("table9", "16-8", "svhn", (1.54,), dropout=True),
        _row("table9", "50-2", "imagenet", (21.9, 5.79), note=_SLIP),
        Row(
            *("table9", "34-2", "coco", "WRN-34-2", (35.2,)),
            note=_COCO,
            command="recipes/coco.py",
            unit="mAP",
            settings=(("depth", 34), ("width", 2.0), ("limit", 0), ("val_limit", 0)),
        ),
    ]
    return rows


ROWS = tuple(_rows())


class Curve(NamedTuple):
    """A run in Figure 2 or 3: the folder of its row, and the paper's name and error for it."""

    folder: str
    label: str
    error: float


FIGURES = {
    "figure2": "Figure 2: training curves of a thin and a wide network on CIFAR-10 and CIFAR-100",
    "figure3": "Figure 3: training curves on SVHN, thin and wide, with and without dropout",
    "figure4": "Figure 4: time of a training step on 32 images, thin and wide",
}
# The panels of Figures 2 and 3, from left to right. The paper calls WRN-52-1 ResNet-50.
CURVES: dict[str, dict[str, tuple[Curve, ...]]] = {
    "figure2": {
        f"CIFAR-{classes}": (
            Curve(f"table5/pre-resnet-164-cifar{classes}", "ResNet-164", thin),
            Curve(f"table5/28-10-cifar{classes}", "WRN-28-10", wide),
        )
        for classes, thin, wide in ((10, 5.46, 4.00), (100, 24.33, 19.25))
    },
    "figure3": {
        "SVHN": (
            Curve("table6/52-1-svhn", "ResNet-50", 2.07),
            Curve("table6/16-4-svhn", "WRN-16-4", 1.85),
        ),
        "SVHN, dropout": (
            Curve("table6/16-4-svhn", "WRN-16-4", 1.85),
            Curve("table6/16-4-dropout-svhn", "WRN-16-4, dropout", 1.64),
        ),
    },
}
FIGURE_4_BATCH = 32  # images


class Timed(NamedTuple):
    """A bar of Figure 4: milliseconds per step on a Titan X with cuDNN v5, and CIFAR-10 error.

    The errors of the wide networks are of older runs than Table 4's.
    """

    system: str
    milliseconds: float
    error: float
    wide: bool


FIGURE_4 = (
    Timed("pre-resnet-164", 85, 5.46, False),
    Timed("pre-resnet-1001", 512, 4.64, False),
    Timed("40-4", 68, 4.66, True),
    Timed("16-10", 164, 4.56, True),
    Timed("28-10", 312, 4.38, True),
)
