"""The official CIFAR files: where they are published, their names, sizes, hashes and terms.

Source: https://www.cs.toronto.edu/~kriz/cifar.html. The hashes of the python batches were taken
from files with the md5s that torchvision checks; those of the binary batches are the same pixels
and labels laid out as records. Sizes of the python archives are what their host sends, those of
the binary ones tensorflow_datasets' checksums.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

from keras_wrn.system.downloads import Offer


class BatchFile(NamedTuple):
    """One official file: its name, how many images it holds, and the sha256 of its bytes."""

    name: str
    images: int
    sha256: str


@dataclass(frozen=True)
class Edition:
    """One of the two editions in which a data set is published.

    Attributes:
        url: of the archive; its last part is the archive's official name.
        sha256: of the archive.
        size: of the archive, in bytes.
        folder: the folder in the archive, which holds the batch files.
        train: the batch files of the training set, in order.
        test: the batch files of the test set.
        label_key: the labels' key in the pickled batches; empty for the binary edition, whose
            records are the label bytes followed by 3,072 bytes of pixels.
        label_bytes: per record of the binary edition; the last of them is the label.
    """

    url: str
    sha256: str
    size: int
    folder: str
    train: tuple[BatchFile, ...]
    test: tuple[BatchFile, ...]
    label_key: bytes = b""
    label_bytes: int = 1

    @property
    def archive(self) -> str:
        """The archive's official name."""
        return self.offer.name

    @property
    def offer(self) -> Offer:
        """The archive, to download."""
        return Offer(self.url, self.sha256, self.size)


_HOST = "https://www.cs.toronto.edu/~kriz/"
CIFAR_TERMS = (
    f"CIFAR's owner, at {_HOST}cifar.html, names no licence and asks to cite: A. Krizhevsky, "
    "Learning Multiple Layers of Features from Tiny Images, tech report, 2009."
)
# sha256 of each batch file, in order.
_CIFAR10_PYTHON = {
    "data_batch_1": "54636561a3ce25bd3e19253c6b0d8538147b0ae398331ac4a2d86c6d987368cd",
    "data_batch_2": "766b2cef9fbc745cf056b3152224f7cf77163b330ea9a15f9392beb8b89bc5a8",
    "data_batch_3": "0f00d98ebfb30b3ec0ad19f9756dc2630b89003e10525f5e148445e82aa6a1f9",
    "data_batch_4": "3f7bb240661948b8f4d53e36ec720d8306f5668bd0071dcb4e6c947f78e9682b",
    "data_batch_5": "d91802434d8376bbaeeadf58a737e3a1b12ac839077e931237e0dcd43adcb154",
    "test_batch": "f53d8d457504f7cff4ea9e021afcf0e0ad8e24a91f3fc42091b8adef61157831",
}
_CIFAR10_BINARY = {
    "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
    "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
    "data_batch_3.bin": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
    "data_batch_4.bin": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
    "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
    "test_batch.bin": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
}
_CIFAR100_PYTHON = {
    "train": "735e79b04f092ca3d2e6d07f368c0a7d70d48c48d28865950cc24454cf45129b",
    "test": "4b67687d9933c4db8f0831104447f15b93774f4f464bd0516f0f0f2ac83b7864",
}
_CIFAR100_BINARY = {
    "train.bin": "f31298fc616915fa142368359df1c4ca2ae984d6915ca468b998a5ec6aeebf29",
    "test.bin": "d8b1e6b7b3bee4020055f0699b111f60b1af1e262aeb93a0b659061746f8224a",
}


def _edition(
    archive: str,
    sha256: str,
    size: int,
    folder: str,
    images: int,
    files: dict[str, str],
    **labels: Any,
) -> Edition:
    batches = [
        BatchFile(name, 10000 if "test" in name else images, sha) for name, sha in files.items()
    ]
    return Edition(
        url=_HOST + archive,
        sha256=sha256,
        size=size,
        folder=folder,
        train=tuple(batch for batch in batches if "test" not in batch.name),
        test=tuple(batch for batch in batches if "test" in batch.name),
        **labels,
    )


EDITIONS: dict[str, tuple[Edition, ...]] = {
    "cifar10": (
        _edition(
            "cifar-10-python.tar.gz",
            "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
            170_498_071,
            "cifar-10-batches-py",
            10000,
            _CIFAR10_PYTHON,
            label_key=b"labels",
        ),
        _edition(
            "cifar-10-binary.tar.gz",
            "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            170_052_171,
            "cifar-10-batches-bin",
            10000,
            _CIFAR10_BINARY,
            label_bytes=1,
        ),
    ),
    "cifar100": (
        _edition(
            "cifar-100-python.tar.gz",
            "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
            169_001_437,
            "cifar-100-python",
            50000,
            _CIFAR100_PYTHON,
            label_key=b"fine_labels",
        ),
        _edition(
            "cifar-100-binary.tar.gz",
            "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
            168_513_733,
            "cifar-100-binary",
            50000,
            _CIFAR100_BINARY,
            label_bytes=2,
        ),
    ),
}
