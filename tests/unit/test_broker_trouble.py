from __future__ import annotations

import pytest

from workbench.broker.connection import Connection, ConnectionState
from workbench.broker.trouble import explain
from workbench.broker.versions import check_version
from workbench.core.errors import BrokerBlocked, BrokerRefused, BrokerTooOld, BrokerUnavailable, QueueFull


@pytest.mark.parametrize("version", ["3.9.29", "3.9.0", "2.8.7", b"3.8.34", "3.9.0-rc.1"])
def test_a_rabbitmq_older_than_the_topology_needs_is_refused_with_its_version(version: str | bytes) -> None:
    with pytest.raises(BrokerTooOld, match=r"h:5672 is RabbitMQ [23]\.\d+.*needs 3\.10"):
        check_version({"product": "RabbitMQ", "version": version}, "h:5672")


@pytest.mark.parametrize(
    "properties",
    [
        {"product": "RabbitMQ", "version": "3.10.0"},
        {"product": "RabbitMQ", "version": "3.13.7"},
        {"product": "RabbitMQ", "version": "4.1.0-beta.3"},
        {"product": b"RabbitMQ", "version": b"3.10.8"},
        {"product": "RabbitMQ", "version": "from a branch"},
        {"product": "Another", "version": "1.0"},
        {},
        None,
    ],
)
def test_what_is_new_enough_or_tells_nothing_is_taken_as_it_is(properties: dict[str, object] | None) -> None:
    check_version(properties, "h:5672")


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("amqp://user:secret@host:5673/vhost", "host:5673"),
        ("amqp://host", "host:5672"),
        ("amqps://user:p%40ss@host/", "host:5671"),
        ("amqp://u:p@[::1]:5672/", "::1:5672"),
        ("amqp://u:secret@host:notaport/", "an address that can't be read"),
    ],
)
def test_an_address_is_told_without_the_credentials(url: str, address: str) -> None:
    assert Connection(url, name="c").address == address


@pytest.mark.parametrize(
    ("state", "refusal", "full", "kind", "said"),
    [
        (ConnectionState.BLOCKED, None, ["a.b"], BrokerBlocked, "h:1 is blocked: low on disk"),
        (ConnectionState.OPEN, None, ["a.b", "c.d"], QueueFull, "routing key 'a.b', 'c.d'"),
        (ConnectionState.OPEN, None, [], BrokerUnavailable, "h:1 is connected, but doesn't answer"),
        (ConnectionState.CONNECTING, None, [], BrokerUnavailable, "the broker at h:1: low on disk"),
        (ConnectionState.CONNECTING, BrokerRefused("no such user"), [], BrokerRefused, "no such user"),
        (ConnectionState.CONNECTING, BrokerTooOld("3.9"), [], BrokerTooOld, "3.9"),
    ],
)
def test_each_trouble_has_its_error_and_its_cause(
    state: ConnectionState, refusal: BrokerRefused | None, full: list[str], kind: type[Exception], said: str
) -> None:
    error = explain(
        "nothing came", state=state, reason="low on disk", address="h:1", refusal=refusal, full=full, then=". So what"
    )
    assert type(error) is kind
    assert str(error).startswith("nothing came (")
    assert said in str(error)
    assert str(error).endswith("). So what")


def test_a_cause_that_names_the_address_names_it_once() -> None:
    error = explain("x", state=ConnectionState.CONNECTING, reason="the broker at h:1 is away", address="h:1")
    assert str(error) == "x (the broker at h:1 is away)"
