"""List the sub-folders and the image files of a folder, and say what was passed over."""

import os
from collections import Counter
from pathlib import Path

from keras_wrn.system.console import note

# What Pillow reads or a camera writes. A kind that Pillow does not read, such as HEIC, is an error
# when it is read: without it, the data set would be another one.
IMAGES = frozenset(
    """
    .apng .arw .avif .bmp .cr2 .cr3 .dds .dib .dng .eps .exr .gif .hdr .heic .heif .ico .j2k .jfif
    .jif .jp2 .jpe .jpeg .jpg .jxl .jxr .nef .orf .pbm .pcx .pgm .png .pnm .ppm .psd .raf .raw .rgb
    .rw2 .sgi .svg .tga .tif .tiff .webp .xbm .xpm
    """.split()
)
_NO_IMAGES = ("readme", "license", "licence", "copying", "makefile", "icon\r")  # without a suffix
_OTHER_FOLDERS = ("__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found")
_SHOWN = 3


def sub_folders(folder: Path) -> tuple[str, ...]:
    """The names of the sub-folders, without hidden ones and those that systems put there.

    They are in alphabetical order; if all are whole numbers, in the order of the numbers.
    """
    names = sorted(
        entry.name for entry in folder.iterdir() if entry.is_dir() and not _is_other(entry.name)
    )
    if all(name.isascii() and name.isdigit() for name in names):
        names.sort(key=int)
    return tuple(names)


def is_image(name: str) -> bool:
    """Whether a file is an image, by the suffix of its name; without a suffix it is one."""
    suffix = Path(name).suffix.lower()
    is_named = suffix in IMAGES or (not suffix and name.lower() not in _NO_IMAGES)
    return is_named and not name.startswith(".")


def image_files(folder: Path, passed_over: list[Path]) -> list[Path]:
    """The image files of a folder and its sub-folders, in alphabetical order.

    Args:
        folder: where to look.
        passed_over: gets the files that are no images; hidden ones, which systems write, too.

    Raises:
        OSError: a sub-folder cannot be read.
    """
    found: list[Path] = []
    seen: set[tuple[int, int]] = set()
    for parent, folders, files in os.walk(folder, onerror=_raise, followlinks=True):
        state = Path(parent).stat()
        if (place := (state.st_dev, state.st_ino)) in seen:  # a link to a folder above or beside
            folders.clear()
            continue
        if state.st_ino:  # some of Windows' drives have no numbers
            seen.add(place)
        folders[:] = [name for name in folders if not _is_other(name)]
        for name in files:
            (found if is_image(name) else passed_over).append(Path(parent, name))
    return sorted(found)


def say_passed_over(folder: Path, files: list[Path]) -> None:
    """Say once which files of a data set are no images."""
    if files:
        names = [name for name, _ in Counter(file.name for file in files).most_common()]
        shown = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
        what = f"{len(files):,} files that are no images are" if len(files) > 1 else "1 file is"
        note(f"{folder}: {what} passed over because of the name: {shown}.")


def _raise(error: OSError) -> None:
    raise error


def _is_other(name: str) -> bool:
    return name.startswith(".") or name.lower() in _OTHER_FOLDERS
