"""Certificates of an authority that a test makes for itself, by openssl."""

import subprocess
from pathlib import Path
from typing import Final

_KEY: Final = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def make_authority(folder: Path, *names: str) -> None:
    """ca.key and ca.crt; what it signs later is for these names, such as ``IP:127.0.0.1``."""
    folder.mkdir(exist_ok=True)
    words = ("-days", "2", "-addext", "keyUsage=critical,keyCertSign,cRLSign", "-keyout", "ca.key", "-out", "ca.crt")
    _openssl(folder, "req", "-x509", *_KEY, "-subj", "/CN=test", *words)
    (folder / "san").write_text(f"subjectAltName={','.join(names)}\n")


def make_certificate(folder: Path, name: str = "tls") -> None:
    """A new pair, signed by the folder's authority: ``<name>.key`` and ``<name>.crt``."""
    _openssl(folder, "req", *_KEY, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
    words = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "san")
    _openssl(folder, "x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.crt", *words)


def _openssl(folder: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True, timeout=60)
