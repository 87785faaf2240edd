"""What the chart makes, taken apart."""

from tests.chart.conftest import Manifest
from tuningjob_operator.settings import Settings, read_settings


def of_kind(objects: list[Manifest], kind: str) -> list[Manifest]:
    """All of a kind."""
    return [found for found in objects if found["kind"] == kind]


def the(objects: list[Manifest], kind: str) -> Manifest:
    """The one of a kind."""
    (found,) = of_kind(objects, kind)
    return found


def pod_of(objects: list[Manifest]) -> Manifest:
    """The operator's pod."""
    pod: Manifest = the(objects, "Deployment")["spec"]["template"]
    return pod


def containers_of(objects: list[Manifest]) -> dict[str, Manifest]:
    """Its containers, by name."""
    return {container["name"]: container for container in pod_of(objects)["spec"]["containers"]}


def mounts_of(container: Manifest) -> dict[str, str]:
    """The name of what is mounted, by path."""
    return {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}


def volumes_of(objects: list[Manifest]) -> dict[str, Manifest]:
    """The sources of the operator's pod's volumes, by name."""
    return {
        volume["name"]: {key: value for key, value in volume.items() if key != "name"}
        for volume in pod_of(objects)["spec"]["volumes"]
    }


def settings_of(container: Manifest) -> Settings:
    """As the operator itself reads the environment of a container."""
    return read_settings({variable["name"]: variable.get("value", "") for variable in container["env"]})
