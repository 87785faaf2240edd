"""Reads two things from a person's kubeconfig: the namespace that they work in, and their token.

As with kubectl (https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/), KUBECONFIG may name
several files: the first that sets a thing wins, and missing files are passed over. If it is not set, ~/.kube/config is read.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from tuningjob.errors import Problem

ENV_KUBECONFIG: Final = "KUBECONFIG"


class KubeconfigRefused(ValueError):
    """A kubeconfig that cannot be read; the sentence says why."""


@dataclass(frozen=True)
class KubeContext:
    """The current context. ``token`` is None if its user authenticates by other means."""

    name: str
    namespace: str | None
    token: str | None


def current_context(environment: Mapping[str, str], home: Path) -> KubeContext | None:
    """The current context of the kubeconfig; None if there is none. Raises KubeconfigRefused."""
    paths = environment.get(ENV_KUBECONFIG)
    files = [Path(path) for path in paths.split(os.pathsep) if path] if paths else [home / ".kube" / "config"]
    documents = [(path, _read(path)) for path in files if path.is_file()]
    name = next(
        (str(document["current-context"]) for _, document in documents if document.get("current-context")), None
    )
    if name is None:
        return None
    _, context = next(_named(documents, "contexts", "context", name), (Path(), {}))
    user = context.get("user")
    folder, credentials = next(_named(documents, "users", "user", user), (Path(), {}))
    return KubeContext(name, context.get("namespace") or None, _token(folder, credentials))


def _read(path: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise KubeconfigRefused(str(Problem(str(path), "a readable kubeconfig", reason))) from None
    if not isinstance(document, dict | None):
        raise KubeconfigRefused(
            str(Problem(str(path), "a kubeconfig", f"{type(document).__name__} {str(document)[:40]!r}"))
        )
    return document or {}


def _named(
    documents: list[tuple[Path, dict[str, Any]]], plural: str, kind: str, name: str | None
) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The entries of this name in the order of the files, each with the folder of its file."""
    for path, document in documents:
        for entry in document.get(plural) or []:
            if isinstance(entry, dict) and entry.get("name") == name:
                yield path.parent, entry.get(kind) or {}


def _token(folder: Path, credentials: dict[str, Any]) -> str | None:
    """The token of a user. As with kubectl, a token's file goes before the token; its path is relative to the kubeconfig's."""
    if credentials.get("tokenFile"):
        return read_token(folder / str(credentials["tokenFile"]))
    return credentials.get("token") or None


def read_token(path: Path) -> str:
    """The token in a file. Raises KubeconfigRefused."""
    try:
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise KubeconfigRefused(str(Problem(str(path), "a readable file with a token", str(error)))) from None
    if not token:
        raise KubeconfigRefused(str(Problem(str(path), "a file with a token", "an empty one")))
    return token
