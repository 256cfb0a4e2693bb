"""Certificates that the tests make, with the program ``openssl``."""

import ssl
import subprocess
from pathlib import Path

SECTIONS = """
[req]
distinguished_name = name
[name]
[authority]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign
subjectKeyIdentifier = hash
[server]
subjectAltName = DNS:localhost, IP:127.0.0.1
authorityKeyIdentifier = keyid
[client]
extendedKeyUsage = clientAuth
authorityKeyIdentifier = keyid
"""
NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]


class Certificates:
    """A folder with an authority, and a certificate and key for a server and for a client."""

    def __init__(self, folder: Path) -> None:
        """Make them."""
        self.folder = folder
        (folder / "sections").write_text(SECTIONS)
        request = ["req", "-config", "sections", *NEW_KEY]
        for authority in ("authority", "another-authority"):
            own = ["-x509", "-extensions", "authority", "-subj", f"/CN={authority}"]
            self.openssl(*request, *own, "-keyout", f"{authority}.key", "-out", f"{authority}.pem")
        for name in ("server", "client"):
            out = ["-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.request"]
            self.openssl(*request, "-new", *out)
            signed_by = ["-CA", "authority.pem", "-CAkey", "authority.key", "-set_serial", "1"]
            extensions = ["-extfile", "sections", "-extensions", name]
            sign = ["x509", "-req", "-in", f"{name}.request", *signed_by, *extensions]
            self.openssl(*sign, "-out", f"{name}.pem")

    def openssl(self, *arguments: str) -> None:
        """Run the program in the folder."""
        subprocess.run(["openssl", *arguments], cwd=self.folder, check=True, capture_output=True)

    def path(self, name: str) -> str:
        """Return the path of a file."""
        return str(self.folder / name)

    def context(self, *, of_clients: bool) -> ssl.SSLContext:
        """Return what a server of HTTP/2 needs for TLS, and for mutual TLS if it asks clients."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.set_alpn_protocols(["h2"])
        context.load_cert_chain(self.path("server.pem"), self.path("server.key"))
        if of_clients:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.path("authority.pem"))
        return context
