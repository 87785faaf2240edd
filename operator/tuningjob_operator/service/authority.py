"""The authority that the chart has made for one release, and the certificates that it signs for the results service.

``cryptography`` makes them, because the standard library can only use certificates; the bucket's client brings it anyway.
"""

import datetime as dt
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

# A node's clock may be behind ours.
_SLACK = dt.timedelta(hours=1)


@dataclass(frozen=True)
class Issued:
    """A certificate and its key as PEM, and when it expires."""

    pem: bytes
    ends: dt.datetime


@dataclass(frozen=True)
class Authority:
    """A certificate that signs others, and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read ``ca.crt`` and ``ca.key`` of a folder, where the chart's Secret is mounted. Raises ValueError."""
        try:
            certificate = x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes())
            key = load_pem_private_key((folder / "ca.key").read_bytes(), password=None)
        except (OSError, ValueError, TypeError) as error:
            raise ValueError(f"{folder}: must hold ca.crt and ca.key as PEM, but got: {error}") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
            kind = type(key).__name__
            raise ValueError(f"{folder}/ca.key: must be an RSA or an EC key, but got {kind}.")  # noqa: TRY004  a file's
        if key.public_key() != certificate.public_key():
            raise ValueError(
                f"{folder}: must hold a ca.crt and a ca.key that belong together, but got two that do not."
            )
        return cls(certificate, key)

    @property
    def ends(self) -> dt.datetime:
        """The last moment at which anything that it has signed is good."""
        return self.certificate.not_valid_after_utc

    def issue(self, names: Sequence[str], *, now: dt.datetime, life: dt.timedelta) -> Issued:
        """A new key, and a certificate for a server of these DNS names and addresses.

        Raises ValueError if the authority has ended.
        """
        ends = min(now + life, self.ends)
        if ends <= now:
            raise ValueError(f"The authority must not have ended, but it did at {self.ends.isoformat()}.")
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tuningjob results")]))
            .issuer_name(self.certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(max(now - _SLACK, self.certificate.not_valid_before_utc))
            .not_valid_after(ends)
            .add_extension(x509.SubjectAlternativeName([_name(name) for name in names]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(_DIGITAL_SIGNATURE, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(self._key_identifier(), critical=False)
        )
        certificate = builder.sign(self.key, hashes.SHA256())
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return Issued(certificate.public_bytes(Encoding.PEM) + secret, certificate.not_valid_after_utc)

    def _key_identifier(self) -> x509.AuthorityKeyIdentifier:
        """The identifier that the authority gives its own key, which need not be the usual digest."""
        try:
            own = self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        except x509.ExtensionNotFound:
            return x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)


_DIGITAL_SIGNATURE = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)


def _name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
