"""Pages that are generated: fields from the models, commands from click, the HTTP API from OpenAPI, Python from docstrings."""

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import tuningjob
from tuningjob.artifacts.local import LocalStore
from tuningjob.cluster.run import Run
from tuningjob.journal.sql import open_sqlite
from tuningjob.manifest.crd import custom_resource_definition
from tuningjob_operator.service.app import make_app
from tuningjob_operator.tokens import Keys

_HTTP_METHODS = ("get", "put", "post", "patch", "delete", "head")


def write_reference(folder: Path) -> None:
    """Write every generated page, unless it is there with the same text: Sphinx builds anew what has changed."""
    folder.mkdir(exist_ok=True)
    for name, lines in (("fields", fields()), ("cli", commands()), ("http", http()), ("python", python())):
        text = "\n".join(lines) + "\n"
        page = folder / f"{name}.md"
        if not page.exists() or page.read_text(encoding="utf-8") != text:
            page.write_text(text, encoding="utf-8")


def fields() -> Iterator[str]:
    """Every field of a TuningJob that the API server knows, with its type, default and description."""
    yield "# Every field"
    yield ""
    yield "Generated from the models that the CRD is made of; `kubectl explain tuningjob.spec` shows the same."
    yield "[The manifest](../../manifest.md) tells it by subject, with examples."
    (version,) = custom_resource_definition()["spec"]["versions"]
    properties = version["schema"]["openAPIV3Schema"]["properties"]
    for part in ("spec", "status"):
        yield from ("", f"## {part}", "", "| field | type | default | |", "| --- | --- | --- | --- |")
        yield from _rows(properties[part], part)


def _rows(schema: Mapping[str, Any], path: str) -> Iterator[str]:
    for name, field in sorted(schema.get("properties", {}).items()):
        where = f"{path}.{name}"
        default = f"`{field['default']}`" if "default" in field and field["default"] != {} else ""
        words = " ".join(str(field.get("description", "")).split()).replace("|", "\\|")
        yield f"| `{where}` | {_type(field)} | {default} | {words} |"
        yield from _rows(field, where)
        if isinstance(items := field.get("items"), Mapping):
            yield from _rows(items, f"{where}[]")


def _type(field: Mapping[str, Any]) -> str:
    if field.get("x-kubernetes-int-or-string"):
        return "quantity"
    if field.get("type") == "array":
        return f"list of {_type(field.get('items', {}))}"
    if field.get("enum"):
        return " or ".join(f"`{value}`" for value in field["enum"])
    return {"object": "map"}.get(str(field.get("type", "any")), str(field.get("type", "any")))


def commands() -> Iterator[str]:
    """The command line, as its own --help has it."""
    yield "# The command line"
    yield ""
    yield "```{eval-rst}\n.. click:: tuningjob.cli.command:cli\n   :prog: tuningjob\n   :nested: full\n```"


def python() -> Iterator[str]:
    """What may be imported, by its docstrings."""
    yield "# Python"
    yield ""
    yield "[What may be imported](../../api.md) is the list that is kept from release to release."
    for name in tuningjob.__all__:
        if name.startswith("__"):
            continue
        kind = "autoclass" if isinstance(getattr(tuningjob, name), type) else "autofunction"
        # of scikit-learn's classes the methods are scikit-learn's, and documented there
        members = ["   :members:"] if name == "Cluster" else []
        yield from ("", f"## {name}", "", "```{eval-rst}", f".. {kind}:: tuningjob.{name}", *members, "```")
    yield from ("", "## What submit and attach give", "", "```{eval-rst}")
    yield from (f".. autoclass:: {Run.__module__}.Run", "   :members:", "```")


def http() -> Iterator[str]:
    """The results service's API, from the OpenAPI document that it serves itself."""
    with tempfile.TemporaryDirectory() as folder:
        journal = open_sqlite(Path(folder) / "tuning.db")
        document = make_app(journal, LocalStore(Path(folder) / "artifacts", max_bytes=1), Keys(b"0" * 32)).openapi()
        journal.close()
    yield "# The HTTP API"
    yield ""
    yield "Generated from the results service's own OpenAPI document, which it serves at `/openapi.json`."
    yield "[The audit](../../audit.md) shows the calls that people make."
    yield from ("", "| | path | |", "| --- | --- | --- |")
    for path, operations in sorted(document["paths"].items()):
        for method in _HTTP_METHODS:
            if method in operations:
                words = operations[method].get("description") or operations[method].get("summary") or ""
                yield f"| {method.upper()} | `{path}` | {' '.join(words.split()).replace('|', chr(92) + '|')} |"
