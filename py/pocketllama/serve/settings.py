"""What a server is told at its start, and what it allows."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..errors import UsageError

_KEY = re.compile(r"[\x21-\x7e]+")
_ORIGIN = re.compile(r"https?://[^/\s?#@]+")


@dataclass(frozen=True)
class Settings:
    """Checked when it is made (UsageError)."""

    host: str = "127.0.0.1"
    port: int = 8080  # 0: any that is free
    api_key: str | None = None
    parallel: int | None = None  # requests decoded together; None: 4, or as many as fit the memory
    queue: int = 64  # requests that may wait for one of these places
    allow_hosts: tuple[str, ...] = ()  # names under which the server may be called, besides its own
    cors: tuple[str, ...] = ()  # origins whose pages may call the server

    max_body: int = 8 << 20  # bytes of a request
    max_depth: int = 128  # of its JSON
    max_schema: int = 256 << 10  # bytes of the schemas in it
    max_backlog: int = 4 << 20  # bytes of a stream that wait for its client
    max_connections: int = 512  # requests under way at once, waiting ones with them
    body_seconds: float = 30.0  # for a request to arrive in full
    stall_seconds: float = 60.0  # for a client to take what was sent to it
    ping_seconds: float = 10.0  # between signs of life in a stream that has nothing to say yet
    drain_seconds: float = 3.0  # for answers under way, after a signal to end

    hosts: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        if not self.host or any(c.isspace() for c in self.host):
            raise UsageError(f"--host takes an address or a name, not {self.host!r:.80}.")
        if not 0 <= self.port <= 65535:
            raise UsageError(f"--port takes a whole number from 0 to 65535, not {self.port}.")
        if self.parallel is not None and not 1 <= self.parallel <= 256:
            raise UsageError(f"--parallel takes a whole number from 1 to 256, not {self.parallel}.")
        if not 0 <= self.queue <= 10_000:
            raise UsageError(f"--queue takes a whole number from 0 to 10000, not {self.queue}.")
        if self.api_key is not None and not _KEY.fullmatch(self.api_key):
            raise UsageError("An API key is made of printable ASCII characters without spaces, and is not empty.")
        for origin in self.cors:
            if not _ORIGIN.fullmatch(origin):
                raise UsageError(
                    f"--cors takes an origin, such as https://example.org or http://localhost:3000, not {origin!r:.80}."
                )
        if not self.api_key and not is_loopback(self.host):
            raise UsageError(
                f"Serving on {self.host} lets other machines in, and there is no API key.",
                remedy="Give one in the variable POCKETLLAMA_API_KEY (or with --api-key), or serve on 127.0.0.1.",
            )
        object.__setattr__(self, "hosts", frozenset(h.lower() for h in (self.host, *self.allow_hosts)))

    def knows_host(self, host: str) -> bool:
        """Whether a request may call the server by this name: a browser that was led here by a foreign name (DNS
        rebinding) sends that name. Addresses cannot be used for that; the loopback interface is called by its own."""
        name = _host_name(host)
        if name is None:
            return False
        if name == "localhost" or name in self.hosts:
            return True
        address = _address(name)
        return address is not None and (address.is_loopback or not is_loopback(self.host))


def origins(values: Sequence[str]) -> tuple[str, ...]:
    """Origins as browsers write them: lower case, no slash at the end."""
    return tuple(v.lower().removesuffix("/") for v in values)


def is_loopback(host: str) -> bool:
    address = _address(host)
    return host.lower() == "localhost" if address is None else address.is_loopback


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def _host_name(host: str) -> str | None:
    """The name in a Host header, without port and brackets; None if it is no such header."""
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::\d{1,5})?", host)
    return (found[1] or found[2]).lower().removesuffix(".") if found else None
