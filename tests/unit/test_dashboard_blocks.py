from __future__ import annotations

import math

from tests.dashboard_facts import BEGAN, execution
from workbench.dashboard import series
from workbench.dashboard.blocks import FORGOTTEN, IDLE, MERGED, Blocks
from workbench.dashboard.series import Second

T0 = BEGAN.timestamp()


def drawn(*executions, kept: int = 1000) -> Blocks:
    blocks = Blocks(kept)
    blocks.add(executions, T0 + 10_000)
    return blocks


def test_an_attempt_is_a_block_on_its_slots_lane() -> None:
    blocks = drawn(execution(1, 0.0, 2.0), execution(2, 1.0, 2.0, slot=2))
    assert [(block.lane, block.end - block.start) for block in blocks.since(0)] == [(0, 2.0), (1, 2.0)]
    assert [(lane.worker, lane.slot) for lane in blocks.lanes] == [("w1", 1), ("w1", 2)]


def test_short_neighbours_become_one_block_that_counts_them() -> None:
    short = MERGED / 10
    blocks = drawn(*(execution(number, number * short, short * 0.9) for number in range(5)))
    (block,) = blocks.since(0)
    assert (block.count, block.task_id) == (5, "task-4")
    assert math.isclose(block.busy, 5 * short * 0.9, rel_tol=1e-3)


def test_a_failure_is_never_merged() -> None:
    short = MERGED / 10
    blocks = drawn(
        execution(1, 0.0, short),
        execution(2, short, short, status="failed", failure="ValueError"),
        execution(3, 2 * short, short),
    )
    told = [(block.state, block.count) for block in blocks.since(0)]
    assert told == [("succeeded", 1), ("failed", 1), ("succeeded", 1)]


def test_a_block_of_several_operations_says_so_and_is_named_for_the_longest() -> None:
    (block,) = drawn(
        execution(1, 0.0, 0.01), execution(2, 0.02, 0.05, operation="data.join"), execution(3, 0.08, 0.01)
    ).since(0)
    assert (block.operation, block.mixed) == ("data.join", True)


def test_no_block_is_told_twice_and_none_is_left_out() -> None:
    blocks = Blocks(kept=50)
    told, serial = [], 0
    for number in range(40):
        blocks.add([execution(number, float(number), 0.9)], T0 + number + 1.0)
        new = blocks.since(serial)
        serial = new[-1].serial if new else serial
        told += [block.task_id for block in new]
    blocks.add([], T0 + 1000)
    told += [block.task_id for block in blocks.since(serial)]
    assert told == [f"task-{number}" for number in range(40)]


def test_only_so_many_blocks_are_kept() -> None:
    blocks = drawn(*(execution(number, float(number), 0.9, status="failed") for number in range(30)), kept=10)
    assert [block.serial for block in blocks.since(0)] == list(range(21, 31))
    assert len(blocks.since(25)) == 5


def test_with_many_lanes_a_minute_is_kept_all_the_same() -> None:
    blocks = Blocks(kept=1200)
    lanes, second = 40, 0.05
    for step in range(60):
        executions = [
            execution(0, step + k * second, second * 0.9, slot=slot) for slot in range(lanes) for k in range(20)
        ]
        blocks.add(executions, T0 + step + 1.0)
    blocks.add([], T0 + 1000)
    assert blocks.since(0)[0].start - T0 < 10.0


def test_a_replaced_slot_takes_over_an_idle_lane_of_its_worker() -> None:
    blocks = drawn(execution(1, 0.0), execution(2, IDLE + 10.0, slot=7))
    assert [(lane.worker, lane.slot) for lane in blocks.lanes] == [("w1", 7)]


def test_another_workers_lane_is_taken_over_only_when_it_is_forgotten() -> None:
    assert len(drawn(execution(1, 0.0), execution(2, IDLE + 10.0, worker="w2")).lanes) == 2
    assert len(drawn(execution(1, 0.0), execution(2, FORGOTTEN + 10.0, worker="w2")).lanes) == 1


def test_a_worker_has_no_more_lanes_than_slots_however_often_they_are_replaced() -> None:
    blocks = Blocks()
    blocks.slots["w1"] = 2
    blocks.add([execution(number, float(number), 0.5, slot=number) for number in range(1, 9)], T0 + 100)
    assert [(lane.slot, lane.place) for lane in blocks.lanes] == [(7, 1), (8, 2)]


def test_rows_are_in_the_order_of_workers_and_slots_not_in_that_of_arrival() -> None:
    came = [("worker-10", 1), ("worker-2", 2), ("worker-2", 1), ("gpu", 3)]
    blocks = drawn(*(execution(number, float(number), worker=w, slot=s) for number, (w, s) in enumerate(came)))
    in_order = [lane for _, lane in sorted(zip(blocks.rows, blocks.lanes, strict=True), key=lambda each: each[0])]
    assert [(lane.worker, lane.slot) for lane in in_order] == [came[3], came[2], came[1], came[0]]


def test_lines_have_few_points_however_long_the_time() -> None:
    known = [Second(at=at, submitted=10, ended=5) for at in range(3600)]
    lines = series.lines(known, 0, 3600, 300)
    assert len(lines.at) == 300
    assert set(lines.submitted) == {10.0}
    assert math.isclose(sum(lines.ended) * 12, 3600 * 5)
    assert all(math.isnan(value) for value in lines.waiting)
