"""Trusted proxies: what may be trusted, and whom they name."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from courseyard.networks import parse_network, real_address

TRUSTED = ("192.0.2.0/28", "2001:db8::/64")


@pytest.mark.parametrize(
    ("written", "network"),
    [
        ("192.0.2.7", "192.0.2.7/32"),
        (" 192.0.2.0/28 ", "192.0.2.0/28"),
        ("2001:DB8::1", "2001:db8::1/128"),
        ("10.0.0.0/8", "10.0.0.0/8"),
    ],
)
def test_networks(written: str, network: str) -> None:
    assert parse_network(written) == network


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("0.0.0.0/0", "would let everybody"),
        ("::/0", "would let everybody"),
        ("128.0.0.0/1", "would let everybody"),
        ("::ffff:0:0/96", "write it as IPv4"),
        ("192.0.2.7/28", "is not an address or a network"),
        ("ingress.example.org", "is not an address or a network"),
        ("192.0.2.1, 192.0.2.2", "is not an address or a network"),
        ("192.0.2.1`) || Host(`x", "is not an address or a network"),
        ("fe80::1%eth0", "is not an address or a network"),
        ("", "is not an address or a network"),
    ],
)
def test_what_cannot_be_trusted(written: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_network(written)


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        ("203.0.113.5", "203.0.113.5"),
        ("198.51.100.1, 203.0.113.5", "203.0.113.5"),
        ("198.51.100.1, 203.0.113.5, 192.0.2.3, 2001:db8::9", "203.0.113.5"),
        ("192.0.2.4, 192.0.2.3", "192.0.2.4"),
        ("203.0.113.5, nonsense, 192.0.2.3", "192.0.2.3"),
        ("fe80::1%x (admin@203.0.113.5), 192.0.2.3", "192.0.2.3"),
        ("203.0.113.5, ", None),
        ("", None),
    ],
)
def test_whom_the_proxies_name(forwarded: str, address: str | None) -> None:
    assert real_address(forwarded, [ip_network(network) for network in TRUSTED]) == address
