"""Packaging of keras_wrn; the only place for its metadata."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
(VERSION,) = re.findall(r'__version__ = "([^"]+)"', (HERE / "keras_wrn/__init__.py").read_text())

TRAIN = ["scikit-learn>=1.4", "scipy>=1.11", "matplotlib>=3.8"]
# Label errors and corruptions of an assessment.
INSIGHT = ["cleanlab>=2.7", "scipy>=1.11"]
HUB = ["huggingface_hub>=1.4"]
TENSORBOARD = ["tensorboard>=2.16"]
# keras-cv's development has ended; this is its last release. It does not name the other two.
DETECTION = ["keras-cv==0.9.0", "pycocotools>=2.0.7", "importlib_resources"]
# What writes and runs the files of `keras-wrn export --format`.
ENGINES = ["tf2onnx>=1.16", "onnx>=1.16", "onnxruntime>=1.19", "openvino>=2024.4", "scipy>=1.11"]
ENGINES += ["ai-edge-litert>=1.2"]
# Also tensorflow-serving-api, without its dependencies: it asks for `tensorflow`, a second one
# beside tensorflow-cpu. docs/serving.md has the command.
# grpcio 1.84 bounds a message after its decompression too.
SERVE = ["grpcio>=1.84", "grpcio-health-checking>=1.84", "starlette>=0.40", "uvicorn>=0.32"]
SERVE += ["httptools>=0.6", "orjson>=3.10", "prometheus_client>=0.21"]
# Tasks of reproduce.py, and serve_ray.py; 2.60 builds a replica's application when it starts.
RAY = ["ray[default,serve]>=2.60"]
TEST = ["tensorflow-cpu>=2.20", *TRAIN, *TENSORBOARD, "pytest>=8", "pytest-xdist>=3.5"]
TEST += ["argcomplete>=3", "jsonschema>=4", *HUB]
LINT = ["ruff>=0.8", "mypy>=1.13", "build>=1.2"]
DOCS = ["sphinx>=8", "furo>=2024.8", "myst-nb>=1.1"]

setup(
    # "keras-wrn" belongs to an unrelated project of 2018; the import name is keras_wrn.
    name="keras-wide-resnet",
    version=VERSION,
    description="Wide Residual Networks for Keras 3: every network of the paper, ready to train",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    # The published weights lie beside the package in the repository, and inside it in the wheel.
    packages=[*find_packages(include=["keras_wrn", "keras_wrn.*"]), "keras_wrn.saved_models"],
    package_dir={"keras_wrn.saved_models": "saved_models"},
    package_data={
        "keras_wrn": ["py.typed"],
        # Not what the Hub and researchers want beside them: a file on PyPI has 100 MB at most.
        "keras_wrn.saved_models": [f"*/*.{kind}" for kind in ("h5", "md", "csv", "png")]
        + ["*/card.json"],
        "keras_wrn.serving": ["page.html"],
    },
    # Keras brings h5py; it chooses no backend, and neither do we.
    install_requires=[
        "keras>=3.10",
        "numpy>=1.26",
        "ml_dtypes>=0.4",
        "h5py>=3.10",
        "safetensors>=0.4.3",
        "absl-py>=2.0",
        "pillow>=10",
        "rich>=13",  # the progress bars; Keras needs it too
    ],
    extras_require={
        "tf": ["tensorflow>=2.20"],
        "tf-cpu": ["tensorflow-cpu>=2.20"],
        "jax": ["jax>=0.4.30"],
        "train": [*TRAIN, *TENSORBOARD],
        "tensorboard": TENSORBOARD,
        "insight": INSIGHT,
        "hub": HUB,
        "detection": DETECTION,
        # tensorflow_datasets needs importlib_resources and does not say so.
        "imagenet": ["tensorflow-datasets>=4.9.6", "importlib_resources"],
        "engines": ENGINES,
        "serve": SERVE,
        "ray": RAY,
        "bench": ["torch>=2.4"],
        "docs": DOCS,
        "test": TEST,
        "dev": [*TEST, *ENGINES, *SERVE, *DETECTION, *DOCS, *LINT],
    },
    entry_points={"console_scripts": ["keras-wrn=keras_wrn.cli.main:run"]},
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
