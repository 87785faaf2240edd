"""Upstream's programs, built from their Go modules into a cache keyed by version.

Built, not downloaded: the module proxy's checksums vouch for the source, and no binary is ever committed. Each program is
built on its own and appears in the cache by a rename, so a build that was cut short is never taken for a whole one, and a
new version of one rebuilds none of the others.
"""

import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .layout import CACHE
from .shell import NotReady, download, run

# 1.34: the last minor whose kubelet still starts on cgroup v1 without a switch
KUBERNETES = "1.34.4"
ETCD = "3.6.16"
COREDNS = "1.15.0"
HELM = "4.3.1"
VERSITYGW = "1.8.0"  # the S3 server of tests/servers, and its Google Cloud Storage:
FAKE_GCS_SERVER = "1.56.1"
KWOK = "0.8.0"  # nodes and pods that are only said to be there, for tests/servers/kwok.py
KUEUE = "0.15.2"  # made for Kubernetes 1.34: its k8s.io modules are v0.34
KUBE_ROUTER = "2.1.0"  # its firewall alone, which enforces NetworkPolicies
PAUSE = "1"

GO_AT_LEAST = (1, 26)  # what helm's go.mod asks for, the highest of them


@dataclass(frozen=True)
class Program:
    """One program: where it belongs in the cache, and what builds it there."""

    name: str
    project: str
    version: str
    build: Callable[["Program", Path, Path], None]
    """Called with the program, an empty folder to work in, and the file to make."""

    @property
    def path(self) -> Path:
        return CACHE / f"{self.project}-{self.version}" / self.name


def path(name: str) -> Path:
    """Where the program of this name is, or will be."""
    return next(program.path for program in PROGRAMS if program.name == name)


def missing() -> list[str]:
    """The names of the programs that are not in the cache."""
    return [program.name for program in PROGRAMS if not program.path.exists()]


def build_missing(say: Callable[[str], None]) -> None:
    """Build what the cache lacks; minutes the first time, seconds with Go's own build cache warm."""
    wanted = [program for program in PROGRAMS if not program.path.exists()]
    if wanted:
        _require_go()
    for program in wanted:
        say(f"building {program.name} {program.version}")
        program.path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="build-", dir=CACHE) as scratch:
            result = Path(scratch) / "result" / program.name
            workspace = Path(scratch) / "workspace"
            result.parent.mkdir()
            workspace.mkdir()
            program.build(program, workspace, result)
            result.replace(program.path)


def _require_go() -> None:
    if not shutil.which("go"):
        raise NotReady(
            f"go is not installed; Go {GO_AT_LEAST[0]}.{GO_AT_LEAST[1]} or newer is needed: https://go.dev/doc/install"
        )
    version = run("go", "env", "GOVERSION").strip()
    numbers = re.match(r"go(\d+)\.(\d+)", version)
    if numbers and (int(numbers[1]), int(numbers[2])) < GO_AT_LEAST:
        raise NotReady(f"Go {GO_AT_LEAST[0]}.{GO_AT_LEAST[1]} or newer is needed, but this is {version}")


def _go(*words: str | Path, cwd: Path) -> str:
    # CGO off: the pause program must be static, and the rest then needs no C compiler
    return download("go", *words, cwd=cwd, env={**os.environ, "CGO_ENABLED": "0"}, timeout_seconds=3600)


def _compile(package: str, *, workspace: Path, result: Path, flags: str = "") -> None:
    _go("build", "-trimpath", "-ldflags", f"-s -w {flags}".strip(), "-o", result, package, cwd=workspace)


def _compile_command(program: Program, module: str, *, workspace: Path, result: Path, flags: str = "") -> None:
    """Build the command of a module that has the program's name, from a module of our own that wants nothing else."""
    package = f"{module}/cmd/{program.name}"
    (workspace / "go.mod").write_text(
        f"module tuningjob.dev/{program.name}\n\ngo {GO_AT_LEAST[0]}.{GO_AT_LEAST[1]}\n\nrequire {module} v{program.version}\n"
    )
    (workspace / "tools.go").write_text(f'//go:build tools\n\npackage tools\n\nimport _ "{package}"\n')
    _go("mod", "tidy", cwd=workspace)
    _compile(package, workspace=workspace, result=result, flags=flags)


def _kubernetes(program: Program, workspace: Path, result: Path) -> None:
    """Build one command of k8s.io/kubernetes.

    Its go.mod names the staging modules v0.0.0 and replaces them by folders that the module, as the proxy serves it,
    does not carry: pin each to its published v0.<minor>.<patch>.
    """
    module = f"k8s.io/kubernetes@v{program.version}"
    go_mod = Path(json.loads(_go("mod", "download", "-json", module, cwd=workspace))["GoMod"])
    staging = sorted(set(re.findall(r"^\s*(k8s\.io/[a-z-]+) v0\.0\.0(?:\s|$)", go_mod.read_text(), re.MULTILINE)))
    major, minor, patch = program.version.split(".")
    package = f"k8s.io/kubernetes/cmd/{program.name}"
    replaces = "\n".join(f"\t{name} => {name} v0.{minor}.{patch}" for name in staging)
    (workspace / "go.mod").write_text(
        f"module tuningjob.dev/cluster\n\ngo {GO_AT_LEAST[0]}.{GO_AT_LEAST[1]}\n\n"
        f"require k8s.io/kubernetes v{program.version}\n\nreplace (\n{replaces}\n)\n"
    )
    (workspace / "tools.go").write_text(f'//go:build tools\n\npackage tools\n\nimport _ "{package}"\n')
    _go("mod", "tidy", cwd=workspace)
    # without these the server reports v0.0.0, and kubectl, helm and the kubelet misjudge the skew between them
    version = "k8s.io/component-base/version"
    client = "k8s.io/client-go/pkg/version"
    known = {"gitVersion": f"v{program.version}", "gitMajor": major, "gitMinor": minor}
    flags = " ".join(f"-X {where}.{key}={value}" for where in (version, client) for key, value in known.items())
    _compile(package, workspace=workspace, result=result, flags=flags)


def _etcd(program: Program, workspace: Path, result: Path) -> None:
    """Build etcd behind a main of our own: `go install` refuses etcd's, because its go.mod has replace lines."""
    module = "go.etcd.io/etcd/server/v3"
    (workspace / "main.go").write_text(
        f'package main\n\nimport (\n\t"os"\n\n\t"{module}/etcdmain"\n)\n\nfunc main() {{ etcdmain.Main(os.Args) }}\n'
    )
    _go("mod", "init", "tuningjob.dev/etcd", cwd=workspace)
    _go("get", f"{module}@v{program.version}", cwd=workspace)
    _go("mod", "tidy", cwd=workspace)
    _compile(".", workspace=workspace, result=result)


def _installable(package: str, *, version_variable: str | None = None) -> Callable[[Program, Path, Path], None]:
    def build(program: Program, workspace: Path, result: Path) -> None:
        stamp = f" -X {version_variable}=v{program.version}" if version_variable else ""
        download(
            *("go", "install", "-trimpath", "-ldflags", f"-s -w{stamp}", f"{package}@v{program.version}"),
            cwd=workspace,
            env={**os.environ, "CGO_ENABLED": "0", "GOBIN": str(result.parent)},
            timeout_seconds=3600,
        )

    return build


_KWOK_MODULE = "sigs.k8s.io/kwok"
# How kwok's nodes become ready and its pods run and go. When a pod ends is the test's to say, so its stage for that stays out.
_KWOK_STAGES = (
    "node/fast/node-initialize.yaml",
    "node/heartbeat-with-lease/node-heartbeat-with-lease.yaml",
    "pod/fast/pod-ready.yaml",
    "pod/fast/pod-delete.yaml",
)


def _kwok_stages(program: Program, workspace: Path, result: Path) -> None:
    """Take the stages out of kwok's own module: the program has none compiled in."""
    module = json.loads(_go("mod", "download", "-json", f"{_KWOK_MODULE}@v{program.version}", cwd=workspace))
    folder = Path(module["Dir"]) / "kustomize" / "stage"
    result.write_text("---\n".join((folder / stage).read_text() for stage in _KWOK_STAGES))


_KUEUE_MODULE = "sigs.k8s.io/kueue"
# What Kueue brings besides its program, as its own config/default has it; nothing of it runs in a pod here, so no more than this.
_KUEUE_PARTS = ("crd", "webhook", "internalcert")


def _kueue(program: Program, workspace: Path, result: Path) -> None:
    """Build Kueue from a module of our own: `go install` would ask for the list of its versions, which not every proxy has."""
    version = f"-X {_KUEUE_MODULE}/pkg/version.GitVersion=v{program.version}"
    _compile_command(program, _KUEUE_MODULE, workspace=workspace, result=result, flags=version)


def _kueue_manifests(program: Program, workspace: Path, result: Path) -> None:
    """Take the CRDs and webhooks out of Kueue's own module, with the names that it looks for: kustomize gives them those."""
    module = json.loads(_go("mod", "download", "-json", f"{_KUEUE_MODULE}@v{program.version}", cwd=workspace))
    components = Path(module["Dir"]) / "config" / "components"
    for part in _KUEUE_PARTS:
        # kustomize takes folders by relative paths only
        shutil.copytree(components / part, workspace / part)
    kustomization = {"namespace": "kueue-system", "namePrefix": "kueue-", "resources": _KUEUE_PARTS}
    (workspace / "kustomization.yaml").write_text(json.dumps(kustomization))  # JSON is YAML
    result.write_text(run(path("kubectl"), "kustomize", workspace))


_KUBE_ROUTER_MODULE = "github.com/cloudnativelabs/kube-router/v2"
# Of this version the public checksum database knows nothing; everything that it needs in its turn is verified there.
_KUBE_ROUTER_SUMS = (
    "h1:xWsptKtmZ44L+NjwFKoFAFlVdxCz8fka9A/eYJe95Ok=",
    "h1:JU/k2Qqcph0myF1cRDLidz1SZdoSrPczuYcGxYRSP0A=",  # of its go.mod
)


def _kube_router(program: Program, workspace: Path, result: Path) -> None:
    """Build kube-router from a module of our own, for the checksums that it must have."""
    versioned, (whole, go_mod) = f"{_KUBE_ROUTER_MODULE} v{program.version}", _KUBE_ROUTER_SUMS
    (workspace / "go.sum").write_text(f"{versioned} {whole}\n{versioned}/go.mod {go_mod}\n")
    _compile_command(program, _KUBE_ROUTER_MODULE, workspace=workspace, result=result)


def _pause(_: Program, workspace: Path, result: Path) -> None:
    """Build what holds a pod's namespaces open: it sleeps until it is told to end, and reaps what the pod orphans."""
    (workspace / "go.mod").write_text(f"module tuningjob.dev/pause\n\ngo {GO_AT_LEAST[0]}.{GO_AT_LEAST[1]}\n")
    (workspace / "main.go").write_text(
        """package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGCHLD)
	for s := range signals {
		if s != syscall.SIGCHLD {
			return
		}
		for {
			if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 || err != nil {
				break
			}
		}
	}
}
"""
    )
    _compile(".", workspace=workspace, result=result)


_HELM = _installable("helm.sh/helm/v4/cmd/helm", version_variable="helm.sh/helm/v4/internal/version.version")

PROGRAMS = (
    *(
        Program(name, "kubernetes", KUBERNETES, _kubernetes)
        for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl")
    ),
    Program("etcd", "etcd", ETCD, _etcd),
    Program("coredns", "coredns", COREDNS, _installable("github.com/coredns/coredns")),
    Program("helm", "helm", HELM, _HELM),
    Program("versitygw", "versitygw", VERSITYGW, _installable("github.com/versity/versitygw/cmd/versitygw")),
    Program(
        "fake-gcs-server",
        "fake-gcs-server",
        FAKE_GCS_SERVER,
        _installable("github.com/fsouza/fake-gcs-server"),
    ),
    Program("kwok", "kwok", KWOK, _installable(f"{_KWOK_MODULE}/cmd/kwok")),
    Program("kwok-stages.yaml", "kwok", KWOK, _kwok_stages),
    Program("kueue", "kueue", KUEUE, _kueue),
    # after kubectl, which brings kustomize
    Program("kueue.yaml", "kueue", KUEUE, _kueue_manifests),
    Program("kube-router", "kube-router", KUBE_ROUTER, _kube_router),
    Program("pause", "pause", PAUSE, _pause),
)
