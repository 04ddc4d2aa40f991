"""What the Hugging Face Hub reads of a published folder: the head of README.md, and results.

Formats: huggingface.co/docs/hub/model-cards and huggingface.co/docs/hub/eval-results.
"""

from __future__ import annotations

import json
from typing import Any

from keras_wrn.weights.card import Card

RESULTS_FOLDER = ".eval_results"
# Ids of our data sets on the Hub, huggingface.co/datasets/ID; their test images, and the split.
_DATA_SETS = {
    "cifar10": ("uoft-cs/cifar10", 10_000, "test"),
    "cifar100": ("uoft-cs/cifar100", 10_000, "test"),
    "svhn": ("ufldl-stanford/svhn", 26_032, "test"),
    "imagenet": ("ILSVRC/imagenet-1k", 50_000, "validation"),
}
# The Hub's names of licences, those that weights have; others are called "other".
_LICENCES = "apache-2.0 mit bsd-2-clause bsd-3-clause cc0-1.0 cc-by-4.0 cc-by-sa-4.0 cc-by-nc-4.0"


def front_matter(card: Card) -> str:
    """Write the YAML that README.md begins with.

    Args:
        card: of published weights.

    Returns:
        Lines from "---" to "---".
    """
    licence = (card.licence or "").lower()
    data_set = _data_set(card)
    head: dict[str, Any] = {"license": licence}
    if licence not in _LICENCES.split():
        head = {"license": "other", "license_name": card.licence or "not said"}
    head |= {"library_name": "keras", "pipeline_tag": "image-classification"}
    head["tags"] = ["keras-wrn", "wide-resnet"]
    if data_set:
        head |= {"datasets": [data_set[0]], "metrics": ["accuracy"]}
        head["model-index"] = [{"name": card.title, "results": [_result(card, *data_set)]}]
    return "\n".join(["---", *_yaml(head), "---"])


def evaluation_results(card: Card) -> str | None:
    """Write .eval_results/DATASET.yaml; None for a data set that is not on the Hub."""
    data_set = _data_set(card)
    if data_set is None:
        return None
    metrics = card.metrics or {}
    entry = {
        "dataset": {"id": data_set[0], "task_id": "default"},
        "value": _percent(1 - metrics["error"]),
        "date": card.measured_on,
        "notes": f"top-1 accuracy in %, {metrics['n']:,} test images, {card.runs} run, float16 "
        "weights",
    }
    return "\n".join(_yaml([{key: value for key, value in entry.items() if value}])) + "\n"


def _data_set(card: Card) -> tuple[str, str] | None:
    """The data set's id on the Hub and its split; None for others, such as a folder so named."""
    name, images, split = _DATA_SETS.get(card.dataset, ("", 0, ""))
    return (name, split) if name and (card.metrics or {}).get("n") == images else None


def _result(card: Card, data_set: str, split: str) -> dict[str, Any]:
    metrics = card.metrics or {}
    values = (
        ("accuracy", "top-1 accuracy, %", _percent(1 - metrics["error"])),
        ("accuracy", "top-5 accuracy, %", _percent(1 - metrics["top5_error"])),
        ("nll", "negative log-likelihood, nats", round(metrics["nll"], 4)),
        ("ece", "expected calibration error, 15 bins, %", _percent(metrics["ece"])),
    )
    return {
        "task": {"type": "image-classification"},
        "dataset": {"type": data_set, "name": card.dataset, "split": split},
        "metrics": [{"type": kind, "name": name, "value": value} for kind, name, value in values],
    }


def _percent(share: float) -> float:
    return round(100 * share, 2)


def _yaml(value: Any) -> list[str]:
    """Lines of YAML for dictionaries and lists of strings and numbers, which are JSON's."""
    if not isinstance(value, dict | list):
        return [json.dumps(value, ensure_ascii=False)]
    lines = []
    for key in value:
        inner = _yaml(value[key] if isinstance(value, dict) else key)
        if isinstance(value, list):
            lines += [f"- {inner[0]}", *(f"  {line}" for line in inner[1:])]
        elif isinstance(value[key], dict | list):
            lines += [f"{key}:", *(f"  {line}" for line in inner)]
        else:
            lines.append(f"{key}: {inner[0]}")
    return lines
