import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.support import wait_until
from workbench.local import guard
from workbench.local.processes import is_alive, rotate, start_time


def test_a_pid_and_its_start_time_name_one_process():
    with subprocess.Popen(["sleep", "60"]) as other:
        assert start_time(os.getpid()) == start_time(os.getpid()) != ""
        assert is_alive(other.pid)
        assert start_time(other.pid) != start_time(os.getpid())
        other.kill()


def test_a_process_that_has_ended_is_dead_even_before_its_parent_noticed():
    with subprocess.Popen(["true"]) as ended:
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)

        assert not is_alive(ended.pid)


def test_a_long_log_moves_aside_while_its_writer_goes_on(tmp_path: Path):
    log = tmp_path / "worker.log"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"x" * 100)
        rotate(log, limit=1000)
        assert log.stat().st_size == 100
        rotate(log, limit=50)
        writer.write(b"more")

    assert log.read_bytes() == b"more"
    assert (tmp_path / "worker.log.1").read_bytes() == b"x" * 100


def test_a_log_that_is_not_there_needs_no_rotation(tmp_path: Path):
    rotate(tmp_path / "none.log")


def test_what_is_still_watched_when_the_supervisor_falls_silent_survives_it():
    assert guard.survivors(["watch 10\n", "watch 11\n", "watch 12\n", "forget 11\n"]) == [10, 12]
    assert guard.survivors(["watch 10\n", "forget 99\n"]) == [10]


def test_nothing_is_left_to_end_after_a_goodbye():
    assert guard.survivors(["watch 10\n", "bye\n"]) == []


def test_a_group_that_ignores_sigterm_is_killed():
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", stubborn], stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        process.stdout.readline()

        guard.end([process.pid], patience=0.1)

        assert process.wait(10) == -signal.SIGKILL


def test_the_guard_ends_what_it_watches_when_its_pipe_closes():
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as child:
        with subprocess.Popen(
            [sys.executable, "-I", "-S", guard.__file__], stdin=subprocess.PIPE, bufsize=0
        ) as process:
            assert process.stdin is not None
            process.stdin.write(f"watch {child.pid}\n".encode())
            process.stdin.close()

            wait_until(lambda: child.poll() is not None)

        assert child.returncode == -signal.SIGTERM
