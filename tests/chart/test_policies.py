"""The admission policies that the chart makes: who created a TuningJob, and what it may name."""

import pytest

from tests.chart.conftest import CHART, Helm, Manifest, Render
from tests.chart.objects import containers_of, of_kind, settings_of
from tests.yamls import documents

pytestmark = pytest.mark.cluster


# --- who created a TuningJob: test_created_by tries the policies on a real API server --------------------------------


def admission(objects: list[Manifest], name: str = "created-by") -> dict[str, str]:
    """The version of each kind, of the policies of this name."""
    return {
        found["kind"]: found["apiVersion"]
        for found in objects
        if "AdmissionPolicy" in found["kind"] and found["metadata"]["name"] == f"tuningjob-{name}"
    }


@pytest.mark.parametrize("version", ["v1", "v1beta1", "v1alpha1"])
def test_the_mutating_policy_is_of_the_version_that_the_cluster_has(helm: Helm, version: str) -> None:
    group = "admissionregistration.k8s.io"
    has = [f"--api-versions={group}/{each}/MutatingAdmissionPolicy" for each in ("v1alpha1", version)]
    result = helm("template", "tuningjob", str(CHART), "--kube-version", "1.34.0", *has)
    kinds = admission(documents(result.stdout))
    assert kinds["MutatingAdmissionPolicy"] == kinds["MutatingAdmissionPolicyBinding"] == f"{group}/{version}"
    assert kinds["ValidatingAdmissionPolicy"] == kinds["ValidatingAdmissionPolicyBinding"] == f"{group}/v1"


def test_a_cluster_without_mutating_policies_has_the_validating_one(objects: list[Manifest]) -> None:
    assert admission(objects).keys() == {"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}
    assert settings_of(containers_of(objects)["operator"]).records_creators is True


def test_with_watched_namespaces_the_policies_hold_there_only(render: Render) -> None:
    # the one that confines the operator's own account has nothing to ask elsewhere: it has no rights there
    bindings = of_kind(
        render('watchNamespaces=["one","two"]', "confineOperator.enabled=false"), "ValidatingAdmissionPolicyBinding"
    )
    assert len(bindings) == 2
    for binding in bindings:
        (expression,) = binding["spec"]["matchResources"]["namespaceSelector"]["matchExpressions"]
        assert expression == {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["one", "two"]}


def test_who_created_what_need_not_be_known(render: Render) -> None:
    objects = render("createdBy.enabled=false")
    assert admission(objects) == {}
    assert settings_of(containers_of(objects)["operator"]).records_creators is False


# --- what a TuningJob may name: test_references tries the policy on a real API server ---------------------------------

VALIDATING = ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")


def cluster_with(*kinds: str) -> list[str]:
    """What helm would find on a cluster that has these kinds of admission policies, and what every cluster has."""
    has = ["apps/v1/Deployment", *(f"admissionregistration.k8s.io/v1/{kind}" for kind in kinds)]
    return ["--kube-version=1.34.0", *(f"--api-versions={each}" for each in has)]


def test_authors_are_held_to_their_rights_by_default(objects: list[Manifest]) -> None:
    assert admission(objects, "references").keys() == set(VALIDATING)
    assert settings_of(containers_of(objects)["operator"]).trusts_references is True


def test_without_the_check_the_operator_refuses_what_names_a_secret(render: Render) -> None:
    objects = render("references.check=false")
    assert admission(objects, "references") == {}
    assert settings_of(containers_of(objects)["operator"]).trusts_references is False


def test_authors_may_be_trusted_instead(render: Render, template: Helm) -> None:
    objects = render("references.check=false", "references.trustAuthors=true")
    assert admission(objects, "references") == {}
    assert settings_of(containers_of(objects)["operator"]).trusts_references is True
    both = template("references.trustAuthors=true")
    assert both.returncode != 0
    assert "references.trustAuthors: must be false while references.check is true, but got true. Set references" in (
        both.stderr
    )


def test_a_cluster_without_validating_policies_is_given_none_and_the_operator_refuses(helm: Helm) -> None:
    lacking = helm("template", "tuningjob", str(CHART), *cluster_with())
    objects = documents(lacking.stdout)
    assert not [found for found in objects if "AdmissionPolicy" in found["kind"]]
    operator = settings_of(containers_of(objects)["operator"])
    assert (operator.trusts_references, operator.records_creators) == (False, False)
    having = helm("template", "tuningjob", str(CHART), *cluster_with("ValidatingAdmissionPolicy"))
    objects = documents(having.stdout)
    assert admission(objects, "references").keys() == admission(objects).keys() == set(VALIDATING)
