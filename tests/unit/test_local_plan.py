import sys
from pathlib import Path

import msgspec
import pytest

from workbench.broker.topology import LONG
from workbench.core.errors import InvalidArguments, InvalidName
from workbench.core.settings import Settings
from workbench.local.plan import Plan, Service, make_plan, restart_delay

HERE = Path("/data/bench")


def workers(plan: Plan) -> tuple[Service, ...]:
    return plan.stages[1]


def families(service: Service) -> tuple[str, ...]:
    command = service.command
    return command[command.index("worker") + 1 : command.index("--slots")]


def test_the_tracker_starts_before_the_workers_and_so_stops_after_them():
    plan = make_plan(HERE, workers=2)

    assert [[service.name for service in stage] for stage in plan.stages] == [["tracker"], ["worker-1", "worker-2"]]
    assert plan.stages[0][0].command == (sys.executable, "-m", "workbench", "tracker")


def test_a_number_of_workers_each_serve_every_family():
    assert [families(worker) for worker in workers(make_plan(HERE, workers=3))] == [(), (), ()]
    assert families(workers(make_plan(HERE, families=["image", "text"]))[0]) == ("image", "text")


def test_a_mapping_gives_each_family_workers_of_its_own():
    plan = make_plan(HERE, workers={"image": 1, "data": 2})

    assert {worker.name: families(worker) for worker in workers(plan)} == {
        "worker-image-1": ("image",),
        "worker-data-1": ("data",),
        "worker-data-2": ("data",),
    }


def test_a_worker_is_told_its_slots_its_modules_and_its_name():
    command = workers(make_plan(HERE, slots=3, include=["mine", "more.of.mine"]))[0].command

    assert command[:4] == (sys.executable, "-m", "workbench", "worker")
    for words in (("--slots", "3"), ("--include", "mine"), ("--include", "more.of.mine"), ("--name", "worker-1")):
        assert any(command[i : i + 2] == words for i in range(len(command)))


def test_a_worker_has_time_left_after_its_own_grace():
    worker = workers(make_plan(HERE))[0]

    assert float(worker.command[worker.command.index("--grace") + 1]) < worker.grace


def test_everything_lies_below_the_directory_unless_told_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)

    assert make_plan(HERE).settings("amqp://h/") == Settings(
        broker_url="amqp://h/",
        store="/data/bench/store",
        roots=(str(tmp_path),),
        database="sqlite:////data/bench/tracker.sqlite",
        ack_timeout=LONG,
    )
    assert make_plan(HERE, store="s3://b/p", database="postgresql://h/d", roots=["/a", "b"]).settings("u") == Settings(
        broker_url="u", store="s3://b/p", roots=("/a", f"{tmp_path}/b"), database="postgresql://h/d", ack_timeout=LONG
    )


def test_a_plan_travels_as_json():
    plan = make_plan(HERE, workers={"image": 1}, include=["mine"], temporary=True)

    assert msgspec.json.decode(msgspec.json.encode(plan), type=Plan) == plan


@pytest.mark.parametrize(
    "options",
    [{"workers": -1}, {"workers": {"image": -1}}, {"slots": 0}, {"workers": {"image": 1}, "families": ["data"]}],
)
def test_numbers_that_make_no_sense_are_refused(options: dict[str, object]):
    with pytest.raises(InvalidArguments):
        make_plan(HERE, **options)  # type: ignore[arg-type]


def test_a_family_that_is_no_word_is_refused():
    with pytest.raises(InvalidName):
        make_plan(HERE, workers={"No Family": 1})


def test_restarts_come_later_and_later_up_to_a_bound():
    delays = [restart_delay(failures) for failures in range(1, 100)]

    assert delays[0] == 0.2
    assert delays == sorted(delays)
    assert delays[-1] == 30.0


def test_the_dashboard_comes_last_and_is_no_worker(tmp_path: Path) -> None:
    plan = make_plan(tmp_path, workers=2, dashboard=5099)
    assert [service.name for service in plan.stages[-1]] == ["dashboard"]
    assert "5099" in plan.stages[-1][0].command
    assert plan.workers == ("worker-1", "worker-2")
    assert "dashboard" not in {service.name for stage in make_plan(tmp_path).stages for service in stage}
