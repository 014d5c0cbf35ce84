from __future__ import annotations

from workbench.broker.overdue import Overdue


def test_a_confirm_is_overdue_once_the_patience_is_over() -> None:
    overdue = Overdue(60, now=0)
    assert not overdue.is_overdue(1, sent_at=10, now=70)
    assert overdue.is_overdue(1, sent_at=10, now=70.1)


def test_a_message_behind_others_on_a_slow_link_is_not_overdue_as_long_as_confirms_come() -> None:
    overdue = Overdue(60, now=0)
    for tag in range(1, 20):  # all were handed over at once; each takes 50 seconds on the link
        assert not overdue.is_overdue(tag, sent_at=0, now=tag * 50)
        overdue.confirmed(tag, now=tag * 50)
    assert not overdue.is_overdue(20, sent_at=0, now=19 * 50 + 60)
    assert overdue.is_overdue(20, sent_at=0, now=19 * 50 + 61)


def test_one_that_others_have_passed_is_overdue_though_confirms_go_on_coming() -> None:
    overdue = Overdue(60, now=0)
    due = []
    for now in range(5, 100, 5):
        overdue.confirmed(1 + now, now=now)
        if overdue.is_overdue(1, sent_at=0, now=now):
            due.append(now)
    assert due[0] == 70  # counted from the first look that found it passed


def test_the_wait_begins_again_with_the_next_one_that_is_passed() -> None:
    overdue = Overdue(60, now=0)
    overdue.confirmed(9, now=1)
    assert not overdue.is_overdue(1, sent_at=0, now=1)
    assert not overdue.is_overdue(2, sent_at=0, now=62)  # the first was confirmed meanwhile
    assert overdue.is_overdue(2, sent_at=0, now=123)


def test_a_blocked_broker_owes_nothing() -> None:
    overdue = Overdue(60, now=0)
    overdue.confirmed(9, now=0)
    assert not overdue.is_overdue(1, sent_at=0, now=0)
    overdue.excuse(now=500)
    assert not overdue.is_overdue(1, sent_at=0, now=505)
    assert not overdue.is_overdue(10, sent_at=0, now=560)
    assert overdue.is_overdue(10, sent_at=0, now=561)
