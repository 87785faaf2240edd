"""The rights that the chart gives: the operator's, people's, and those of who reviews tokens."""

import re

import pytest

from tests.chart.conftest import CHART, Helm, Manifest, Render
from tests.chart.objects import containers_of, mounts_of, of_kind, settings_of, volumes_of
from tuningjob_operator.cluster.contract import LEASES_ACCESS, NODES_ACCESS, REQUIRED_ACCESS, Permission, lease_access
from tuningjob_operator.control.lease import SCOPE_NAME
from tuningjob_operator.service.identity import find_audience

pytestmark = pytest.mark.cluster

VALIDATING = ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")


# --- rights ----------------------------------------------------------------------------------------------------------


def granted(rules: list[Manifest]) -> set[tuple[str, str, str]]:
    return {
        (verb, group, resource)
        for rule in rules
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }


def as_right(access: Permission) -> tuple[str, str, str]:
    return access.verb, access.group, "/".join(filter(None, (access.resource, access.subresource)))


REQUIRED = {as_right(access) for access in REQUIRED_ACCESS}
NODES, LEASES = {as_right(NODES_ACCESS)}, {as_right(LEASES_ACCESS)}


def operator_role(objects: list[Manifest], kind: str) -> list[Manifest]:
    return [role for role in of_kind(objects, kind) if role["metadata"]["name"] == "tuningjob"]


def test_the_operator_may_do_in_all_namespaces_what_it_needs_and_no_more(objects: list[Manifest]) -> None:
    (role,) = operator_role(objects, "ClusterRole")
    assert granted(role["rules"]) == REQUIRED | NODES | LEASES
    assert settings_of(containers_of(objects)["operator"]).checks_nodes is True
    (binding,) = operator_role(objects, "ClusterRoleBinding")
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "tuningjob", "namespace": "tuningjob-system"}]
    assert operator_role(objects, "Role") == []


def test_nodes_need_not_be_looked_at(render: Render) -> None:
    objects = render("limits.checkNodes=false")
    (role,) = operator_role(objects, "ClusterRole")
    assert granted(role["rules"]) == REQUIRED | LEASES
    assert settings_of(containers_of(objects)["operator"]).checks_nodes is False


@pytest.mark.parametrize(
    ("settings", "where"),
    [
        ((), {"kube-system", "tuningjob-system"}),
        (("leaderElection.namespace=operators",), {"operators", "tuningjob-system"}),
        (('watchNamespaces=["one","tuningjob-system"]',), {"one", "tuningjob-system"}),
    ],
)
def test_the_operator_may_take_its_leases_where_operators_meet_and_no_others(
    render: Render, settings: tuple[str, ...], where: set[str]
) -> None:
    objects = render(*settings)
    roles = [role for role in of_kind(objects, "Role") if role["metadata"]["name"] == "tuningjob-leases"]
    assert {role["metadata"]["namespace"] for role in roles} == where
    assert len(roles) == len(where)
    for role in roles:
        assert granted(role["rules"]) == {as_right(access) for access in lease_access(SCOPE_NAME)}
        (bounded,) = [rule for rule in role["rules"] if "create" not in rule["verbs"]]
        assert bounded["resourceNames"] == [SCOPE_NAME, "tuningjob"]
    told = settings_of(containers_of(objects)["operator"])
    assert told.release == "tuningjob-system/tuningjob"
    assert {told.lease_namespace} | {"tuningjob-system"} == where or told.watch_namespaces


def test_with_watched_namespaces_the_rights_are_given_in_those_only(render: Render) -> None:
    watched = render('watchNamespaces=["one","two"]', "limits.checkNodes=true")
    assert operator_role(watched, "ClusterRole") == operator_role(watched, "ClusterRoleBinding") == []
    roles = operator_role(watched, "Role")
    assert [role["metadata"]["namespace"] for role in roles] == ["one", "two"]
    bindings = operator_role(watched, "RoleBinding")
    assert [binding["metadata"]["namespace"] for binding in bindings] == ["one", "two"]
    assert all(granted(role["rules"]) == REQUIRED for role in roles)
    # nodes are the cluster's
    assert settings_of(containers_of(watched)["operator"]).checks_nodes is False


def test_with_watched_namespaces_nothing_need_be_cluster_wide(render: Render) -> None:
    optional = (
        *("crds.enabled", "createdBy.enabled", "references.check", "confineOperator.enabled"),
        "userRoles.enabled",
    )
    watched = 'watchNamespaces=["one","two"]'
    for kind in {found["kind"] for found in render(watched) if "namespace" not in found["metadata"]}:
        assert kind in {"CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding", *VALIDATING}
    objects = render(watched, *(f"{name}=false" for name in optional), "people.audience=")
    assert {found["metadata"]["namespace"] for found in objects} == {"tuningjob-system", "one", "two"}


def test_no_right_is_a_wildcard_and_no_secret_is_readable(objects: list[Manifest]) -> None:
    rights = granted([rule for role in of_kind(objects, "ClusterRole") for rule in role["rules"]])
    assert not [right for right in rights if "*" in right]
    assert {verb for verb, _, resource in rights if resource == "secrets"} == {"create"}
    assert {resource for verb, _, resource in rights if verb == "delete"} == {"tuningjobs", "jobs"}


def test_users_have_tuningjobs_through_kubernetes_own_roles(objects: list[Manifest], render: Render) -> None:
    roles = {role["metadata"]["name"]: role for role in of_kind(objects, "ClusterRole")}
    prefix = "rbac.authorization.k8s.io/aggregate-to-"
    aggregated = {
        name: {label.removeprefix(prefix) for label in role["metadata"]["labels"] if label.startswith(prefix)}
        for name, role in roles.items()
    }
    assert aggregated == {
        "tuningjob": set(),
        "tuningjob-reviewer": set(),
        "tuningjob-view": {"view", "edit", "admin"},
        "tuningjob-edit": {"edit", "admin"},
    }
    assert {verb for verb, _, _ in granted(roles["tuningjob-view"]["rules"])} == {"get", "list", "watch"}
    assert {resource for _, _, resource in granted(roles["tuningjob-edit"]["rules"])} == {
        "tuningjobs",
        "tuningjobs/scale",
    }
    without = [role["metadata"]["name"] for role in of_kind(render("userRoles.enabled=false"), "ClusterRole")]
    assert without == ["tuningjob", "tuningjob-reviewer"]


# --- tokens of an audience of their own: tests/service/test_audience has the reviews on a real API server ---------------


def test_who_reviews_tokens_may_do_nothing_else_and_its_token_is_the_results_services_alone(
    objects: list[Manifest], render: Render
) -> None:
    (role,) = [found for found in of_kind(objects, "ClusterRole") if found["metadata"]["name"] == "tuningjob-reviewer"]
    assert granted(role["rules"]) == {
        ("create", "authentication.k8s.io", "tokenreviews"),
        ("create", "authorization.k8s.io", "subjectaccessreviews"),
    }
    operator, results = (containers_of(objects)[name] for name in ("operator", "results"))
    told = {each["name"]: each.get("value") for each in results["env"]}
    audience = find_audience({name: value for name, value in told.items() if value is not None})
    assert audience is not None
    assert (audience.name, audience.is_required) == ("tuningjob", False)
    volume = volumes_of(objects)[mounts_of(results)[str(audience.token_file.parent)]]
    assert (volume["secret"]["secretName"], volume["secret"]["optional"]) == ("tuningjob-reviewer", True)
    assert "reviewer" not in str(operator)

    strict = containers_of(render("people.clusterTokens=false"))["results"]
    assert {"name": "TUNINGJOB_CLUSTER_TOKENS", "value": "false"} in strict["env"]


def test_without_an_audience_there_is_nobody_to_review(render: Render, template: Helm) -> None:
    assert "reviewer" not in str(render("people.audience="))
    neither = template("people.audience=", "people.clusterTokens=false")
    assert neither.returncode != 0
    assert "people.clusterTokens: must be true without people.audience" in neither.stderr


def test_the_readme_lists_the_operators_rights_completely() -> None:
    row = re.compile(r"^\| `([a-z/.]+)` \| ([a-z, ]+) \| .* \|$", re.MULTILINE)
    text = (CHART / "README.md").read_text(encoding="utf-8")
    told = {(verb, resource) for resource, verbs in row.findall(text) for verb in verbs.split(", ")}
    plain = {"tuningjobs": "tuningjobs.tuningjob.dev", "jobs": "jobs.batch"}
    want = set()
    for verb, _, resource in REQUIRED | NODES | LEASES:
        name, slash, subresource = resource.partition("/")
        want.add((verb, plain.get(name, name) + slash + subresource))
    assert told == want
