"""``spec.code``: where pods find the user's own modules. On a laptop they lie beside the manifest."""

from typing import ClassVar, Final

from pydantic import Field

from tuningjob.manifest.fields import ObjectName
from tuningjob.manifest.model import Constraint, Model, exactly_one_of
from tuningjob.manifest.urls import FileUrl, Sha256

CODE_PATH: Final = "/code"  # where the operator mounts a ConfigMap or a claim


class Code(Model):
    """Modules that pods import, from the folder at the top: of a ConfigMap, of a claim, or of an archive, which is behind a URL
    or was sent from Python.
    """

    constraints: ClassVar[tuple[Constraint, ...]] = (
        exactly_one_of("config_map", "persistent_volume_claim", "url", "uploaded"),
        Constraint(
            "has(self.url) == has(self.sha256)",
            lambda code: (code.url is None) == (code.sha256 is None),
            "with a sha256 beside a url, and only there",
            "sha256sum says it: what pods run must be what was meant.",
        ),
    )

    config_map: ObjectName | None = Field(default=None, description="A ConfigMap, a module for each key: mine.py.")
    persistent_volume_claim: ObjectName | None = Field(
        default=None, description="A claim that has the modules and packages in its topmost folder."
    )
    url: FileUrl | None = Field(
        default=None,
        description="A wheel, a zip or a tar: https://, s3://, gs:// or abfs://. It is unpacked in the pod alone.",
    )
    sha256: Sha256 | None = Field(default=None, description="The SHA-256 of that archive.")
    uploaded: Sha256 | None = Field(
        default=None,
        description="The SHA-256 of an archive that a Python process has sent to the cluster (tuningjob.Cluster).",
    )
