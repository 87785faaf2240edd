"""The CRD comes from the models; a real API server's verdict on it is in tests/cluster."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from tests.conftest import ROOT
from tuningjob.manifest.crd import custom_resource_definition, forbid_changes, main, render_crd, structural


def schemas(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from schemas(value)
    elif isinstance(node, list):
        for value in node:
            yield from schemas(value)


@pytest.mark.slow
def test_the_committed_files_are_what_the_models_give() -> None:
    assert (
        main(["--check", str(ROOT / "crds/tuningjobs.yaml"), str(ROOT / "charts/tuningjob/files/crds/tuningjobs.yaml")])
        == 0
    )


@pytest.mark.slow
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
        assert not {"$ref", "$defs", "oneOf", "const", "exclusiveMinimum"} & set(node)
        assert not isinstance(node.get("additionalProperties"), bool)


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


@pytest.mark.slow
def test_client_side_apply_can_carry_it() -> None:
    """Which puts the whole of it into an annotation, of at most 256 KiB."""
    assert len(render_crd()) < 160_000


def test_every_field_of_the_spec_is_explained() -> None:
    spec = custom_resource_definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    for node in schemas(spec):
        for name, field in node.get("properties", {}).items():
            assert "description" in field or set(field) <= {"maxItems", "maxProperties"}, name


def test_no_rule_reads_a_quantity_whose_exponent_it_has_not_seen() -> None:
    """To compare 1e99999999999 with anything takes an API server longer than a request may."""
    for node in schemas(custom_resource_definition()):
        for rule in node.get("x-kubernetes-validations", []):
            assert "isQuantity" not in rule["rule"]
            if "quantity(" in rule["rule"]:
                assert rule["rule"].index("matches(") < rule["rule"].index("quantity(")


class Untyped(BaseModel):
    """An untyped field beside another one."""

    values: Any
    more: Any


def test_of_two_untyped_fields_that_cannot_be_told_apart_their_object_is_named() -> None:
    schema = structural(Untyped.model_json_schema())
    forbid_changes(schema, Untyped)
    (rule,) = schema["x-kubernetes-validations"]
    assert rule["rule"] == "self == oldSelf"
    assert "fieldPath" not in rule
