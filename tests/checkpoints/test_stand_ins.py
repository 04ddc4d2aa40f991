"""What is no tensor in a checkpoint is passed over without being executed."""

import argparse
import collections
import datetime
import decimal
import functools
import pathlib
import pickle
import random
import types
import zipfile

import numpy as np
import pytest
from checkpoint_writer import TENSORS, assert_same
from torch_writer import write_legacy, write_zip

from keras_wrn.checkpoints.files import read_checkpoint
from keras_wrn.checkpoints.stand_ins import stand_in
from keras_wrn.errors import InputError

BESIDE = {
    "MultiStepLR": {"milestones": collections.Counter([60, 120, 160]), "last_epoch": 3},
    "path": pathlib.PurePosixPath("/data/cifar"),
    "namespace": argparse.Namespace(lr=0.1, out=pathlib.Path("runs"), steps={60, 120}),
    "array": np.arange(3.0),
    "array of objects": np.array(["a", None], dtype=object),
    "scalars": [np.float64(0.5), np.int32(3), np.bool_(True), np.str_("x")],
    "dtype": np.dtype("float32"),
    "defaultdict": collections.defaultdict(list, {"loss": [1.0]}),
    "nested": collections.defaultdict(collections.OrderedDict, {"a": collections.OrderedDict()}),
    "set": {1, 2},
    "frozenset": frozenset({"a"}),
    "deque": collections.deque([1.0, 2.0], maxlen=5),
    "complex": 1j,
    "range": range(3),
    "slice": slice(1, 2),
    "bytes": b"\xff\x00",
    "bytearray": bytearray(b"\xff"),
    "when": datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
    "decimal": decimal.Decimal("0.1"),
    "simple": types.SimpleNamespace(a=1),
    "partial": functools.partial(dict, a=1),
    "random": random.Random(3),
    "generator": np.random.default_rng(3),
    "random state": np.random.RandomState(3).get_state(),
    "class": collections.Counter,
}


def write_pickle(path, data):
    """A file of PyTorch that holds this pickle and no storage."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", data)


@pytest.mark.parametrize("writer", [write_zip, write_legacy])
def test_what_a_script_keeps_beside_the_network_is_passed_over(tmp_path, writer):
    writer(tmp_path / "a.pth", {"state_dict": TENSORS, "args": argparse.Namespace(**BESIDE)})
    assert_same(read_checkpoint(tmp_path / "a.pth"))


@pytest.mark.parametrize("kind", BESIDE)
def test_each_kind_alone(tmp_path, kind):
    # The writer makes tensors of the arrays that it finds in dictionaries and lists.
    beside = types.SimpleNamespace(value=BESIDE[kind])
    write_zip(tmp_path / "a.pth", {"state_dict": TENSORS, "beside": beside})
    assert_same(read_checkpoint(tmp_path / "a.pth"))


@pytest.mark.parametrize(
    "code",
    [
        b"c__main__\nConfig\n)\x81}(S'lr'\nI1\nub",  # an object of the script's own class
        b"comegaconf.dictconfig\nDictConfig\n)\x81N}(S'x'\nI1\nu\x86b",
        b"ceasydict\nEasyDict\n)R(S'lr'\nI1\nu",  # a dictionary of another class
        b"cyacs.config\nCfgNode\n)R(I1\nI2\ne",
        b"ctorch\ndevice\n(S'cpu'\ntR",
        b"ctorch\nfloat32\n",
        b"ctorch\ncontiguous_format\n",
        b"c__builtin__\nset\n((lI1\natR",  # as Python 2 and protocol 2 write it
    ],
)
def test_objects_of_other_libraries_are_passed_over(tmp_path, code):
    path = tmp_path / "a.pth"
    write_pickle(path, b"\x80\x02" + code + b".")
    with pytest.raises(InputError, match="It holds: an object of|holds no tensors"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    "name",
    [
        "os.system", "nt.system", "posix.system", "subprocess.Popen", "builtins.eval",
        "__builtin__.eval", "builtins.getattr", "builtins.__import__", "importlib.import_module",
        "torch.load", "torch.hub.load", "torch.storage._load_from_bytes", "numpy.load",
        "numpy.testing._private.utils.runstring", "__main__.run", "webbrowser.open", "sys.exit",
        "runpy.run_path", "shutil.rmtree", "functools.reduce", "operator.attrgetter",
        "collections.OrderedDict.__init__", "__main__.Config.__globals__", "socket.socket",
        "copyreg.add_extension", "pathlib.Path.unlink", "commands.getoutput", "pip.main",
    ],
)  # fmt: skip
def test_functions_are_refused(name, tmp_path):
    for cut in range(1, name.count(".") + 1):
        parts = name.split(".")
        assert stand_in(".".join(parts[:cut]), ".".join(parts[cut:])) is None
    module, _, function = name.rpartition(".")
    path = tmp_path / "a.pth"
    path.write_bytes(b"\x80\x04c" + f"{module}\n{function}\n".encode() + b".")
    with pytest.raises(InputError, match="Nothing was run"):
        read_checkpoint(path)


def test_a_stand_in_does_not_run_the_class_that_it_stands_for(tmp_path, monkeypatch):
    import sys

    mark = []
    module = types.ModuleType("somebodys_library")
    module.Config = type("Config", (), {"__module__": "somebodys_library"})
    monkeypatch.setitem(sys.modules, "somebodys_library", module)
    data = pickle.dumps({"a": module.Config()}, protocol=2)
    monkeypatch.setattr(module.Config, "__setstate__", lambda self, state: mark.append(1), False)
    monkeypatch.setattr(module.Config, "__new__", lambda cls: mark.append(1), False)
    write_pickle(tmp_path / "a.pth", data)
    with pytest.raises(InputError, match=r"It holds: a \(somebodys_library.Config\)"):
        read_checkpoint(tmp_path / "a.pth")
    assert not mark
    pickle.loads(data)
    assert mark


def test_tensors_in_a_defaultdict_and_tensors_with_attributes(tmp_path):
    torch = pytest.importorskip("torch")
    weight = torch.ones(4, 3, 3, 3)
    weight.no_decay = True
    parameter = torch.nn.Parameter(torch.ones(4, 3, 3, 3))
    parameter.no_decay = True
    tensors = collections.defaultdict(list, {"a": weight, "b": parameter})
    torch.save(tensors, tmp_path / "a.pth")
    ones = np.ones((4, 3, 3, 3), np.float32)
    assert_same(read_checkpoint(tmp_path / "a.pth"), {"a": ones, "b": ones})


def test_a_whole_model_is_named(tmp_path):
    code = b"cmodels.wrn\nWideResNet\n)\x81}(S'training'\nI00\nub"
    write_pickle(tmp_path / "a.pth", b"\x80\x02" + code + b".")
    with pytest.raises(InputError, match="an object of models.wrn.WideResNet.*model.state_dict"):
        read_checkpoint(tmp_path / "a.pth")
    write_pickle(tmp_path / "a.pth", b"\x80\x02}(S'net'\n" + code + b"u.")
    with pytest.raises(InputError, match=r"It holds: net \(models.wrn.WideResNet\). Save"):
        read_checkpoint(tmp_path / "a.pth")


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_what_torch_keeps_in_the_papers_schedule(tmp_path, legacy):
    torch = pytest.importorskip("torch")
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    optimiser = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9, nesterov=True)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, [60, 120, 160], 0.2)
    network(torch.ones(2, 3, 8, 8)).sum().backward()
    optimiser.step()
    schedule.step()
    averaged = torch.optim.swa_utils.AveragedModel(network)
    state = {
        "state_dict": averaged.state_dict(),
        "optimizer": optimiser.state_dict(),
        "scheduler": schedule.state_dict(),
        "args": argparse.Namespace(**BESIDE),
        "random": torch.get_rng_state(),
        "kinds": [torch.device("cpu"), torch.bfloat16, torch.Tensor],
        "size": torch.Size([2, 3]),
    }
    torch.save(state, tmp_path / "a.pth", _use_new_zipfile_serialization=not legacy)
    expected = {name: tensor.numpy() for name, tensor in averaged.state_dict().items()}
    assert "n_averaged" in expected
    assert_same(read_checkpoint(tmp_path / "a.pth"), expected)
