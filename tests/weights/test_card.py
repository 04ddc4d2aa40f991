"""Cards that are read and written again stay as they are."""

import json
from pathlib import Path

import pytest

from keras_wrn.weights.card import Card

ROOT = Path(__file__).parents[2]
FOLDERS = ("saved_models", "docs/runs", "tests/golden")
CARDS = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("card.json"))


@pytest.mark.parametrize("path", CARDS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_published_card_comes_back_as_it_was(path):
    text = path.read_text(encoding="utf-8")
    content = json.loads(text)
    again = Card.from_dict(content, path).to_dict()
    assert json.dumps(again, indent=2, ensure_ascii=False) + "\n" == text
    assert list(again) == list(content)


def test_keys_of_other_versions_are_kept():
    content = json.loads(CARDS[0].read_text(encoding="utf-8")) | {"of another version": [1]}
    assert Card.from_dict(content, "card.json").to_dict() == content


def test_what_is_not_known_is_left_out():
    card = Card(name="WRN-10-1", network={"builder": "WideResNet"}, dataset="x", preprocessing={})
    assert list(card.to_dict()) == ["format", "name", "network", "dataset", "preprocessing"]
