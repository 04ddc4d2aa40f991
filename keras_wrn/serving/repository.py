"""The served models: a folder is watched, and versions are swapped without a gap.

A new version is loaded and tried before the old one goes; if it is broken, the old one goes on.
"""

from __future__ import annotations

import contextlib
import gc
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from absl import logging

from keras_wrn.errors import InputError
from keras_wrn.serving.refusal import Refusal
from keras_wrn.serving.servable import Servable, first_line, warm_up

# Relative path, bytes and time of change of each file.
Fingerprint = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class Version:
    """A version that is served, or that could not be loaded.

    Attributes:
        number: the name of its folder.
        servable: None if it could not be loaded.
        error: why not.
        files: the fingerprint of its folder when it was loaded.
    """

    number: int
    servable: Servable | None
    error: str
    files: Fingerprint


class Repository:
    """The models in a folder.

    Args:
        folder: a model, that is a folder with folders 1, 2, ... of versions, or a folder of models.
        load: reads one version's folder.
        name: of the model, if `folder` is one; default: the name of the folder.
        keep: the newest versions to serve.
        labels: (model, label) to a version, which is served as long as it exists.

    Raises:
        InputError: the folder holds no model.
    """

    def __init__(
        self,
        folder: Path,
        load: Callable[[Path], Servable],
        *,
        name: str | None = None,
        keep: int = 1,
        labels: Mapping[tuple[str, str], int] | None = None,
    ) -> None:
        if keep < 1:
            raise InputError(f"`keep` must be a whole number from 1. Received: {keep}.")
        self._folder, self._load, self._keep = folder.resolve(), load, keep
        self._name, self._labels = name, dict(labels or {})
        self._models: dict[str, dict[int, Version]] = {}
        self._leaving: list[weakref.ref[Servable]] = []
        found = self._found()
        if not found:
            raise InputError(
                f"{folder} must hold a model, folders 1, 2, ... with saved_model.pb, or folders of "
                "models. Write one with keras-wrn export."
            )
        if name is not None and not _versions(self._folder):
            raise InputError(
                f"`name` is for one model; {folder} holds models with names: {', '.join(found)}."
            )
        for (model, label), number in self._labels.items():
            if model not in found:
                raise InputError(
                    f"The label {label} is for a model {model}; {folder} has {', '.join(found)}."
                )
            if number not in found[model]:
                has = ", ".join(map(str, sorted(found[model])))
                logging.warning(
                    "The label %s: %s has no version %d, but %s", label, model, number, has
                )

    def refresh(self) -> None:
        """Look at the folder: load what is new, then let go of what is old."""
        found, before = self._found(), self._models
        for name in sorted({*found, *self._models}):
            self._refresh(name, found.get(name, {}))
        gone = _servables(before) - _servables(self._models)
        self._leaving += [weakref.ref(servable) for servable in gone]
        if self._models != before or self._leaving:
            del before, gone  # they hold the models that go
            # Python's garbage collector stops all requests while it walks over what the libraries
            # and models hold, 0.1 s and more. It walks here, and then leaves all that alone.
            gc.unfreeze()
            gc.collect()
            gc.freeze()
            # A request may still be in a model: it is looked for at the next refresh.
            self._leaving = [one for one in self._leaving if one() is not None]

    def names(self) -> list[str]:
        """The names of the models, served or broken."""
        return sorted(self._models)

    def broken(self) -> list[str]:
        """The names of the models that have no version that is served."""
        return [name for name in self.names() if not self.available(name)]

    def available(self, name: str) -> list[int]:
        """The served versions of a model, the oldest first."""
        versions = self._models.get(name, {})
        return sorted(number for number, version in versions.items() if version.servable)

    def find(
        self, name: str, version: int | None = None, label: str | None = None
    ) -> tuple[int, Servable]:
        """Return a version's number and what runs it; default: the newest.

        Raises:
            Refusal: it is not served.
        """
        if label is not None:
            if (name, label) not in self._labels:
                raise Refusal(f"Unrecognized servable version label: {label}")
            version = self._labels[name, label]
        versions = self._models.get(name, {})
        served = {number: found for number, found in versions.items() if found.servable}
        number = version if version is not None else max(served, default=-1)
        servable = served[number].servable if number in served else None
        if servable is None:
            wanted = f"Latest({name})" if version is None else f"Specific({name}, {version})"
            raise Refusal(f"Servable not found for request: {wanted}", "NOT_FOUND")
        return number, servable

    def status(
        self, name: str, version: int | None = None, label: str | None = None
    ) -> list[Version]:
        """Return the versions of a model, the newest first; or one of them.

        Raises:
            Refusal: there is none.
        """
        if label is not None:
            version, _ = self.find(name, label=label)
        versions = self._models.get(name, {})
        chosen = [
            versions[number]
            for number in sorted(versions, reverse=True)
            if version in (None, number)
        ]
        if not chosen:
            which = "any versions" if version is None else f"version {version}"
            raise Refusal(f"Could not find {which} of model {name}", "NOT_FOUND")
        return chosen

    def _found(self) -> dict[str, dict[int, Path]]:
        """The folders of versions by model and number."""
        if versions := _versions(self._folder):
            return {self._name or self._folder.name: versions}
        folders = sorted(self._folder.iterdir()) if self._folder.is_dir() else []
        found = {entry.name: _versions(entry) for entry in folders if entry.is_dir()}
        return {model: versions for model, versions in found.items() if versions}

    def _refresh(self, name: str, found: dict[int, Path]) -> None:
        before = self._models.get(name, {})
        labelled = {number for (model, _), number in self._labels.items() if model == name}
        after: dict[int, Version] = {}
        newest = 0
        for number in sorted(found, reverse=True):
            if newest == self._keep and number not in labelled:
                continue
            old = before.get(number)
            after[number] = self._version(name, number, found[number], old)
            newest += after[number].servable is not None and newest < self._keep
        if not any(version.servable for version in after.values()):
            # Nothing on the disk can answer: what is in memory goes on.
            after |= {number: version for number, version in before.items() if version.servable}
        self._models = {**self._models, name: after}
        for number in sorted(before.keys() - after.keys()):
            if before[number].servable:
                logging.info("%s version %d unloaded", name, number)

    def _version(self, name: str, number: int, folder: Path, old: Version | None) -> Version:
        """The version as it was loaded before, or loaded now, if its files are new or others."""
        files = _fingerprint(folder)
        if old is not None and old.files == files:
            return old
        start = time.monotonic()
        try:
            servable = self._load(folder)
            warm_up(servable)
        except Exception as error:  # whatever it is, the other versions go on
            goes_on = self.available(name)
            rest = f"version {max(goes_on)} goes on" if goes_on else "no version is served"
            logging.error("%s version %d is broken, %s: %s", name, number, rest, first_line(error))
            if old is not None and old.servable is not None:
                return replace(old, files=files)  # its files have changed, and are no model
            return Version(number, None, first_line(error), files)
        seconds = time.monotonic() - start
        logging.info("%s version %d loaded in %.1f s", name, number, seconds)
        return Version(number, servable, "", files)


def _servables(models: Mapping[str, Mapping[int, Version]]) -> set[Servable]:
    versions = [version for each in models.values() for version in each.values()]
    return {version.servable for version in versions if version.servable is not None}


def _versions(folder: Path) -> dict[int, Path]:
    """The versions in the folder of a model."""
    if not folder.is_dir():
        return {}
    found: dict[int, Path] = {}
    with contextlib.suppress(PermissionError):  # such as a disk's lost+found
        for entry in folder.iterdir():
            if entry.name.isascii() and entry.name.isdecimal() and _has_model(entry):
                found[int(entry.name)] = entry
    return found


def _has_model(folder: Path) -> bool:
    try:
        return (folder / "saved_model.pb").is_file()
    except PermissionError:
        logging.warning("%s cannot be read by this user: it is not served", folder)
        return False


def _fingerprint(folder: Path) -> Fingerprint:
    files = []
    for path in sorted(folder.rglob("*")):
        with contextlib.suppress(OSError):  # it has gone since, or links to nothing
            state = path.stat()
            files.append((str(path.relative_to(folder)), state.st_size, state.st_mtime_ns))
    return tuple(files)
