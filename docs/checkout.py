"""Run by the first, hidden cell of a page: its commands then run as in a checkout.

The kernel moves to a temporary folder with links to the folders of the repository that the page
names, so that what the page writes is gone with the kernel. `python` and `keras-wrn` are those of
this environment.
"""

import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = tempfile.TemporaryDirectory(prefix="keras_wrn-docs-")
for name in ("docs", "examples", "launch", "recipes", "saved_models"):
    (Path(FOLDER.name) / name).symlink_to(ROOT / name)
os.chdir(FOLDER.name)
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["TERM"] = "dumb"  # a page has no place for bars that move
