"""The manifest: its models, its literals, its grid. Pure and light: no IO but reading a file, no numpy, no scikit-learn."""

from tuningjob.errors import ManifestRefused, Problem
from tuningjob.manifest.loading import dump_spec, load, load_file, load_spec
from tuningjob.manifest.models import TuningJob, TuningJobSpec

__all__ = [
    "ManifestRefused",
    "Problem",
    "TuningJob",
    "TuningJobSpec",
    "dump_spec",
    "load",
    "load_file",
    "load_spec",
]
