"""``spec.pod``: what a manifest may ask of its pods besides resources and image."""

from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field, WithJsonSchema

from tuningjob.manifest.fields import (
    DNS_LABEL,
    LABEL_KEY,
    LABEL_VALUE,
    MAX_SECONDS,
    Checked,
    LabelKey,
    LabelValue,
    Memory,
    ObjectName,
    different,
    matching,
)
from tuningjob.manifest.model import Constraint, Model, cel_rules, exactly_one_of, must_be
from tuningjob.manifest.wellknown import ENV_COMPLETION_INDEX, ENV_JOBLIB_CPUS, THREAD_CAPS

# Where the operator mounts what a worker needs, and the variables that it sets: see the operator's job.py.
TAKEN_PATHS: Final = ("/data", "/tmp", "/var/run/tuningjob", "/run/tuningjob")  # noqa: S108
TAKEN_PREFIX: Final = "TUNINGJOB_"
TAKEN_ENV: Final = frozenset(
    {*THREAD_CAPS, ENV_JOBLIB_CPUS, ENV_COMPLETION_INDEX, "HOME", "JOBLIB_TEMP_FOLDER", "PYTHONHASHSEED"}
)

_EXISTS: Final = "has(self.operator) && self.operator == 'Exists'"


class Toleration(Model):
    """A core/v1 Toleration."""

    constraints: ClassVar[tuple[Constraint, ...]] = (
        Constraint(
            f"has(self.key) || {_EXISTS}",
            lambda it: it.key is not None or it.operator == "Exists",
            "with a key, or with the operator Exists",
            "It tolerates every taint.",
        ),
        Constraint(
            f"!has(self.value) || !({_EXISTS})",
            lambda it: it.value is None or it.operator != "Exists",
            "without a value beside the operator Exists",
            closer=lambda _: must_be(
                "without a value beside the operator Exists", "Leave it out, or write operator: Equal."
            ),
        ),
        Constraint(
            "!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
            lambda it: it.toleration_seconds is None or it.effect == "NoExecute",
            "with the effect NoExecute beside tolerationSeconds",
        ),
    )

    key: LabelKey | None = Field(default=None, description="The taint's key; without one every taint is meant.")
    operator: Literal["Exists", "Equal"] | None = Field(
        default=None, description="Exists: any value of the taint. Equal, the default: this value."
    )
    value: LabelValue | None = Field(default=None, description="The taint's value; none beside Exists.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        default=None, description="The taint's effect; without one every effect is meant."
    )
    toleration_seconds: Annotated[int, Field(ge=0, le=MAX_SECONDS)] | None = Field(
        default=None, description="For how long a taint that evicts (NoExecute) is tolerated; for ever by default."
    )


class TopologySpread(Model):
    """A core/v1 TopologySpreadConstraint over the pods of this search."""

    topology_key: LabelKey = Field(
        description="The label of nodes over whose values the pods are spread, such as topology.kubernetes.io/zone."
    )
    max_skew: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=1, description="By how many pods two of these values may differ."
    )
    when_unsatisfiable: Literal["DoNotSchedule", "ScheduleAnyway"] = Field(
        default="ScheduleAnyway", description="DoNotSchedule: a pod waits rather than to stand unevenly."
    )


class KeyOf(Model):
    """One key of a Secret or a ConfigMap."""

    name: ObjectName = Field(description="The object's name, in the TuningJob's namespace.")
    key: Annotated[
        str,
        Field(max_length=253),
        matching(
            r"^([-_a-zA-Z0-9]|\.[-_a-zA-Z0-9])[-._a-zA-Z0-9]*$",
            "a key: letters, digits, -, _ and ., not beginning with ..",
        ),
    ] = Field(description="The key in it.")


def _own_variable(name: str) -> str:
    if name.startswith(TAKEN_PREFIX) or name in TAKEN_ENV:
        raise must_be("a variable of your own", f"{name} is the operator's to set.")
    return name


_OWN_VARIABLE: Final = Checked(
    _own_variable,
    cel_rules(
        (
            f"!self.startsWith('{TAKEN_PREFIX}') && !(self in {sorted(TAKEN_ENV)})",
            f"must be a variable of your own: {TAKEN_PREFIX}* and {', '.join(sorted(TAKEN_ENV))} are the operator's to set",
        )
    ),
)


class EnvVar(Model):
    """A variable of the worker's environment: a value, or a key of a Secret or a ConfigMap."""

    constraints: ClassVar[tuple[Constraint, ...]] = (exactly_one_of("value", "secret", "config_map"),)

    name: Annotated[
        str,
        Field(max_length=253),
        matching(r"^[A-Za-z_][A-Za-z0-9_]*$", "a variable's name: letters, digits and _"),
        _OWN_VARIABLE,
    ] = Field(description="Its name; none of those that the operator sets.")
    value: Annotated[str, Field(max_length=4_096)] | None = Field(default=None, description="Its value, as it stands.")
    secret: KeyOf | None = Field(default=None, description="The key of a Secret that holds its value.")
    config_map: KeyOf | None = Field(default=None, description="The key of a ConfigMap that holds its value.")


_MOUNT_PATH: Final = "an absolute path of letters, digits, -, _ and ., without . and .. as parts"
_FREE_PATH: Final = (
    f"a path beside {', '.join(TAKEN_PATHS[:-1])} and {TAKEN_PATHS[-1]}: not one of them, above or below it"
)


def _free_path(path: str) -> str:
    if any(f"{path}/".startswith(f"{taken}/") or taken.startswith(f"{path}/") for taken in TAKEN_PATHS):
        raise must_be(_FREE_PATH)
    return path


_FREE: Final = Checked(
    _free_path,
    cel_rules(
        (
            f"!{list(TAKEN_PATHS)}.exists(taken, (self + '/').startsWith(taken + '/') || taken.startsWith(self + '/'))",
            f"must be {_FREE_PATH}",
        )
    ),
)


class Volume(Model):
    """A volume of the worker's: a Secret, a ConfigMap or a claim, read-only unless it says otherwise, or an emptyDir."""

    constraints: ClassVar[tuple[Constraint, ...]] = (
        exactly_one_of("secret", "config_map", "persistent_volume_claim", "empty_dir"),
        Constraint(
            "!has(self.readOnly) || has(self.persistentVolumeClaim)",
            lambda it: it.read_only is None or it.persistent_volume_claim is not None,
            "without readOnly where there is no persistentVolumeClaim",
            closer=lambda _: must_be(
                "without readOnly where there is no persistentVolumeClaim",
                "Secrets and ConfigMaps are always read-only, an emptyDir never is.",
            ),
        ),
    )

    name: Annotated[str, Field(max_length=50), matching(DNS_LABEL, "a name of lower-case letters, digits and -")] = (
        Field(description="Its name; another one for each.")
    )
    mount_path: Annotated[
        str,
        Field(max_length=253),
        matching(r"^(/(\.{0,2}[-A-Za-z0-9_][-A-Za-z0-9_.]*|\.{3,}[-A-Za-z0-9_.]*))+$", _MOUNT_PATH),
        _FREE,
    ] = Field(description="Where the worker finds it; another path for each.")
    secret: ObjectName | None = Field(default=None, description="A Secret, a file for each key.")
    config_map: ObjectName | None = Field(default=None, description="A ConfigMap, a file for each key.")
    persistent_volume_claim: ObjectName | None = Field(default=None, description="A PersistentVolumeClaim.")
    empty_dir: Memory | None = Field(
        default=None, description="An empty directory of the pod's own, on its node's disk: its size, such as 1Gi."
    )
    read_only: bool | None = Field(
        default=None, description="Of a persistentVolumeClaim alone: true by default. An emptyDir is always writable."
    )

    @property
    def is_writable(self) -> bool:
        """Whether the worker may write to the volume."""
        return self.empty_dir is not None or self.read_only is False


class PodOptions(Model):
    """What a manifest may ask of its pods besides resources and image. Anything that is not here cannot be expressed."""

    priority_class_name: ObjectName | None = Field(default=None, description="The PriorityClass of the pods.")
    service_account_name: ObjectName | None = Field(
        default=None, description="For a cloud's workload identity; its Kubernetes token is never mounted."
    )
    node_selector: (
        Annotated[
            dict[LabelKey, LabelValue],
            Field(max_length=32),
            WithJsonSchema(
                {
                    "type": "object",
                    "maxProperties": 32,
                    "additionalProperties": {"type": "string", "maxLength": 63, "pattern": LABEL_VALUE},
                    **cel_rules(
                        (
                            f"self.all(key, key.size() <= 253 && key.matches('{LABEL_KEY}'))".replace("\\", "\\\\"),
                            "must have keys of labels, such as disk or example.com/disk",
                        )
                    ),
                }
            ),
        ]
        | None
    ) = Field(default=None, description="Labels that a node must have.")
    tolerations: Annotated[list[Toleration], Field(max_length=32)] | None = Field(
        default=None, description="Taints of nodes that the pods tolerate."
    )
    topology_spread: (
        Annotated[
            list[TopologySpread],
            Field(max_length=8),
            different(
                "constraints that differ in topologyKey or whenUnsatisfiable", "topology_key", "when_unsatisfiable"
            ),
        ]
        | None
    ) = Field(
        default=None,
        description="How the pods are spread; over nodes, as far as that goes, by default. An empty list: not at all.",
    )
    image_pull_secrets: Annotated[list[ObjectName], Field(max_length=8), different("names")] | None = Field(
        default=None, description="Names of the Secrets with which the image is pulled."
    )
    env: Annotated[list[EnvVar], Field(max_length=64), different("variables with different names", "name")] | None = (
        Field(default=None, description="Variables of the worker's environment.")
    )
    volumes: (
        Annotated[
            list[Volume],
            Field(max_length=16),
            different("volumes with different names and mountPaths", "name"),
            different("volumes with different names and mountPaths", "mount_path"),
        ]
        | None
    ) = Field(default=None, description="Volumes of the worker's, each with the path where it is mounted.")
