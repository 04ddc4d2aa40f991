"""Recognise the training and test folders of a data set by their names."""

import itertools
import re
from pathlib import Path

from keras_wrn.datasets.listing import sub_folders
from keras_wrn.errors import InputError

_TRAIN = ("train", "training")
# In the order in which they are taken as the test set.
_TEST = ("test", "testing", "val", "valid", "validation", "dev", "eval", "evaluation")
_FILLING = ("set", "data", "dataset", "split", "images", "image", "imgs", "img", "folder")
_WORDS = re.compile(rf"({'|'.join((*_TRAIN, *_TEST))})({'|'.join(_FILLING)})")


def find_splits(folder: Path) -> tuple[Path, list[Path]] | None:
    """Find a training folder and the test folders beside it.

    Names are compared without case: train or training beside test, testing, val, valid, validation,
    dev, eval or evaluation, also as training_set, test_images or with a prefix that both have, such
    as seg_train and seg_test.

    Returns:
        The training folder and the test folders, the likeliest first; None if there are no such
        pairs.

    Raises:
        InputError: there are several training folders, or what looks like splits is not understood.
    """
    groups: dict[str, tuple[list[str], list[tuple[int, str]]]] = {}
    names = sub_folders(folder)
    for name in names:
        if (found := _split_of(name)) is not None:
            kind, rest = found
            trains, tests = groups.setdefault(rest, ([], []))
            if kind in _TRAIN:
                trains.append(name)
            else:
                tests.append((_TEST.index(kind), name))
    pairs = [(trains, tests) for trains, tests in groups.values() if trains and tests]
    if len(pairs) > 1 or any(len(trains) > 1 for trains, _ in pairs):
        several = sorted(name for trains, _ in pairs for name in trains)
        raise InputError(
            f"{folder} must have one training folder. Received: {', '.join(several)}. Give a "
            "folder with one of them and its test set."
        )
    if pairs:
        [([train], tests)] = pairs
        return folder / train, [folder / name for _, name in sorted(tests)]
    _refuse_hidden_splits(folder, names, {n for trains, _ in groups.values() for n in trains})
    return None


def _split_of(name: str) -> tuple[str, str] | None:
    """The kind of split that a folder is called after, and the other words; None if it is none.

    Example:
        >>> _split_of("Training_Set"), _split_of("seg_test"), _split_of("trainers")
        (('training', ''), ('test', 'seg'), None)
    """
    words = _WORDS.sub(r"\1 \2", re.sub(r"[\W_]+", " ", name.lower())).split()
    kinds = [word for word in words if word in _TRAIN + _TEST]
    if len(kinds) != 1:
        return None
    rest = [word for word in words if word not in kinds and word not in _FILLING]
    return kinds[0], " ".join(rest)


def _refuse_hidden_splits(folder: Path, names: tuple[str, ...], trains: set[str]) -> None:
    inside = {name: sub_folders(folder / name) for name in names}
    for name in names:
        if name in trains and len(inside[name]) > 1:
            raise InputError(
                f"{folder} has the training set {name}/ with {len(inside[name])} classes, but no "
                "test set beside it. Name the test set test/ or val/, or give the folder "
                f"{folder / name}, of which every fifth image is the test set then."
            )
    nested = [name for name in names if len(inside[name]) > 1]
    for one, other in itertools.combinations(nested, 2):
        both = [name for name in inside[one] if name in inside[other]]
        if len(both) > 1:
            shown = ", ".join(both[:3]) + (", ..." if len(both) > 3 else "")
            raise InputError(
                f"The sub-folders of {folder} look like splits, not like classes: {one} and "
                f"{other} both have {shown}. Name them train and test, or give one of them."
            )
