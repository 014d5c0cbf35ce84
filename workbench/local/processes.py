"""What the kernel knows of a process: whether it is still the one we mean. And log files that stay small."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from pathlib import Path

LOG_LIMIT = 5 * 1024 * 1024


def start_time(pid: int) -> str:
    """Return when a process started, in a form to compare only; empty where there is no such process, or it has ended.

    A pid together with this names one process for good, reboots included.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        # The name in parentheses may hold anything; the fields after it are state, ppid … and, as the 22nd, the start.
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except FileNotFoundError:
        return "" if Path("/proc/self/stat").exists() else _start_time_by_ps(pid)
    except ProcessLookupError:
        return ""
    return "" if fields[0] in "ZX" else f"{boot} {fields[19]}"


def _start_time_by_ps(pid: int) -> str:
    answer = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return answer.stdout.strip()


def is_alive(pid: int) -> bool:
    """Whether there is such a process, and it has not ended."""
    return bool(start_time(pid))


def kill_group(group: int) -> None:
    """Kill whatever is left of a process group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def rotate(path: Path, limit: int = LOG_LIMIT) -> None:
    """Move a log's content to `….1` once it is longer than `limit` bytes.

    The file itself stays: processes hold it open for appending, and go on at its new end.
    """
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size > limit:
            shutil.copyfile(path, path.with_name(f"{path.name}.1"))
            os.truncate(path, 0)
