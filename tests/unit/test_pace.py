from workbench.worker.pace import AHEAD, Pace


def paced(slots: int, *seconds: float) -> Pace:
    pace = Pace(slots)
    for one in seconds:
        pace.ended(one)
    return pace


def test_nothing_is_held_ahead_before_anything_is_known() -> None:
    assert Pace(4).ahead() == 0
    assert paced(4, *[0.001] * 9).ahead() == 0


def test_many_brief_tasks_are_held_ahead_a_few_short_ones_and_no_long_ones() -> None:
    assert paced(4, *[0.001] * 20).ahead() == 4 * AHEAD
    assert paced(4, *[0.1] * 20).ahead() == 4
    assert paced(4, *[2.0] * 20).ahead() == 0


def test_the_pace_follows_tasks_that_become_longer_and_shorter() -> None:
    pace = paced(1, *[0.001] * 10_000)
    for _ in range(3):
        pace.ended(2.0)
    assert pace.ahead() == 0
    for _ in range(40):
        pace.ended(0.001)
    assert pace.ahead() == AHEAD


def test_what_waits_behind_a_task_that_turns_out_long_is_given_back_once() -> None:
    pace = paced(1, *[0.001] * 100)
    assert not pace.too_many(0.05, 10)
    assert not pace.too_many(5.0, 0)
    assert pace.too_many(0.2, 10)
    assert pace.ahead() == 0


def test_what_waits_behind_a_task_as_long_as_the_others_is_kept() -> None:
    assert not paced(1, *[0.2] * 100).too_many(0.3, 1)
