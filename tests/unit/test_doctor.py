import io
from pathlib import Path

import pytest
from rich.console import Console

from workbench import doctor


@pytest.fixture
def findings(tmp_path: Path) -> dict[str, doctor.Finding]:
    return {finding.name: finding for finding in doctor.check(tmp_path)}


def test_a_machine_that_runs_these_tests_is_well(findings: dict[str, doctor.Finding]):
    assert [finding for finding in findings.values() if not finding.ok] == []
    assert findings["pika"].found is not None
    assert "Erlang" in (findings["RabbitMQ"].found or "")


def test_no_workbench_running_is_no_fault_and_says_how_to_start_one(findings: dict[str, doctor.Finding]):
    finding = findings["a running workbench"]

    assert finding.found is None
    assert finding.ok
    assert "workbench up --detach" in finding.remedy


def test_a_missing_rabbitmq_is_a_fault_with_two_remedies(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(doctor, "find_rabbitmq", lambda: None)
    monkeypatch.delenv("WORKBENCH_BROKER_URL", raising=False)
    console = Console(width=200, record=True, file=io.StringIO())

    assert doctor.main(console) == 1
    printed = console.export_text()
    assert "apt-get install rabbitmq-server" in printed
    assert "conda env create -f environment.yml" in printed


def test_a_missing_rabbitmq_is_none_where_another_machines_is_used(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(doctor, "find_rabbitmq", lambda: None)
    monkeypatch.setenv("WORKBENCH_BROKER_URL", "amqp://host/")

    assert all(finding.ok for finding in doctor.check() if finding.name == "RabbitMQ")


def test_a_missing_package_is_named_with_the_command_that_brings_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(doctor, "_REQUIRED", ("no-such-package",))
    missing = next(finding for finding in doctor.check(tmp_path) if finding.name == "no-such-package")

    assert not missing.ok
    assert missing.remedy == 'pip install "no-such-package"'
