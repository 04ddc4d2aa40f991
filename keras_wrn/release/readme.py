"""Generate the README.md of published weights from their card."""

import re
from typing import Any

from keras_wrn.release.hub_metadata import front_matter
from keras_wrn.release.logits import LOGITS_FILE
from keras_wrn.system import markdown
from keras_wrn.training.recipe import CONDITIONS
from keras_wrn.weights.card import HISTORY_FILE, WEIGHTS_FILE, Card, call
from keras_wrn.weights.published import folder_name

README_FILE = "README.md"


def readme(card: Card, *, has_curves: bool = True, repository: str | None = None) -> str:
    """Write a card as Markdown, with the head that the Hugging Face Hub reads.

    Args:
        card: the card of published weights.
        has_curves: whether curves.png lies beside it.
        repository: "owner/name" on the Hub, for the example; None: not known.

    Returns:
        The text of README.md.
    """
    metrics = card.metrics or {}
    parts = [
        front_matter(card),
        f"# {card.architecture} on {card.keyword}",
        "<!-- Generated from card.json by keras_wrn. -->",
        markdown.table(
            (f"{metrics['n']:,} test images", ""),
            {
                "top-1 error": _percent(metrics["error"]),
                "top-5 error": _percent(metrics["top5_error"]),
                "negative log-likelihood": f"{metrics['nll']:.4f}",
                "expected calibration error, 15 bins": _percent(metrics["ece"]),
                "trainable parameters": f"{card.parameters:,}",
                "multiply-adds for one image": f"{card.multiply_adds:,}",
            }.items(),
        ),
        f"Measured by {card.measured_by}; {card.measured_on}. "
        f"Runs: {card.runs}, seed {'not said' if card.seed is None else card.seed}. "
        f"Kept: {card.kept or 'the last epoch'}. "
        f"Chosen by: {card.chosen_by or 'not said'}.",
        f"```python\n{_use(card, repository)}\n```",
        f"`keras_wrn.{call(card.network, card.keyword)}` is the same network where this folder "
        "comes with keras_wrn, or lies in `~/.keras/keras_wrn`.",
        f"## Intended use\n\n{card.intended_use}",
        "## Known failures\n\n" + "\n".join(f"- {line}" for line in card.known_failures or ()),
        *([_temperature(card.temperature)] if card.temperature else []),
        "## Preprocessing\n\n" + _preprocessing(card.preprocessing),
        "## Training\n\n" + _training(card),
    ]
    if has_curves:
        parts.append(f"![training curves](curves.png)\n\nThe figures are in {HISTORY_FILE}.")
    parts += [
        "## Files",
        markdown.table(
            (WEIGHTS_FILE, ""),
            {
                "numbers": card.weights_dtype,
                "bytes": f"{card.weights_bytes:,}",
                "sha256": f"`{card.weights_sha256}`",
                "licence": card.licence,
            }.items(),
        ),
        f"`{LOGITS_FILE}` has the arrays `logits`, float16, of the test images in the data set's "
        "order, and `labels`. A folder as the Hub has it also holds `model.safetensors`, the same "
        "weights by name (`layer/variable`), and `config.json`, with which "
        "`keras.saving.load_model` reads the folder without keras_wrn: its images must be "
        "normalised as above.",
    ]
    return "\n\n".join(parts) + "\n"


def _use(card: Card, repository: str | None) -> str:
    """Write the Python that loads the network from its folder and classifies images."""
    name = folder_name(card.title, card.keyword)
    lines = ["import keras_wrn", "", f'folder = "{name}"  # the path of this folder']
    if repository:
        lines = ["import huggingface_hub", "import keras_wrn", ""]
        lines.append(f'folder = huggingface_hub.snapshot_download("{repository}")')
    lines += [
        "trained = keras_wrn.load_trained(folder)",
        "# images: uint8 (n, height, width, channels), 0 to 255",
        "images = keras_wrn.preprocess_input(images, trained.preprocessing)",
        "probabilities = trained.model.predict(images)",
    ]
    return "\n".join(lines)


def repository_in(text: str) -> str | None:
    """The repository on the Hub that a README of `readme` names in its example, if any."""
    found = re.search(r'snapshot_download\("([^"]+)"\)', text)
    return found and found[1]


def _temperature(fitted: dict[str, Any]) -> str:
    nll, ece = fitted["nll"], fitted["ece"]
    return (
        f"## Temperature\n\n{fitted['value']:.4g}, fitted on {fitted['fitted_on']}. On "
        f"{fitted['measured_on']}, it changes the NLL from {nll['before']:.4f} to "
        f"{nll['after']:.4f} and the ECE from {_percent(ece['before'])} to "
        f"{_percent(ece['after'])}. The figures above are without it: `predict` and `export` take "
        "it with `--calibrated`."
    )


def _preprocessing(values: dict[str, Any]) -> str:
    mean, std = (", ".join(f"{number:g}" for number in values[key]) for key in ("mean", "std"))
    return (
        f"{values['size']}x{values['size']} pixels on 0 to 255; mean {mean} and standard deviation "
        f"{std} per channel (red, green, blue)."
    )


def _training(card: Card) -> str:
    facts = {
        "epochs": card.epochs,
        "steps": card.steps,
        "hours of training steps": card.hours,
        "CPU hours of them": card.cpu_hours,
        "operations": _operations(card.training_flop),
        "hardware": card.hardware,
        "versions": ", ".join(f"{k} {v}" for k, v in (card.versions or {}).items()),
    }
    recipe = card.recipe if isinstance(card.recipe, dict) else {"recipe": card.recipe}
    idle = {
        name
        for names, _, key, holds in CONDITIONS
        if key in recipe and not holds(recipe[key])
        for name in names
    }
    # A run that was ended early has fewer epochs than its recipe.
    used = {key: value for key, value in recipe.items() if key not in idle}
    facts |= {key: value for key, value in used.items() if facts.get(key) is None}
    shown = {k.replace("_", " "): v for k, v in facts.items() if v not in (None, "", [], {})}
    return markdown.table(("", ""), shown.items())


def _operations(flop: float | None) -> str | None:
    return None if flop is None else f"{flop / 1e15:.3g} PFLOP, convolutions and dense layers"


def _percent(share: float | None) -> str:
    return "not measured" if share is None else f"{share:.2%}"
