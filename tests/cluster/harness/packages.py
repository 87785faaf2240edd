"""What the machine itself must bring: Debian packages, rights, a kernel. Asked before anything is started."""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from . import binaries, cgroups, images
from .shell import NotReady, download

PACKAGES = {
    # package: a file or a command by which to know that it is there
    "containerd": "containerd",
    "runc": "runc",
    "containernetworking-plugins": "/usr/lib/cni/bridge",
    "iptables": "iptables",
    "ipset": "ipset",
    "conntrack": "conntrack",
    "iproute2": "ip",
    "procps": "sysctl",
    "util-linux": "nsenter",
    "openssl": "openssl",
    "ca-certificates": "/etc/ssl/certs/ca-certificates.crt",
    "buildah": "buildah",
    "debootstrap": "debootstrap",
    # not for the cluster: the server of tests/servers
    "postgresql-15": "/usr/lib/postgresql/15/bin/postgres",
    # nor this: the browser of tests/report
    "chromium": "chromium",
    # nor these: Azurite, of tests/servers, is a program of Node's
    "nodejs": "node",
    "npm": "npm",
    "fonts-dejavu-core": "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf",
}
# without a word to the contrary there, the package makes a cluster of databases of its own, and starts it
_NO_DATABASES = Path("/etc/postgresql-common/createcluster.conf")
# CAP_NET_ADMIN and CAP_SYS_ADMIN: root in an ordinary container has neither
_CAPABILITIES = {12: "CAP_NET_ADMIN", 21: "CAP_SYS_ADMIN"}


def install_missing(say: Callable[[str], None]) -> None:
    """Install the Debian packages that are not there; raise NotReady where that is no matter of packages."""
    if fault := _machine_fault():
        raise NotReady(fault)
    wanted = missing()
    if not wanted:
        return
    if not shutil.which("apt-get"):
        raise NotReady(f"these Debian packages are missing, and there is no apt-get: {' '.join(wanted)}")
    say(f"installing {' '.join(wanted)}")
    if "postgresql-15" in wanted and not _NO_DATABASES.exists():
        _NO_DATABASES.parent.mkdir(exist_ok=True)
        _NO_DATABASES.write_text("create_main_cluster = false\n")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    download("apt-get", "update", "-q", env=quiet)
    download("apt-get", "install", "-q", "--yes", "--no-install-recommends", *wanted, env=quiet)


def missing() -> list[str]:
    """The Debian packages that are not there."""
    # /usr/sbin is not in everybody's PATH
    where = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
    return [package for package, sign in PACKAGES.items() if not shutil.which(sign, path=where, mode=os.F_OK)]


def require() -> None:
    """Raise NotReady, with one line that says what is missing and how to get it, if the cluster cannot run here."""
    if fault := _machine_fault():
        raise NotReady(fault)
    lacking = []
    if packages := missing():
        lacking.append(f"Debian packages {', '.join(packages)}")
    if programs := binaries.missing():
        lacking.append(f"programs {', '.join(programs)}")
    if not images.base_present():
        lacking.append("the base image")
    if lacking:
        raise NotReady(f"not yet here: {'; '.join(lacking)}. Get them with: make cluster-deps")


def _machine_fault() -> str | None:
    if not sys.platform.startswith("linux"):
        return f"the test cluster needs Linux, but this is {sys.platform}"
    if os.geteuid() != 0:
        return "the test cluster needs root (network namespaces, containerd): run this with sudo"
    effective = next(
        int(line.split()[1], 16)
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("CapEff")
    )
    if lacking := [name for bit, name in _CAPABILITIES.items() if not effective >> bit & 1]:
        return f"the test cluster needs {' and '.join(lacking)}: run it on a machine, or in a privileged container"
    if controllers := cgroups.missing_controllers():
        return (
            f"the test cluster needs the cgroup controllers {', '.join(controllers)}, which this kernel does not offer"
        )
    return None
