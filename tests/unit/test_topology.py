import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.broker.topology import DELAY_UNIT, LONGEST_DELAY, Binding, Exchange, Queue, Topology, delay_headers
from workbench.core import policy, routing
from workbench.core.errors import InvalidName

TOPOLOGY = Topology("test.")


def everything() -> list[object]:
    return [
        *TOPOLOGY.base(),
        *TOPOLOGY.delays(),
        *TOPOLOGY.family("text"),
        *TOPOLOGY.family("image", "high"),
        *TOPOLOGY.client("c1"),
        *TOPOLOGY.control_of("w1", "test.control.w1"),
    ]


def test_whatever_is_bound_was_declared_before() -> None:
    exchanges, queues = set(), set()
    for declaration in everything():
        match declaration:
            case Exchange(name=name):
                exchanges.add(name)
            case Queue(name=name):
                queues.add(name)
            case Binding(source=source, to=to, to_exchange=to_exchange):
                assert source in exchanges
                assert to in (exchanges if to_exchange else queues)


def test_every_name_carries_the_namespace() -> None:
    for declaration in everything():
        if isinstance(declaration, Exchange | Queue):
            assert declaration.name.startswith("test.")


def test_every_durable_queue_is_a_quorum_queue_with_a_positive_delivery_limit_where_it_has_one() -> None:
    for declaration in everything():
        if isinstance(declaration, Queue) and not declaration.exclusive:
            assert declaration.arguments["x-queue-type"] == "quorum"
            assert declaration.arguments.get("x-delivery-limit", 1) > 0


def test_whatever_dead_letters_does_so_at_least_once() -> None:
    letters = [q for q in everything() if isinstance(q, Queue) and "x-dead-letter-exchange" in q.arguments]
    assert letters
    for queue in letters:
        assert queue.arguments["x-dead-letter-strategy"] == "at-least-once"
        assert queue.arguments["x-overflow"] == "reject-publish"


@pytest.mark.parametrize(
    ("key", "queue"),
    [
        ("image.thumbnail", "test.tasks.image"),
        ("text.wordcount", "test.tasks.text"),
        ("image.thumbnail.high", "test.tasks.image.high"),
        ("image.thumbnail.low", None),
        ("sound.mix", None),
    ],
)
def test_exactly_one_task_queue_matches_any_task(key: str, queue: str | None) -> None:
    matching = [
        declaration.to
        for declaration in everything()
        if isinstance(declaration, Binding)
        and declaration.source == TOPOLOGY.tasks
        and len(declaration.key.split(".")) == len(key.split("."))
        and fnmatch.fnmatchcase(key, declaration.key)
    ]
    assert matching == ([queue] if queue else [])


def waited(seconds: float) -> float:
    """Seconds a message with these headers spends in the delay queues, as the declarations say."""
    headers = delay_headers(seconds)
    total, place = 0, TOPOLOGY.delayed
    queues = {each.name: each.arguments for each in everything() if isinstance(each, Queue)}
    while place != TOPOLOGY.submit:
        ways = [each for each in TOPOLOGY.delays() if isinstance(each, Binding) and each.source == place]
        asked = [way for way in ways if all(headers[k] == v for k, v in way.arguments.items() if k != "x-match")]
        assert len(asked) == 1, "exactly one way leads on"
        if asked[0].to_exchange:
            place = asked[0].to
        else:
            total += queues[place]["x-message-ttl"]
            place = queues[place]["x-dead-letter-exchange"]
    return total / 1000


@given(st.floats(0, LONGEST_DELAY))
def test_a_message_waits_as_long_as_its_headers_say_rounded_up_to_a_unit(seconds: float) -> None:
    assert 0 <= waited(seconds) - seconds <= DELAY_UNIT


def test_the_longest_delay_that_a_policy_may_have_fits_into_the_delay_queues() -> None:
    assert policy.LONGEST_DELAY <= waited(policy.LONGEST_DELAY) <= LONGEST_DELAY


@pytest.mark.parametrize("name", ["", "../elsewhere", "a b", "x" * 65, "a.b"])
def test_a_name_that_cannot_be_a_workers_is_refused(name: str) -> None:
    with pytest.raises(InvalidName, match="not a worker's name"):
        routing.check_name(name)


@pytest.mark.parametrize("name", ["image", "image.", ".x", "Image.x", "image.x.y", "a b.c", "", "image.x*", 3])
def test_a_name_that_is_not_family_dot_operation_is_refused(name: object) -> None:
    with pytest.raises(InvalidName, match="not the name of an operation"):
        routing.check_operation(name)  # type: ignore[arg-type]
