"""The files of ImageNet weights that torchvision and timm published."""

import os
from dataclasses import dataclass

from keras_wrn.networks.names import NETWORKS, architecture_name

TORCHVISION_URL = "https://download.pytorch.org/models"
HUGGING_FACE_URL = "https://huggingface.co"  # HF_ENDPOINT names a mirror, as for its own client


@dataclass(frozen=True)
class OwnersFile:
    """One file of an owner.

    Attributes:
        network: key in `names.NETWORKS`.
        keyword: what `weights=` takes.
        size: bytes; exact if no hash is known, else rounded.
        top1: accuracy in per cent, and so `top5`.
        recipe: how it was trained.
        sha256: the first digits of its hash, as in torchvision's file names; "" if not known.
        resize: pixels of the shorter side before the crop.
        crop: pixels of the square in the middle.
        interpolation: of the resizing.
        licence: of the file, as its owner says.
        repository: on Hugging Face, and so `revision`; "" for torchvision's.
    """

    network: str
    keyword: str
    size: int
    top1: float
    top5: float
    recipe: str
    sha256: str = ""
    resize: int = 256
    crop: int = 224
    interpolation: str = "bilinear"
    licence: str = "BSD-3-Clause (torchvision)"
    repository: str = ""
    revision: str = ""

    @property
    def architecture(self) -> str:
        """The network, as `recognition.architecture` names it."""
        return architecture_name(f"WRN-{self.network}", NETWORKS[self.network].builder)

    @property
    def file(self) -> str:
        """Its file name."""
        if self.repository:
            return "model.safetensors"
        return f"wide_resnet{self.network.replace('-', '_')}-{self.sha256}.pth"

    @property
    def url(self) -> str:
        """The address at its owner's."""
        if not self.repository:
            return f"{TORCHVISION_URL}/{self.file}"
        host = (os.environ.get("HF_ENDPOINT") or HUGGING_FACE_URL).rstrip("/")
        return f"{host}/{self.repository}/resolve/{self.revision}/{self.file}"

    @property
    def owner(self) -> str:
        """Who published it."""
        return "timm" if self.repository else "torchvision"


# github.com/pytorch/vision/pull/912 and github.com/pytorch/vision/issues/3995.
_V1 = "256 epochs, cosine with warm restarts"
_V2 = "600 epochs, cosine, TrivialAugment, mixup, cutmix, EMA"
# Accuracies, sizes, resizing and crops: torchvision/models/resnet.py; timm/models/resnet.py (with a
# test crop of 0.95, the shorter side is 303) and its results/results-imagenet.csv.
OWNERS_FILES = (
    OwnersFile("50-2", "imagenet-v1", 138_223_000, 78.468, 94.086, _V1, "95faca4d"),
    OwnersFile("50-2", "imagenet-v2", 275_905_000, 81.602, 95.758, _V2, "9ba9bcbe", resize=232),
    OwnersFile(
        "50-2",
        "imagenet-racm",
        275_835_296,
        82.260,
        96.062,
        "racm, a RandAugment recipe of timm",
        resize=303,
        crop=288,
        interpolation="bicubic",
        licence="Apache-2.0 (timm)",
        repository="timm/wide_resnet50_2.racm_in1k",
        revision="30f73aceaaa1911830a9795b83ab1908dba18719",
    ),
    OwnersFile("101-2", "imagenet-v1", 254_695_000, 78.848, 94.284, _V1, "32ee1156"),
    OwnersFile("101-2", "imagenet-v2", 508_294_000, 82.510, 96.020, _V2, "d733dc28", resize=232),
)
