"""The CRD comes from the models; a real API server's verdict on it is in tests/cluster."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tuningjob.spec.crd import custom_resource_definition, main, structural


def schemas(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from schemas(value)
    elif isinstance(node, list):
        for value in node:
            yield from schemas(value)


def test_the_committed_files_are_what_the_models_give() -> None:
    assert (
        main(["--check", str(ROOT / "crds/tuningjobs.yaml"), str(ROOT / "charts/tuningjob/files/crds/tuningjobs.yaml")])
        == 0
    )


def test_a_stale_file_is_found_and_written_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stale = tmp_path / "crd.yaml"
    stale.write_text("old")
    assert main(["--check", str(stale)]) == 1
    assert "make generate" in capsys.readouterr().err
    assert main(["--write", str(stale)]) == 0
    assert main(["--check", str(stale)]) == 0


def test_the_schema_has_nothing_that_a_structural_schema_may_not_have() -> None:
    schema = custom_resource_definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for node in schemas(schema):
        assert not {"$ref", "$defs", "anyOf", "oneOf", "const", "exclusiveMinimum", "additionalProperties"} & set(node)


def test_every_text_list_and_number_of_the_spec_is_bounded() -> None:
    spec = custom_resource_definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    for node in schemas(spec):
        match node.get("type"):
            case "string":
                assert "maxLength" in node or "enum" in node, node
            case "array":
                assert "maxItems" in node, node
            case "integer":
                assert "maximum" in node, node


def test_a_union_has_no_place_in_a_structural_schema() -> None:
    with pytest.raises(ValueError, match="no union"):
        structural({"anyOf": [{"type": "string"}, {"type": "boolean"}]})
