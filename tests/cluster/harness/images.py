"""Container images without a registry or a daemon: the project's own two, the base that they stand on, and pause.

An image's tag is a digest of all that goes into it: what is in the cache under that tag is what would be built, a changed
source gets a new tag, and a cluster that is left running takes up exactly the change.
"""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import binaries
from .layout import CACHE, ROOT
from .nodes import PAUSE_IMAGE
from .shell import download, run, succeeds

ARCHIVES = CACHE / "images"
KEEP_ARCHIVES = 3  # of each image

# debootstrap's own default mirror serves; a change of either line makes a new base
_SUITE = "bookworm"
_PACKAGES = "python3,python3-venv,ca-certificates"
_CERTIFICATES = "/etc/ssl/certs"
# what of this machine's pip settings a build needs behind a proxy or a mirror
_PIP_SETTINGS = ("PIP_INDEX_URL", "PIP_PROXY")


@dataclass(frozen=True)
class Image:
    """An image in an archive, ready to be given to the nodes."""

    reference: str
    archive: Path


def base_present() -> bool:
    """Whether the base image is in the cache."""
    return _base().archive.exists()


def ensure_base() -> Image:
    """Build the base image (a minute) unless the cache has it: Debian with Python, as small as debootstrap makes it."""
    image = _base()
    if image.archive.exists():
        return image
    with _Store.opened() as store, tempfile.TemporaryDirectory(prefix="build-", dir=CACHE) as scratch:
        root = Path(scratch) / "root"
        download("debootstrap", "--variant=minbase", f"--include={_PACKAGES}", _SUITE, root)
        for leftover in ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/locale", "usr/share/man"):
            shutil.rmtree(root / leftover, ignore_errors=True)
        container = store.buildah("from", "scratch").strip()
        store.buildah("add", "--quiet", container, root, "/")
        store.buildah("config", "--cmd", "python3", container)
        store.buildah("commit", "--quiet", "--rm", container, image.reference)
        store.export(image)
    return image


def ensure_pause() -> Image:
    """The image that holds a pod's namespaces open."""
    program = binaries.path("pause")
    image = Image(PAUSE_IMAGE, ARCHIVES / f"pause-{binaries.PAUSE}.tar")
    if not image.archive.exists():
        with _Store.opened() as store:
            container = store.buildah("from", "scratch").strip()
            store.buildah("add", "--quiet", container, program, "/pause")
            store.buildah("config", "--entrypoint", '["/pause"]', "--user", "65532:65532", container)
            store.buildah("commit", "--quiet", "--rm", container, image.reference)
            store.export(image)
    return image


def ensure_project() -> tuple[Image, Image]:
    """Build the operator's and the worker's image from the project's Dockerfile, unless the cache has them.

    Seconds when only sources changed: the layers below (the interpreter and the pinned packages) are kept.
    """
    base = ensure_base()
    with tempfile.TemporaryDirectory(prefix="build-", dir=CACHE) as scratch:
        # what is digested is what is built, even while somebody edits
        context = Path(scratch) / "context"
        _copy_context(context)
        targets = {target: _project_image(target, base=base, context=context) for target in ("operator", "worker")}
        if wanted := {target: image for target, image in targets.items() if not image.archive.exists()}:
            _build(wanted, base=base, context=context)
    for image in targets.values():
        image.archive.touch()  # the newest are kept
    _prune()
    return targets["operator"], targets["worker"]


def _base() -> Image:
    tag = hashlib.sha256(f"{_SUITE} {_PACKAGES}".encode()).hexdigest()[:12]
    return Image(f"localhost/tuningjob-base:{tag}", ARCHIVES / f"base-{tag}.tar")


def _copy_context(context: Path) -> None:
    context.mkdir()
    for name in ("Dockerfile", ".dockerignore", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy2(ROOT / name, context / name)
    for name in ("requirements", "worker", "operator"):
        shutil.copytree(ROOT / name, context / name, ignore=shutil.ignore_patterns("__pycache__", "*.pyc", ".*"))


def _project_image(target: str, *, base: Image, context: Path) -> Image:
    digest = hashlib.sha256(base.reference.encode())
    # the operator's lock is none of the worker's business; the worker's lies in the operator's image, too
    other = "" if target == "operator" else "requirements/operator.txt"
    for path in sorted(path for path in context.rglob("*") if path.is_file()):
        name = path.relative_to(context).as_posix()
        if name != other:
            content = path.read_bytes()
            digest.update(f"\0{name}\0{len(content)}\0".encode() + content)
    tag = digest.hexdigest()[:12]
    return Image(f"localhost/tuningjob-{target}:{tag}", ARCHIVES / f"{target}-{tag}.tar")


def _build(wanted: Mapping[str, Image], *, base: Image, context: Path) -> None:
    settings = {"BASE": base.reference, "PIP_CERT": f"{_CERTIFICATES}/ca-certificates.crt"}
    settings.update({name: os.environ[name] for name in _PIP_SETTINGS if os.environ.get(name)})
    options = (
        # chroot: works without the rights (and the cgroup) that a container of its own would need
        *("--isolation=chroot", "--network=host", "--layers", "--pull-never"),
        # this machine's authorities, which may include the one of a proxy
        f"--volume={_CERTIFICATES}:{_CERTIFICATES}:ro",
        *(f"--build-arg={name}={value}" for name, value in settings.items()),
    )
    with _Store.opened() as store:
        store.buildah("rm", "--all")  # working containers of a build that was killed
        if not store.has(base.reference):
            store.buildah("pull", "--quiet", f"oci-archive:{base.archive}")
        # first the stages that do not depend on the sources: their layers are what makes the next build quick ...
        for stage in (*(f"{target}-base" for target in wanted), "build-backend"):
            store.buildah("bud", *options, f"--target={stage}", context)
        before = store.unnamed()
        for target, image in wanted.items():
            store.buildah("bud", *options, f"--target={target}", f"--tag={image.reference}", context)
            store.export(image)
        # ... and what the sources alone made is of no use to it: every kept layer is compared with, one by one
        if made := store.unnamed() - before:
            store.buildah("rmi", "--force", *sorted(made))


def _prune() -> None:
    for target in ("operator", "worker"):
        newest_first = sorted(ARCHIVES.glob(f"{target}-*.tar"), key=lambda path: path.stat().st_mtime, reverse=True)
        for archive in newest_first[KEEP_ARCHIVES:]:
            archive.unlink()
            tag = archive.stem.removeprefix(f"{target}-")
            with _Store.opened() as store:
                if store.has(reference := f"localhost/tuningjob-{target}:{tag}"):
                    store.buildah("rmi", "--force", reference)


@dataclass(frozen=True)
class _Store:
    """Buildah's storage, in our cache and apart from whatever else this machine builds."""

    options: tuple[str, ...]

    @classmethod
    @contextlib.contextmanager
    def opened(cls) -> Iterator["_Store"]:
        CACHE.mkdir(parents=True, exist_ok=True)
        # what is mounted right now must not be believed after a reboot or a kill, so that part lives as long as we look
        with tempfile.TemporaryDirectory(prefix="tuningjob-buildah-") as running:
            yield cls((f"--root={CACHE}/buildah", f"--runroot={running}", "--storage-driver=overlay"))

    def buildah(self, *words: str | Path) -> str:
        return run("buildah", *self.options, *words)

    def has(self, reference: str) -> bool:
        return succeeds("buildah", *self.options, "inspect", "--type=image", reference)

    def unnamed(self) -> set[str]:
        """The intermediate images, by id."""
        listed: list[dict[str, Any]] = json.loads(self.buildah("images", "--all", "--json"))
        return {image["id"] for image in listed if not image.get("names")}

    def export(self, image: Image) -> None:
        """Write the image's archive, by a rename at the end: a half-written one is never taken for whole."""
        ARCHIVES.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="export-", dir=ARCHIVES) as scratch:
            unfinished = Path(scratch) / "image.tar"
            self.buildah(
                "push",
                "--quiet",
                "--disable-compression",  # it stays on this machine: to pack and to unpack it takes longer than to write it
                image.reference,
                f"oci-archive:{unfinished}:{image.reference}",
            )
            unfinished.replace(image.archive)
