"""Networks of proxies that are trusted, and whom they say a request comes from."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Annotated

from pydantic import AfterValidator

#: Networks wider than this hold more than proxies.
_WIDEST = 8  # bits of the prefix


def parse_network(value: str) -> str:
    """``10.0.0.7`` or ``10.0.0.0/24`` as Traefik reads it, always with a prefix.

    Raises:
        ValueError: it is no network, or one that no proxies alone can be in.
    """
    try:
        network = ip_network(_plain(value))
    except ValueError:
        raise ValueError(
            f"{value!r} is not an address or a network; write 192.0.2.10 or 192.0.2.0/28"
        ) from None
    if network.prefixlen < _WIDEST:
        raise ValueError(
            f"{value!r} would let everybody in it say that they are somebody else; "
            "write the proxies' own addresses"
        )
    # Traefik reads ::ffff:0:0/96 as all of IPv4.
    if network.version == 6 and network.network_address.ipv4_mapped is not None:
        raise ValueError(f"{value!r} is IPv4 written as IPv6; write it as IPv4")
    return str(network)


def _plain(written: str) -> str:
    """Without blanks around; a scope (``fe80::1%…``) would take any text along."""
    if "%" in written:
        raise ValueError
    return written.strip()


#: A trusted network of the site file.
Network = Annotated[str, AfterValidator(parse_network)]


def real_address(forwarded: str, trusted: Sequence[IPv4Network | IPv6Network]) -> str | None:
    """Whom the trusted proxies name in ``X-Forwarded-For``; None when it holds no address.

    Each proxy writes on the right whom it saw. So the last address that is no trusted proxy's is
    true, and what stands further left is only a claim. When all are trusted it is the first.
    """
    found = None
    for written in reversed(forwarded.split(",")):
        try:
            address = ip_address(_plain(written))
        except ValueError:
            break
        found = str(address)
        if not any(address in network for network in trusted):
            break
    return found
