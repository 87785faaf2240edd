"""What quotas, limit ranges and nodes leave for the pods of a search."""

import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuningjob.manifest.pod_options import Toleration
from tuningjob.manifest.quantity import parse_quantity
from tuningjob_operator.decide.capacity import (
    UNBOUNDED,
    PodSize,
    QuotaVerdict,
    cpu_text,
    limit_range_problems,
    memory_text,
    node_problem,
    quota_allows,
)
from tuningjob_operator.objects import Body

GI = 2**30


def quota(hard: dict[str, str], used: dict[str, str] | None = None, *, name: str = "team-a", **spec: Any) -> Body:
    status = {"hard": hard, "used": {**dict.fromkeys(hard, "0"), **(used or {})}}
    return {"metadata": {"name": name, "namespace": "ns"}, "spec": {"hard": hard, **spec}, "status": status}


def sized(changes: dict[str, Any]) -> tuple[PodSize, dict[str, Any]]:
    """Two CPUs, promised and at most, and 1 GiB, as far as nothing else is said; and the rest of what is said."""
    cpu = changes.pop("cpu", Decimal(2))
    return PodSize(changes.pop("cpu_request", cpu), cpu, changes.pop("memory", Decimal(GI))), changes


def allowed(*quotas: Body, **changes: Any) -> QuotaVerdict:
    """For pods of two CPUs and 1 GiB; the search has its Job, and no pod of it runs."""
    size, changes = sized(changes)
    asked: dict[str, Any] = {"running": 0, "has_job": True, "priority_class": None}
    return quota_allows(quotas, size, **(asked | changes))


class TestQuotas:
    def test_without_a_quota_nothing_is_bounded(self) -> None:
        assert allowed() == QuotaVerdict(UNBOUNDED, "")

    def test_the_verdict_names_the_quota_and_its_numbers(self) -> None:
        assert allowed(quota({"requests.cpu": "4"}, {"requests.cpu": "3"})) == QuotaVerdict(
            0, "ResourceQuota team-a: requests.cpu 3 of 4 used, a pod needs 2"
        )

    def test_of_a_search_that_gives_way_requests_and_limits_are_counted_apart(self) -> None:
        size = {"cpu": Decimal(2), "cpu_request": Decimal("0.5")}
        assert allowed(quota({"requests.cpu": "4"}), **size).pods == allowed(quota({"cpu": "4"}), **size).pods == 8
        verdict = allowed(quota({"requests.cpu": "4", "limits.cpu": "3"}), **size)
        assert verdict == QuotaVerdict(1, "ResourceQuota team-a: limits.cpu 0 of 3 used, a pod needs 2")

    @pytest.mark.parametrize(
        ("resource", "hard", "used", "pods"),
        [
            ("requests.cpu", "8", "2", 3),
            ("cpu", "8", "2", 3),
            ("limits.cpu", "8", "2", 3),
            ("cpu", "7999m", "2", 2),
            ("requests.memory", "3Gi", "1Gi", 2),
            ("memory", "3Gi", "1Gi", 2),
            ("limits.memory", "3Gi", "1Gi", 2),
            ("memory", "3G", "0", 2),
            ("pods", "10", "7", 3),
            ("count/pods", "10", "7", 3),
        ],
    )
    def test_each_resource_of_a_pod_bounds_them(self, resource: str, hard: str, used: str, pods: int) -> None:
        assert allowed(quota({resource: hard}, {resource: used})).pods == pods

    @pytest.mark.parametrize("resource", ["requests.storage", "count/secrets", "services", "requests.nvidia.com/gpu"])
    def test_what_our_pods_do_not_use_bounds_nothing(self, resource: str) -> None:
        assert allowed(quota({resource: "0"})) == QuotaVerdict(UNBOUNDED)

    def test_pods_that_run_are_in_what_is_used_and_stay(self) -> None:
        full = quota({"cpu": "6"}, {"cpu": "6"})
        assert allowed(full, running=0).pods == 0
        assert allowed(full, running=3).pods == 3

    def test_a_quota_lowered_below_what_is_used_leaves_fewer_than_run(self) -> None:
        lowered = quota({"cpu": "4"}, {"cpu": "7"})
        assert allowed(lowered, running=3).pods == 1
        assert allowed(lowered, running=1).pods == 0

    def test_the_tightest_of_all_counts(self) -> None:
        wide, tight = quota({"cpu": "100", "pods": "9"}, name="wide"), quota({"memory": "4Gi"}, name="tight")
        assert allowed(wide, tight) == allowed(tight, wide)
        assert allowed(wide, tight) == QuotaVerdict(4, "ResourceQuota tight: memory 0 of 4Gi used, a pod needs 1Gi")

    def test_of_equals_the_first_by_name_is_told(self) -> None:
        one, other = quota({"pods": "1"}, name="a"), quota({"pods": "1"}, name="b")
        assert allowed(other, one).why == "ResourceQuota a: pods 0 of 1 used"

    def test_a_job_that_is_not_there_needs_room_for_itself(self) -> None:
        full = quota({"count/jobs.batch": "5"}, {"count/jobs.batch": "5"})
        assert allowed(full, has_job=False) == QuotaVerdict(0, "ResourceQuota team-a: count/jobs.batch 5 of 5 used")
        assert allowed(full, has_job=True).pods == UNBOUNDED
        assert allowed(quota({"count/jobs.batch": "5"}, {"count/jobs.batch": "4"}), has_job=False).pods == UNBOUNDED

    def test_the_status_counts_not_a_spec_that_is_not_in_force_yet(self) -> None:
        edited = quota({"cpu": "4"})
        edited["spec"]["hard"] = {"cpu": "400"}
        assert allowed(edited).pods == 2

    def test_a_quota_that_nobody_has_counted_yet_is_taken_at_its_word(self) -> None:
        fresh = quota({"cpu": "4"})
        del fresh["status"]
        assert allowed(fresh).pods == 2

    @pytest.mark.parametrize(
        ("scopes", "counts"),
        [
            (["NotTerminating"], True),
            (["NotBestEffort"], True),
            (["NotTerminating", "NotBestEffort"], True),
            (["Terminating"], False),
            (["BestEffort"], False),
            (["NotBestEffort", "Terminating"], False),
            (["CrossNamespacePodAffinity"], False),
            (["PriorityClass"], False),
            (["OfALaterKubernetes"], False),
        ],
    )
    def test_a_quota_counts_if_every_scope_is_ours(self, scopes: list[str], *, counts: bool) -> None:
        assert (allowed(quota({"pods": "0"}, scopes=scopes)).pods == 0) is counts
        as_selector = {"matchExpressions": [{"scopeName": scope, "operator": "Exists"} for scope in scopes]}
        assert (allowed(quota({"pods": "0"}, scopeSelector=as_selector)).pods == 0) is counts

    @pytest.mark.parametrize(
        ("operator", "values", "of_batch", "of_none"),
        [
            ("In", ["batch", "low"], True, False),
            ("In", ["high"], False, False),
            ("NotIn", ["batch"], False, True),
            ("NotIn", ["high"], True, True),
            ("Exists", None, True, False),
            ("DoesNotExist", None, False, True),
            ("Unheard", None, False, False),
        ],
    )
    def test_priority_classes_are_selected_as_labels_are(
        self, operator: str, values: list[str] | None, *, of_batch: bool, of_none: bool
    ) -> None:
        expression = {"scopeName": "PriorityClass", "operator": operator, **({"values": values} if values else {})}
        bound = quota({"pods": "0"}, scopeSelector={"matchExpressions": [expression]})
        assert (allowed(bound, priority_class="batch").pods == 0) is of_batch
        assert (allowed(bound, priority_class=None).pods == 0) is of_none

    @given(
        hard=st.integers(0, 10**6),
        used=st.integers(0, 10**6),
        cpu=st.integers(1, 10**4),
        running=st.integers(0, 50),
    )
    def test_one_pod_more_would_be_too_many_and_so_many_are_not(
        self, hard: int, used: int, cpu: int, running: int
    ) -> None:
        """In millicores. ``running`` of the pods that are used are ours."""
        used += running * cpu
        entry = quota({"cpu": f"{hard}m"}, {"cpu": f"{used}m"})
        pods = allowed(entry, cpu=Decimal(cpu) / 1000, running=running).pods
        others = used - running * cpu
        assert others + (pods + 1) * cpu > hard
        assert pods == 0 or others + pods * cpu <= hard

    @pytest.mark.slow
    @given(
        st.lists(
            st.tuples(st.sampled_from(["cpu", "limits.memory", "pods", "secrets"]), st.integers(0, 10)), max_size=4
        ),
        st.integers(0, 5),
    )
    def test_another_quota_never_leaves_more(self, entries: list[tuple[str, int]], running: int) -> None:
        quotas = [
            quota({resource: f"{hard}Gi" if "memory" in resource else str(hard)}, name=f"q{number}")
            for number, (resource, hard) in enumerate(entries)
        ]
        verdicts = [allowed(*quotas[:some], running=running).pods for some in range(len(quotas) + 1)]
        assert verdicts == sorted(verdicts, reverse=True)


def limit_range(**limits: dict[str, dict[str, str]]) -> Body:
    return {
        "metadata": {"name": "defaults", "namespace": "team-a"},
        "spec": {"limits": [{"type": kind, **bounds} for kind, bounds in limits.items()]},
    }


def refused(*ranges: Body, **changes: Any) -> list[str]:
    return [str(p) for p in limit_range_problems(ranges, sized(changes)[0])]


class TestLimitRanges:
    def test_none_and_empty_ones_refuse_nothing(self) -> None:
        assert refused() == refused({"metadata": {"name": "empty"}, "spec": {}}) == []

    @pytest.mark.parametrize("kind", ["Container", "Pod"])
    def test_a_pod_that_is_too_large_is_refused_with_the_range_and_its_number(self, kind: str) -> None:
        assert refused(limit_range(**{kind: {"max": {"cpu": "1", "memory": "512Mi"}}})) == [
            (
                "spec.resources.cpu: must be at most 1 (LimitRange defaults of namespace team-a), but got 2. "
                "Lower it to 1 or less."
            ),
            (
                "spec.resources.memory: must be at most 512Mi (LimitRange defaults of namespace team-a), but got 1Gi. "
                "Lower it to 512Mi or less."
            ),
        ]

    def test_a_pod_that_is_too_small_is_refused(self) -> None:
        assert refused(limit_range(Container={"min": {"cpu": "2500m"}})) == [
            (
                "spec.resources.cpu: must be at least 2500m (LimitRange defaults of namespace team-a), but got 2. "
                "Raise it to 2500m or more."
            )
        ]

    def test_exactly_as_large_as_may_be_is_taken(self) -> None:
        size = {"cpu": "2", "memory": "1Gi"}
        assert refused(limit_range(Container={"max": size, "min": size}, Pod={"max": size, "min": size})) == []

    def test_defaults_ratios_and_volume_claims_do_not_matter(self) -> None:
        bounds = {
            "default": {"cpu": "1"},
            "defaultRequest": {"memory": "1Mi"},
            "maxLimitRequestRatio": {"cpu": "1", "memory": "1"},
        }
        assert refused(limit_range(Container=bounds, PersistentVolumeClaim={"max": {"storage": "1Mi"}})) == []

    def test_of_a_search_that_gives_way_the_least_looks_at_the_request_and_the_most_at_the_limit(self) -> None:
        size = {"cpu": Decimal(2), "cpu_request": Decimal("0.5")}
        assert refused(limit_range(Container={"min": {"cpu": "500m"}, "max": {"cpu": "2"}}), **size) == []
        assert refused(limit_range(Container={"min": {"cpu": "501m"}}), **size) == [
            (
                "spec.resources.cpuRequest: must be at least 501m (LimitRange defaults of namespace team-a), but got 500m. "
                "Raise it to 501m or more."
            )
        ]
        assert refused(limit_range(Container={"max": {"cpu": "1"}}), **size) == [
            (
                "spec.resources.cpu: must be at most 1 (LimitRange defaults of namespace team-a), but got 2. "
                "Lower it to 1 or less."
            )
        ]

    def test_of_a_search_that_gives_way_the_ratio_of_limit_and_request_is_looked_at(self) -> None:
        size = {"cpu": Decimal(2), "cpu_request": Decimal("0.5")}
        assert refused(limit_range(Container={"maxLimitRequestRatio": {"cpu": "4"}}), **size) == []
        assert refused(limit_range(Pod={"maxLimitRequestRatio": {"cpu": "3"}}), **size) == [
            (
                "spec.resources.cpuRequest: must be no less than cpu divided by 3 "
                "(LimitRange defaults of namespace team-a: maxLimitRequestRatio), but got 500m of 2. Raise it."
            )
        ]

    def test_what_container_and_pod_say_alike_is_said_once(self) -> None:
        size = {"max": {"cpu": "1"}}
        assert len(refused(limit_range(Container=size, Pod=size))) == 1

    def test_the_reason_is_one_word(self) -> None:
        (problem,) = limit_range_problems([limit_range(Pod={"max": {"cpu": "1"}})], sized({})[0])
        assert problem.reason == "LimitRange"


def node(
    name: str,
    cpu: str = "4",
    memory: str = "8Gi",
    *,
    taints: list[dict[str, str]] | None = None,
    unschedulable: bool = False,
    **labels: str,
) -> Body:
    spec = {**({"taints": taints} if taints else {}), **({"unschedulable": True} if unschedulable else {})}
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": spec,
        "status": {"capacity": {"cpu": "999", "memory": "999Gi"}, "allocatable": {"cpu": cpu, "memory": memory}},
    }


def taint(key: str, effect: str = "NoSchedule", value: str = "") -> dict[str, str]:
    return {"key": key, "effect": effect, **({"value": value} if value else {})}


def tolerates(**fields: Any) -> list[Toleration]:
    return [Toleration.model_validate(fields)]


def misfit(*nodes: Body, **changes: Any) -> str | None:
    """For a pod of two CPUs and 1 GiB."""
    size, changes = sized(changes)
    asked: dict[str, Any] = {"node_selector": None, "tolerations": None}
    problem = node_problem(nodes, size, **(asked | changes))
    return None if problem is None else str(problem)


class TestNodes:
    def test_one_node_that_is_large_enough_will_do(self) -> None:
        assert misfit(node("small", "1"), node("large", "2", "1Gi")) is None

    def test_a_cluster_without_nodes_may_still_get_some(self) -> None:
        assert misfit(node_selector={"disk": "ssd"}) is None

    def test_a_pod_larger_than_every_node_is_told_the_largest(self) -> None:
        assert misfit(node("a", "1", "8Gi"), node("b", "1900m", "7500Mi")) == (
            "spec.resources.cpu: must be no more than a node of this cluster has for pods (the largest that may take them, b: "
            "cpu 1900m, memory 7500Mi), but got cpu 2, memory 1Gi. "
            "Lower it, and raise spec.parallelism instead: smaller pods, more of them."
        )

    def test_the_field_is_the_one_that_is_too_large(self) -> None:
        asked: dict[str, Any] = {"node_selector": None, "tolerations": None}
        for size, field in {
            ("1", "2Gi"): "spec.resources.cpu",
            ("2", "1Mi"): "spec.resources.memory",
            ("1", "1Mi"): "spec.resources",
        }.items():
            problem = node_problem([node("n", *size)], sized({})[0], **asked)
            assert problem is not None
            assert (problem.field, problem.reason) == (field, "NoNodeFits")

    def test_a_search_that_gives_way_fits_where_its_request_does(self) -> None:
        assert misfit(node("n", "1"), cpu_request=Decimal(1)) is None
        text = misfit(node("n", "900m"), cpu_request=Decimal(1))
        assert text is not None
        assert text.startswith("spec.resources.cpuRequest: must be no more than a node of this cluster has for pods")

    def test_no_two_nodes_make_one(self) -> None:
        """One has the CPUs, the other the memory: told is the one that lacks the least."""
        text = misfit(node("cpus", "64", "512Mi"), node("bytes", "200m", "64Gi"))
        assert text is not None
        assert "cpus: cpu 64, memory 512Mi" in text
        assert text.startswith("spec.resources.memory")

    def test_allocatable_counts_and_not_capacity(self) -> None:
        assert misfit(node("n", "1999m")) is not None

    def test_only_nodes_with_the_selectors_labels_count(self) -> None:
        nodes = node("a", disk="ssd", zone="1"), node("b", disk="hdd", zone="2")
        assert misfit(*nodes, node_selector={"disk": "ssd"}) is None
        assert misfit(*nodes, node_selector={"disk": "nvme", "zone": "1"}) == (
            "spec.pod.nodeSelector: must be labels that a node of this cluster has, but got disk=nvme, zone=1. "
            "None of 2 nodes has disk=nvme: see `kubectl get nodes --show-labels`."
        )
        both = misfit(*nodes, node_selector={"disk": "ssd", "zone": "2"})
        assert both is not None
        assert "None of 2 nodes has them all" in both

    @pytest.mark.parametrize("effect", ["NoSchedule", "NoExecute"])
    def test_a_taint_that_is_not_tolerated_keeps_pods_away(self, effect: str) -> None:
        assert misfit(node("a", taints=[taint("gpu", effect, "yes")])) == (
            "spec.pod.tolerations: must be tolerations of the taints of a node that spec.pod.nodeSelector leaves "
            f"(not tolerated: gpu=yes:{effect}), but got none. "
            "Tolerate the taint, if those nodes are meant for such work, or select others."
        )

    def test_a_node_with_an_open_door_is_told_rather_than_a_larger_one_without(self) -> None:
        text = misfit(node("gpu", "64", taints=[taint("gpu")]), node("open", "1"))
        assert text is not None
        assert "may take them, open" in text

    @pytest.mark.parametrize(
        "passing",
        [
            taint("node.kubernetes.io/not-ready", "NoExecute"),
            taint("node.kubernetes.io/unreachable", "NoExecute"),
            taint("node.kubernetes.io/unschedulable"),
            taint("node.kubernetes.io/disk-pressure"),
            taint("node.cloudprovider.kubernetes.io/uninitialized", value="true"),
            taint("ToBeDeletedByClusterAutoscaler", value="1700000000"),
            taint("anything", "PreferNoSchedule"),
        ],
        ids=lambda passing: passing["key"],
    )
    def test_what_passes_keeps_nobody_away_for_good(self, passing: dict[str, str]) -> None:
        assert misfit(node("a", taints=[passing], unschedulable=True)) is None

    @pytest.mark.parametrize(
        ("toleration", "tolerated"),
        [
            ({"key": "gpu", "operator": "Exists"}, True),
            ({"key": "gpu", "value": "yes"}, True),
            ({"key": "gpu", "operator": "Equal", "value": "yes", "effect": "NoSchedule"}, True),
            ({"operator": "Exists"}, True),
            ({"operator": "Exists", "effect": "NoSchedule"}, True),
            ({"key": "gpu"}, False),
            ({"key": "gpu", "value": "no"}, False),
            ({"key": "cpu", "operator": "Exists"}, False),
            ({"key": "gpu", "operator": "Exists", "effect": "NoExecute"}, False),
        ],
        ids=str,
    )
    def test_tolerations_are_matched_as_the_scheduler_does(
        self, toleration: dict[str, str], *, tolerated: bool
    ) -> None:
        text = misfit(node("a", taints=[taint("gpu", value="yes")]), tolerations=tolerates(**toleration))
        assert (text is None) is tolerated

    def test_every_taint_of_a_node_needs_a_toleration(self) -> None:
        two = node("a", taints=[taint("gpu"), taint("team", value="b")])
        text = misfit(two, tolerations=tolerates(key="gpu", operator="Exists"))
        assert text is not None
        assert "(not tolerated: team=b:NoSchedule), but got gpu:*." in text

    @pytest.mark.slow
    @given(
        nodes=st.lists(st.tuples(st.integers(1, 64_000), st.integers(1, 2**38)), min_size=1, max_size=6),
        cpu=st.integers(1, 64_000),
        memory=st.integers(1, 2**38),
    )
    def test_a_pod_is_refused_exactly_if_no_node_takes_it(
        self, nodes: list[tuple[int, int]], cpu: int, memory: int
    ) -> None:
        bodies = [node(f"n{number}", f"{has}m", str(size)) for number, (has, size) in enumerate(nodes)]
        fits = any(has >= cpu and size >= memory for has, size in nodes)
        assert (misfit(*bodies, cpu=Decimal(cpu) / 1000, memory=Decimal(memory)) is None) is fits


class TestTexts:
    @pytest.mark.parametrize(
        ("cores", "text"), [("2", "2"), ("0.5", "500m"), ("1.9", "1900m"), ("2.0", "2"), ("1E+2", "100")]
    )
    def test_cores_are_written_as_kubernetes_writes_them(self, cores: str, text: str) -> None:
        assert cpu_text(Decimal(cores)) == text

    @pytest.mark.parametrize(
        ("size", "text"), [(2 * GI, "2Gi"), (1536 * 2**20, "1536Mi"), (2 * 10**9, "2G"), (1_001, "1001"), (0, "0")]
    )
    def test_bytes_are_written_in_their_shortest_form(self, size: int, text: str) -> None:
        assert memory_text(Decimal(size)) == text

    @given(st.integers(0, 2**62))
    def test_texts_say_what_was_given(self, value: int) -> None:
        assert parse_quantity(memory_text(Decimal(value))) == value
        cores = Fraction(value, 1000)
        assert Fraction(parse_quantity(cpu_text(Decimal(value) / 1000))) == cores
        assert math.ceil(cores) >= 0
