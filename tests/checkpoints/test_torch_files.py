"""PyTorch's files are read without PyTorch, and a pickle in them runs nothing."""

import collections
import pickle
import zipfile

import numpy as np
import pytest
from checkpoint_writer import (
    TENSORS,
    Payload,
    assert_same,
)
from torch_writer import View, write_legacy, write_zip

from keras_wrn.checkpoints.files import read_checkpoint
from keras_wrn.errors import InputError


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_our_reader_reads_what_torch_writes(tmp_path, legacy):
    torch = pytest.importorskip("torch")
    state = collections.OrderedDict((k, torch.from_numpy(v)) for k, v in TENSORS.items())
    state._metadata = {"": {"version": 1}}
    base = torch.arange(24, dtype=torch.float32)
    state["shared"] = base[4:10].view(2, 3).t()
    state["also shared"] = base
    state["trained"] = torch.nn.Parameter(torch.ones(2, 2))
    state["brain"] = torch.tensor([1.5, -2.25, 3e38], dtype=torch.bfloat16)
    torch.save(state, tmp_path / "a.pth", _use_new_zipfile_serialization=not legacy)
    expected = {k: v.detach().float().numpy() for k, v in list(state.items())[len(TENSORS) :]}
    assert_same(read_checkpoint(tmp_path / "a.pth"), TENSORS | expected)


@pytest.mark.parametrize("writer", [write_zip, write_legacy])
def test_torch_reads_what_the_writer_of_these_tests_writes(tmp_path, writer):
    torch = pytest.importorskip("torch")
    writer(tmp_path / "a.pth", TENSORS)
    found = torch.load(tmp_path / "a.pth", weights_only=True, map_location="cpu")
    assert_same({name: tensor.numpy() for name, tensor in found.items()})


def test_big_endian_and_views_of_one_storage(tmp_path):
    row = np.arange(12, dtype=np.float32)
    tree = {"t": View(row, 1, (2, 3), (1, 4)), "one": View(row, 5, (), ())}
    write_zip(tmp_path / "a.pth", tree, order="big")
    found = read_checkpoint(tmp_path / "a.pth")
    np.testing.assert_array_equal(found["t"], [[1, 5, 9], [2, 6, 10]])
    assert found["one"] == 5


def test_torchscript_is_refused(tmp_path):
    write_zip(tmp_path / "a.pt", TENSORS)
    with zipfile.ZipFile(tmp_path / "a.pt", "a") as archive:
        archive.writestr("archive/constants.pkl", b"")
    with pytest.raises(InputError, match="is a TorchScript program, which is refused"):
        read_checkpoint(tmp_path / "a.pt")


@pytest.mark.parametrize(
    "view",
    [
        View(np.zeros(6, np.float32), 1, (2, 3), (3, 1)),
        View(np.zeros(6, np.float32), 0, (2, 3), (30, 1)),
        View(np.zeros(6, np.float32), 0, (2, -3), (3, 1)),
        View(np.zeros(6, np.float32), 5, (2, 3), (-1, -1)),
        View(np.zeros(6, np.float32), 0, (1 << 40,), (0,)),
        View(np.zeros(6, np.float32), 0, (2, 3), (3,)),
        View(np.zeros(6, np.float32), 0, (2, 3), (3, 1), count=1000),
    ],
    ids=["offset", "stride", "negative", "backwards", "huge", "dimensions", "count"],
)
@pytest.mark.parametrize("writer", [write_zip, write_legacy])
def test_tensors_stay_inside_their_storage(tmp_path, writer, view):
    writer(tmp_path / "a.pth", {"x": view})
    with pytest.raises(InputError, match="cannot be read as a PyTorch file. It is damaged"):
        read_checkpoint(tmp_path / "a.pth")


def test_compressed_archives_are_refused(tmp_path):
    write_zip(tmp_path / "a.pth", TENSORS, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(InputError, match="is compressed"):
        read_checkpoint(tmp_path / "a.pth")


# A pickle may run any program.


@pytest.mark.parametrize("kind", ["zip", "legacy", "plain", "inside", "protocol 4"])
def test_a_pickle_that_runs_a_program_is_refused(tmp_path, kind):
    mark = tmp_path / "ran"
    payload = Payload(f"echo > {mark}")
    path = tmp_path / "a.pth"
    if kind == "zip":
        write_zip(path, payload)
    elif kind == "inside":
        write_zip(path, {"state_dict": TENSORS, "epoch": payload})
    elif kind == "legacy":
        write_legacy(path, payload)
    else:
        path.write_bytes(pickle.dumps(payload, protocol=4 if kind == "protocol 4" else 2))
    with pytest.raises(InputError, match=r"refused: its pickle asks for (posix|nt)\.system.*") as e:
        read_checkpoint(path)
    assert "Nothing was run." in str(e.value)
    assert not mark.exists()
    pickle.loads(pickle.dumps(payload))
    assert mark.exists(), "the payload is none, and this test shows nothing"


@pytest.mark.parametrize(
    "code",
    [
        b"cbuiltins\neval\n(V1\ntR.",
        b"cbuiltins\ngetattr\n.",
        b"cos\nsystem\n.",
        b"ctorch.hub\nload\n.",
        b"ctorch\nload\n.",
        # Tensors of kinds that NumPy lacks.
        b"ctorch._utils\n_rebuild_sparse_tensor\n.",
        b"ctorch._utils\n_rebuild_tensor_v3\n.",  # float8
        b"cnumpy\nload\n.",
        b"ccollections\nOrderedDict.__init__.__globals__\n.",
        b"(S'x'\nios\nsystem\n.",
    ],
)
def test_only_what_makes_tensors_may_be_named(tmp_path, code):
    path = tmp_path / "a.pth"
    path.write_bytes(b"\x80\x04" + code)
    with pytest.raises(
        InputError, match="Only plain tensors are read, because a pickle can run any program"
    ):
        read_checkpoint(path)


def test_a_pickle_cannot_change_the_reader(tmp_path):
    path = tmp_path / "a.pth"
    for name in ("FloatStorage", "_utils\n_rebuild_tensor_v2"):
        dotted = "torch\n" + name if "\n" not in name else "torch." + name
        # BUILD sets attributes: first as __dict__, then one by one.
        for state in (b"}(S'dtype'\nS'u1'\nu", b"(N}(S'dtype'\nS'u1'\nut"):
            path.write_bytes(b"\x80\x02c" + dotted.encode() + b"\n" + state + b"b.")
            with pytest.raises(InputError, match="cannot be read as a PyTorch file"):
                read_checkpoint(path)
    write_zip(path, TENSORS)
    assert_same(read_checkpoint(path))
