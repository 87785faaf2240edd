"""The kernel settings that a kubelet changes for the whole machine, put back when it is gone."""

import json
from pathlib import Path

from .layout import RUN

# what the kubelet sets when it finds other values (its container manager's setupKernelTunables)
_SETTINGS = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)
_RECORD = RUN / "sysctls.json"


def remember() -> None:
    """Write down the settings as they are."""
    values = {name: (Path("/proc/sys") / name).read_text().strip() for name in _SETTINGS}
    _RECORD.write_text(json.dumps(values))


def restore() -> None:
    """Put them back as they were, if they were written down."""
    if _RECORD.exists():
        for name, value in json.loads(_RECORD.read_text()).items():
            setting = Path("/proc/sys") / name
            if setting.read_text().strip() != value:
                setting.write_text(value)
