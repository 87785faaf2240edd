"""scikit-learn's own tests of its search classes, from the installed wheel, with ours in their place."""

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.conftest import ROOT
from tests.engine.versions import SKLEARN
from tuningjob.manifest.wellknown import THREAD_CAPS

# What cannot pass, by name, with its reason. This list only gets shorter.
CANNOT_PASS: dict[str, str] = {}
# scikit-learn leaves these out itself: arrays of other libraries (torch, dpnp, ...) that are not installed.
LEFT_OUT = "is not installed: not checking array_ap"


@pytest.mark.slow
def test_every_test_of_scikit_learns_search_passes_with_ours(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    command = [sys.executable, "-m", "pytest", "--pyargs", "sklearn.model_selection.tests.test_search"]
    options = [
        "-p",
        "tests.engine.substitute",
        "-p",
        "no:cacheprovider",
        "-q",
        f"--junitxml={report}",
        "-c",
        "/dev/null",
    ]
    left = [option for name in CANNOT_PASS for option in ("--deselect", name)]
    ran = subprocess.run(
        [*command, *options, *left, f"--rootdir={tmp_path}"],
        cwd=tmp_path,
        env={
            "PYTHONPATH": str(ROOT),
            "PATH": "/usr/bin:/bin",
            "SCIPY_ARRAY_API": "1",
            **dict.fromkeys(THREAD_CAPS, "1"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-8_000:]
    cases = list(ET.parse(report).iter("testcase"))
    skipped = [case.find("skipped") for case in cases]
    reasons = {reason.get("message", "") for reason in skipped if reason is not None}
    assert all(LEFT_OUT in reason for reason in reasons), reasons
    assert len(cases) - len([reason for reason in skipped if reason is not None]) >= (140 if SKLEARN >= (1, 9) else 115)
