"""A certificate authority and a server certificate of its own, for tests only and valid from 2020 to 2120.

Made once with openssl (EC P-256, SHA-256): a self-signed CA, and a certificate for ``localhost``, ``service.test`` and
``127.0.0.1`` signed with it. The CA's key was thrown away; the server's key below protects nothing but these tests.
"""

from __future__ import annotations

import ssl
from pathlib import Path

AUTHORITY = """\
-----BEGIN CERTIFICATE-----
MIIBiDCCAS6gAwIBAgIUI7typLEjTy/w0HZRgWxRrKDp7i0wCgYIKoZIzj0EAwIw
ITEfMB0GA1UEAwwWYnVsa2RlbCB0ZXN0IGF1dGhvcml0eTAgFw0yMDAxMDEwMDAw
MDBaGA8yMTIwMDEwMTAwMDAwMFowITEfMB0GA1UEAwwWYnVsa2RlbCB0ZXN0IGF1
dGhvcml0eTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABJKx9TM5YGkmRysNeevv
QxJ2Uc3RG8raxOW71tuY2ywSbJxgnHZ/FDD9kyYmd7W0Jz38yd6Q55PktPeJvmGa
pF+jQjBAMA8GA1UdEwEB/wQFMAMBAf8wDgYDVR0PAQH/BAQDAgEGMB0GA1UdDgQW
BBQwkLjDrtgmo1NdD0u7svC+HmuBNzAKBggqhkjOPQQDAgNIADBFAiBvMMBiMmnT
62WTlQOt8zB2+FOYD978/SxietdOA7tiZQIhAOfTQLApUuJDZBhJcziUEQDF/1sE
E+r7bUAs1GNZlm1h
-----END CERTIFICATE-----
"""

_SERVER = """\
-----BEGIN CERTIFICATE-----
MIIB3TCCAYOgAwIBAgIUXWl4Dw9jWQfTsIqPF1lk4s8gb9owCgYIKoZIzj0EAwIw
ITEfMB0GA1UEAwwWYnVsa2RlbCB0ZXN0IGF1dGhvcml0eTAgFw0yMDAxMDEwMDAw
MDBaGA8yMTIwMDEwMTAwMDAwMFowFzEVMBMGA1UEAwwMc2VydmljZS50ZXN0MFkw
EwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAExVQDrfZvGaR6gerD/BgRprNZEOtLzyki
+dAgGXsQyCAUru9W7etDIH5Yq9zGX57D2jGW2Kv+WXZ3L6CddFZqHqOBoDCBnTAM
BgNVHRMBAf8EAjAAMA4GA1UdDwEB/wQEAwIHgDATBgNVHSUEDDAKBggrBgEFBQcD
ATAdBgNVHQ4EFgQUn7WoURWleCPNFR12/NXXmv6naV0wHwYDVR0jBBgwFoAUMJC4
w67YJqNTXQ9Lu7Lwvh5rgTcwKAYDVR0RBCEwH4IJbG9jYWxob3N0ggxzZXJ2aWNl
LnRlc3SHBH8AAAEwCgYIKoZIzj0EAwIDSAAwRQIgSeKAeMIZYw4LzsJ/DFOz3GGl
bXeCeyY+O7n411wRUy8CIQCvNxqV5F9dxYgkZoIgkvIU5O4y7Y5Vy5OkxVyp8XFx
YQ==
-----END CERTIFICATE-----
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg4ExewpYZ11XF55jB
w4Lo2i+ztuud+b5kyTalSFSnheqhRANCAATFVAOt9m8ZpHqB6sP8GBGms1kQ60vP
KSL50CAZexDIIBSu71bt60Mgflir3MZfnsPaMZbYq/5ZdncvoJ10Vmoe
-----END PRIVATE KEY-----
"""


def authority_file(folder: Path) -> Path:
    """The authority as a PEM file in ``folder``."""
    path = folder / "authority.pem"
    path.write_text(AUTHORITY, encoding="ascii")
    return path


def server_context(folder: Path) -> ssl.SSLContext:
    """What a server needs to prove that it is ``localhost``, ``service.test`` or ``127.0.0.1``."""
    path = folder / "server.pem"
    path.write_text(_SERVER, encoding="ascii")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context
