"""Connections: plain, TLS, mutual TLS, names overridden, certificates taken on trust; and ports.

gRPC's Python has no switch that leaves a server unverified. ``skip_verify`` therefore fetches the
certificate the target shows and trusts that one for this connection, under the name it bears: the
connection is secret, but not proof of who is at the other end. An expired certificate is refused even
so, because its dates are checked all the same.
"""

import asyncio
import ssl
from typing import Any, Final

import grpc
import grpc.aio

from collectors.config import Target, Tls

REFUSED: Final = "cannot listen: the port is in use, the address not ours, or the certificate bad"
KEEPALIVE_MS: Final = 20_000  # many targets punish pings more often than every 10 s
KEEPALIVE_TIMEOUT_MS: Final = 10_000


def options(target: Target) -> list[tuple[str, Any]]:
    """Options of a channel, which has a TCP connection of its own.

    SONiC closes a Subscribe when another arrives from the same TCP peer (sonic-gnmi:
    gnmi_server/server.go); channels of one process share connections unless told otherwise.
    """
    return [
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.max_receive_message_length", target.max_message_bytes),
        ("grpc.keepalive_time_ms", KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.enable_http_proxy", 0),
    ]


async def channel(target: Target) -> Any:
    """A channel to a target; OSError or ValueError where its certificates cannot be read or fetched."""
    wanted = options(target)
    if target.tls is None:
        return grpc.aio.insecure_channel(target.address, wanted)
    secure, more = await credentials(target.address, target.tls, target.timeout_ns / 1e9)
    return grpc.aio.secure_channel(target.address, secure, wanted + more)


async def credentials(
    address: str, tls: Tls, timeout_s: float
) -> tuple[Any, list[tuple[str, Any]]]:
    """Channel credentials and the options that go with them; errors as in :func:`channel`."""
    cert = tls.cert.read_bytes() if tls.cert else None
    key = tls.key.read_bytes() if tls.key else None
    ca = tls.ca.read_bytes() if tls.ca else None
    name = tls.server_name
    if tls.skip_verify:
        try:
            ca, shown = await asyncio.wait_for(_shown(address, tls), timeout_s)
        except TimeoutError as error:
            raise OSError(f"{address}: no TLS answer within {timeout_s:g} s") from error
        name = name if name and name in shown else (shown[0] if shown else "")
    more = [("grpc.ssl_target_name_override", name)] if name else []
    return grpc.ssl_channel_credentials(ca, key, cert), more


async def _shown(address: str, tls: Tls) -> tuple[bytes, list[str]]:
    """The certificate a target shows, as PEM, and the names in it."""
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    context = _context(tls)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    der = (await _peer(host, port, context, tls)).getpeercert(binary_form=True)
    if not der:
        raise OSError(f"{address}: it shows no certificate")
    pem = ssl.DER_cert_to_PEM_cert(der)
    # Only a verified certificate is given decoded, so it is shown once more and trusted.
    context = _context(tls)
    context.load_verify_locations(cadata=pem)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.check_hostname = False
    decoded: Any = (await _peer(host, port, context, tls)).getpeercert() or {}
    named = [value for _, value in decoded.get("subjectAltName", ())]
    if not named:  # RFC 6125 6.4.4: the common name counts only without alternative names
        named = [v for group in decoded.get("subject", ()) for k, v in group if k == "commonName"]
    return pem.encode(), named


def _context(tls: Tls) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(["h2"])
    if tls.cert and tls.key:
        context.load_cert_chain(tls.cert, tls.key)
    return context


async def _peer(host: str, port: str, context: ssl.SSLContext, tls: Tls) -> Any:
    """The TLS object of one short connection."""
    try:
        _, writer = await asyncio.open_connection(
            host, int(port), ssl=context, server_hostname=tls.server_name or host
        )
    except ssl.SSLError as error:
        raise OSError(f"{host}:{port}: TLS: {error.reason or error}") from error
    found = writer.get_extra_info("ssl_object")
    writer.close()
    return found


def metadata(target: Target) -> tuple[tuple[str, str], ...]:
    """User and password as gNMI's authentication document has them, a bearer's token, own fields."""
    given = [(name.lower(), value) for name, value in target.metadata]
    if target.user:
        given += [("username", target.user), ("password", target.password)]
    if target.token:
        given.append(("authorization", f"Bearer {target.token}"))
    return tuple(given)


def bind(server: Any, address: str, tls: Tls | None) -> int:
    """Bind a server's port, which is returned; OSError where that is impossible.

    ``tls`` needs a certificate and its key (ValueError without); its ``ca`` demands certificates of
    that authority from clients.
    """
    try:
        if tls is None:
            bound = server.add_insecure_port(address)
        elif tls.cert is None or tls.key is None:
            raise ValueError(f"{address}: to listen with TLS takes a certificate and its key")
        else:
            ca = tls.ca.read_bytes() if tls.ca else None
            pair = (tls.key.read_bytes(), tls.cert.read_bytes())
            secure = grpc.ssl_server_credentials([pair], ca, require_client_auth=ca is not None)
            bound = server.add_secure_port(address, secure)
    except RuntimeError as error:
        raise OSError(f"{address}: {REFUSED}") from error
    if not bound:
        raise OSError(f"{address}: {REFUSED}")
    return int(bound)
