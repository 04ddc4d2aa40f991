"""What `weights=` was given: the name of published weights, or a path."""

from pathlib import Path

SUFFIXES = (".h5", ".safetensors")  # of weights files that are read by layer name
OTHERS_SUFFIXES = (".keras", ".npz", ".pt", ".pth", ".bin", ".ckpt")  # of other programs' files


def is_keyword(source: object) -> bool:
    """Whether this names published weights: a bare word. A path has a folder or a suffix."""
    if not isinstance(source, str):
        return False
    path = Path(source)
    return path.name == source and path.suffix not in (*SUFFIXES, *OTHERS_SUFFIXES)
