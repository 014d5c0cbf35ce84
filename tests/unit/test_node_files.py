import stat
from pathlib import Path

import pytest

from workbench.broker import installation, node
from workbench.broker.files import tail, write_private
from workbench.broker.installation import Installation, find_rabbitmq

IDENTITY = node.new_identity((20001, 20002, 20003))
INSTALLATION = Installation(
    server=Path("/usr/lib/rabbitmq/bin/rabbitmq-server"), erl=Path("/usr/bin/erl"), epmd=Path("/usr/bin/epmd")
)


def test_nothing_of_another_rabbitmq_or_erlang_reaches_the_node():
    inherited = {
        "PATH": "/usr/bin",
        "TMPDIR": "/scratch",
        "RABBITMQ_NODE_PORT": "5672",
        "RABBITMQ_CONFIG_FILE": "/etc/rabbitmq/rabbitmq.conf",
        "NODENAME": "rabbit",
        "ERL_FLAGS": "-setcookie theirs",
        "XDG_CONFIG_HOME": "/home/u/.config",
    }
    environ = node.environment(Path("/d"), IDENTITY, INSTALLATION, inherited)

    assert environ["TMPDIR"] == "/scratch"
    assert not {"RABBITMQ_NODE_PORT", "NODENAME", "ERL_FLAGS", "XDG_CONFIG_HOME"} & environ.keys()
    files = {name: path for name, path in environ.items() if name.startswith("RABBITMQ_") and "/" in path}
    assert len(files) > 10
    assert all(path.startswith("/d/") for path in files.values())


def test_the_configuration_listens_on_loopback_only_and_waits_a_month_for_an_acknowledgement():
    lines = dict(line.split(" = ") for line in node.configuration(IDENTITY).splitlines())

    assert [lines[key] for key in lines if key.startswith("listeners")] == ["127.0.0.1:20001"]
    assert int(lines["consumer_timeout"]) == 30 * 24 * 3600 * 1000
    assert lines["default_pass"] == IDENTITY.password


def test_no_two_nodes_have_the_same_name_or_password():
    other = node.new_identity(IDENTITY.ports)

    assert other.name != IDENTITY.name
    assert other.password != IDENTITY.password


def test_three_different_ports_are_chosen():
    assert len(set(node.free_ports())) == 3


def test_a_private_file_is_never_readable_for_others_and_is_replaced_as_a_whole(tmp_path: Path):
    path = tmp_path / "secret"
    write_private(path, b"one")
    with path.open("rb") as before:
        write_private(path, b"two", mode=0o400)

        assert before.read() == b"one"
    assert path.read_bytes() == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o400
    assert list(tmp_path.iterdir()) == [path]


def test_the_tail_of_a_log_is_its_last_lines(tmp_path: Path):
    (tmp_path / "log").write_text("one\ntwo\nthree\n")

    assert tail(tmp_path / "log", lines=2) == "two\nthree"
    assert tail(tmp_path / "none") == ""


def make_tree(root: Path, *, wrapped: bool) -> Path:
    """Lay out Erlang and RabbitMQ as a package does, and return the directory for PATH."""
    for executable in ("otp/bin/erl", "otp/bin/epmd", "rabbitmq_server-3.10.8/sbin/rabbitmq-server"):
        (root / executable).parent.mkdir(parents=True, exist_ok=True)
        (root / executable).touch(mode=0o755)
    (root / "otp/releases/25").mkdir(parents=True)
    (root / "otp/releases/25/OTP_VERSION").write_text("25.2.3\n")
    for directory in ("path", "scripts"):
        (root / directory).mkdir()
    (root / "path/erl").symlink_to(root / "otp/bin/erl")
    server = root / "rabbitmq_server-3.10.8/sbin/rabbitmq-server"
    if wrapped:
        (root / "scripts/rabbitmq-script-wrapper").touch(mode=0o755)
        (root / "scripts/rabbitmq-server").symlink_to(server)
        server = root / "scripts/rabbitmq-script-wrapper"
    (root / "path/rabbitmq-server").symlink_to(server)
    return root / "path"


@pytest.fixture
def nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "_ELSEWHERE", ())
    monkeypatch.setattr(installation.sys, "executable", "/nowhere/python")


@pytest.mark.usefixtures("nowhere_else")
def test_an_installation_on_path_is_found_with_its_versions(tmp_path: Path):
    path = make_tree(tmp_path, wrapped=False)

    assert find_rabbitmq({"PATH": str(path)}) == Installation(
        server=path / "rabbitmq-server",
        erl=path / "erl",
        epmd=tmp_path / "otp/bin/epmd",
        version="3.10.8",
        erlang="25.2.3",
    )


@pytest.mark.usefixtures("nowhere_else")
def test_debians_wrapper_which_switches_users_is_passed_by(tmp_path: Path):
    found = find_rabbitmq({"PATH": str(make_tree(tmp_path, wrapped=True))})

    assert found is not None
    assert found.server == tmp_path / "scripts/rabbitmq-server"
    assert found.version == "3.10.8"


@pytest.mark.usefixtures("nowhere_else")
def test_without_rabbitmq_nothing_is_found(tmp_path: Path):
    assert find_rabbitmq({"PATH": str(tmp_path)}) is None
