"""Upload a published folder to the Hugging Face Hub, by the Hub's own client."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras_wrn
from keras_wrn.errors import InputError
from keras_wrn.system.backend import import_package
from keras_wrn.system.console import hub_bars

_TOKEN = (
    "Make one with write access at https://huggingface.co/settings/tokens, then run `hf auth "
    "login` or set HF_TOKEN."
)


def open_hub(repository: str, *, private: bool = False) -> Any:
    """Check, before the work, that the Hub knows the user; nothing is sent.

    The token is found as `huggingface_hub` finds it: HF_TOKEN, or what `hf auth login` stored.

    Args:
        repository: "owner/name".
        private: refuse a repository that is public.

    Returns:
        The Hub's client, for `upload`.

    Raises:
        InputError: the name is none, there is no token, the Hub refuses it, or does not answer;
            or the repository is public.
    """
    utils = import_package("huggingface_hub.utils", "huggingface_hub", "Publishing to the Hub")
    import huggingface_hub as client

    try:
        utils.validate_repo_id(repository)
        owner, name = repository.split("/")
    except ValueError as error:
        raise InputError(
            "A repository on the Hub is named owner/name, with letters, digits, '-', '_' and '.'. "
            f"Received: {repository}."
        ) from error
    if not client.get_token():
        raise InputError(f"There is no token for the Hugging Face Hub. {_TOKEN}")
    api = client.HfApi(
        endpoint=os.environ.get("HF_ENDPOINT"),  # the client reads it once, at its import
        library_name="keras_wrn",
        library_version=keras_wrn.__version__,
    )
    with _sentences(f"{owner}/{name}"):
        api.whoami()
        if private and api.repo_exists(repository):
            _refuse_public(api, repository)
    return api


def upload(api: Any, folder: Path, repository: str, *, private: bool = False) -> str:
    """Upload a folder, as one commit where the Hub allows it.

    Args:
        api: of `open_hub`.
        folder: of published weights, as `publish` writes it.
        repository: "owner/name"; it is created if it does not exist.
        private: create a private repository, and refuse one that is public.

    Returns:
        The address of the repository.

    Raises:
        InputError: the Hub refuses, or does not answer.
    """
    with _sentences(repository), hub_bars():
        if not api.repo_exists(repository):
            # Otherwise the owner's default decides.
            api.create_repo(repository, **({"private": True} if private else {}))
        elif private:
            _refuse_public(api, repository)
        message = f"Upload {folder.name} with keras_wrn {keras_wrn.__version__}"
        api.upload_folder(repo_id=repository, folder_path=folder, commit_message=message)
    return f"{api.endpoint}/{repository}"


def _refuse_public(api: Any, repository: str) -> None:
    if not api.model_info(repository).private:
        raise InputError(
            f"{repository} exists on the Hub and is public. Nothing was sent: make it private "
            "in its settings, or choose another name."
        )


@contextlib.contextmanager
def _sentences(repository: str) -> Iterator[None]:
    """Turn the client's errors, which have no common class, into an InputError."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        chain: list[Any] = [error]
        while chain[-1].__cause__ is not None:
            chain.append(chain[-1].__cause__)
        answers = [each.response for each in chain if getattr(each, "response", None) is not None]
        status = answers[0].status_code if answers else 0
        said = [text for each in chain if (text := getattr(each, "server_message", None))]
        reason = " ".join((said or [str(chain[-1]) or type(chain[-1]).__name__])[0].split())
        sentences = {
            401: f"The Hub does not know the token. {_TOKEN}",
            403: f"The token may not write to {repository}. {_TOKEN}",
            404: f"{repository} does not exist on the Hub, or the token may not see it.",
        }
        told = sentences.get(status, f"{repository} could not be uploaded to the Hub.")
        raise InputError(f"{told} The answer was: {reason}") from error
