"""One small exported network, and one server of it, for all tests of the wing."""

import importlib.util
import types

import keras
import pytest

import keras_wrn

NEEDED = ("starlette", "uvicorn", "orjson", "prometheus_client")
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]


def pytest_collection_modifyitems(items):
    if not MISSING:
        return
    skip = pytest.mark.skip(reason=f"the extra serve is not installed: {', '.join(MISSING)}")
    for item in items:
        if "serving" in item.path.parts:
            item.add_marker(skip)


@pytest.fixture(autouse=True)
def fresh_keras():
    """Leave TensorFlow's kernels to the server, which lives on: each would be built again."""


@pytest.fixture
def real_gc():
    """For tests of what the repository leaves to the garbage collector."""


@pytest.fixture(autouse=True)
def no_collection(request, monkeypatch):
    """A look at a folder with news collects garbage, which takes a second in this process."""
    if "real_gc" not in request.fixturenames:
        idle = types.SimpleNamespace(unfreeze=int, collect=int, freeze=int)
        monkeypatch.setattr("keras_wrn.serving.repository.gc", idle)


@pytest.fixture(scope="session")
def digits():
    """A WRN-10-1 with random weights."""
    keras.utils.set_random_seed(1)
    return keras_wrn.WideResNet(10, 1)


@pytest.fixture(scope="session")
def exported(digits, tmp_path_factory):
    """The folder of the model, with version 1."""
    if keras.backend.backend() != "tensorflow":
        pytest.skip("a SavedModel needs TensorFlow")
    folder = tmp_path_factory.mktemp("served") / "digits"
    keras_wrn.export(digits, folder, "digits")
    return folder


@pytest.fixture(scope="session")
def server(exported):
    """A server of the network: REST, and gRPC where its packages are installed."""
    from background_server import running

    from keras_wrn.serving.grpc_services import missing_packages

    with running(exported, grpc=not missing_packages()) as started:
        yield started
