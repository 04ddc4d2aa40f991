"""Fixtures for what works without PyTorch: as if it were not installed, and both ways."""

import sys

import pytest


@pytest.fixture
def without_torch(monkeypatch):
    """Nobody can import PyTorch here, installed or not."""
    monkeypatch.setitem(sys.modules, "torch", None)


@pytest.fixture(params=["with torch", "without torch"])
def torch_or_not(request, monkeypatch):
    if request.param == "with torch":
        return pytest.importorskip("torch")
    return monkeypatch.setitem(sys.modules, "torch", None)
