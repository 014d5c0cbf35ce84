from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from workbench.core.errors import NoWorkbench, WorkbenchError
from workbench.core.settings import STATE_FILE, RunningState, Settings, default_directory, users_of

URL = "amqp://guest:guest@localhost:5672/"


def running(directory: Path) -> Settings:
    settings = Settings(broker_url=URL, store="/store", roots=("/data",), database="sqlite:////db")
    (directory / STATE_FILE).write_bytes(msgspec.json.encode(RunningState(settings=settings, pid=1)))
    return settings


def test_a_given_address_comes_before_the_environments() -> None:
    environ = {"WORKBENCH_BROKER_URL": "amqp://elsewhere", "WORKBENCH_STORE": "s3://bucket"}
    settings = Settings.load(URL, environ=environ)
    assert (settings.broker_url, settings.store) == (URL, "s3://bucket")


def test_the_environments_address_comes_before_a_workbench_on_this_machine(tmp_path: Path) -> None:
    running(tmp_path)
    environ = {"WORKBENCH_BROKER_URL": "amqp://elsewhere", "WORKBENCH_DIRECTORY": str(tmp_path)}
    assert Settings.load(environ=environ) == Settings(broker_url="amqp://elsewhere")


def test_a_workbench_on_this_machine_is_found_where_no_address_is_given(tmp_path: Path) -> None:
    settings = running(tmp_path)
    assert Settings.load(environ={"WORKBENCH_DIRECTORY": str(tmp_path)}) == settings
    assert Settings.load(directory=tmp_path, environ={"WORKBENCH_BROKER_URL": "amqp://elsewhere"}) == settings


def test_without_any_address_the_error_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NoWorkbench, match="workbench up"):
        Settings.load(environ={"WORKBENCH_DIRECTORY": str(tmp_path)})


def test_a_damaged_state_file_is_named(tmp_path: Path) -> None:
    (tmp_path / STATE_FILE).write_text("{")
    with pytest.raises(WorkbenchError, match=STATE_FILE):
        Settings.load(directory=tmp_path, environ={})


def test_settings_survive_the_environment_of_another_process(tmp_path: Path) -> None:
    settings = running(tmp_path)
    assert Settings.load(environ=settings.as_environ()) == settings
    bare = Settings(broker_url=URL)
    assert Settings.load(environ=bare.as_environ()) == bare


@pytest.mark.parametrize(
    ("environ", "directory"),
    [
        ({"WORKBENCH_DIRECTORY": "/a/b", "HOME": "/home/u"}, "/a/b"),
        ({"XDG_STATE_HOME": "/state", "HOME": "/home/u"}, "/state/workbench"),
        ({"HOME": "/home/u"}, "/home/u/.local/state/workbench"),
    ],
)
def test_the_directory_is_found_from_the_environment(environ: dict[str, str], directory: str) -> None:
    assert default_directory(environ) == Path(directory)


def test_a_list_of_users_without_a_name_lets_nobody_in() -> None:
    assert users_of({}) is users_of({"WORKBENCH_DASHBOARD_USERS": ""}) is None
    assert users_of({"WORKBENCH_DASHBOARD_USERS": " , "}) == frozenset()
    assert users_of({"WORKBENCH_DASHBOARD_USERS": "ada@example.org, bob"}) == {"ada@example.org", "bob"}
