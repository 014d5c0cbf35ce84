"""Workbench: submit work from a notebook, let real workers do it over RabbitMQ, get real objects back.

The public names, loaded when they are first used: `import workbench` itself loads neither pandas nor pika.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workbench.broker.letters import Letter as Letter
    from workbench.client.cancel import Cancellation as Cancellation
    from workbench.client.client import Client as Client
    from workbench.client.group import TaskGroup as TaskGroup
    from workbench.client.handle import TaskHandle as TaskHandle
    from workbench.client.producer import Producer as Producer
    from workbench.core.errors import AttemptCancelled as AttemptCancelled
    from workbench.core.errors import BrokerBlocked as BrokerBlocked
    from workbench.core.errors import BrokerRefused as BrokerRefused
    from workbench.core.errors import BrokerTooOld as BrokerTooOld
    from workbench.core.errors import BrokerUnavailable as BrokerUnavailable
    from workbench.core.errors import InputError as InputError
    from workbench.core.errors import InvalidArguments as InvalidArguments
    from workbench.core.errors import NoWorkbench as NoWorkbench
    from workbench.core.errors import QueueFull as QueueFull
    from workbench.core.errors import Reject as Reject
    from workbench.core.errors import ResultExpired as ResultExpired
    from workbench.core.errors import ResultTimeout as ResultTimeout
    from workbench.core.errors import Retry as Retry
    from workbench.core.errors import SoftTimeLimit as SoftTimeLimit
    from workbench.core.errors import StoreError as StoreError
    from workbench.core.errors import TaskCancelled as TaskCancelled
    from workbench.core.errors import TaskEnded as TaskEnded
    from workbench.core.errors import TaskExpired as TaskExpired
    from workbench.core.errors import TaskFailed as TaskFailed
    from workbench.core.errors import TaskNotFound as TaskNotFound
    from workbench.core.errors import TrackerUnavailable as TrackerUnavailable
    from workbench.core.errors import UnknownOperation as UnknownOperation
    from workbench.core.errors import Unroutable as Unroutable
    from workbench.core.errors import UnsupportedValue as UnsupportedValue
    from workbench.core.errors import WorkbenchError as WorkbenchError
    from workbench.core.policy import RetryPolicy as RetryPolicy
    from workbench.local.cluster import LocalCluster as LocalCluster
    from workbench.operations.context import progress as progress
    from workbench.operations.context import scratch_file as scratch_file
    from workbench.operations.datasets import Dataset as Dataset
    from workbench.operations.registry import operation as operation
    from workbench.values.refs import FileRef as FileRef
    from workbench.values.refs import OutputPath as OutputPath

__version__ = "0.1.0"

_ERRORS = (
    "AttemptCancelled",
    "BrokerBlocked",
    "BrokerRefused",
    "BrokerTooOld",
    "BrokerUnavailable",
    "InputError",
    "InvalidArguments",
    "NoWorkbench",
    "QueueFull",
    "Reject",
    "ResultExpired",
    "ResultTimeout",
    "Retry",
    "SoftTimeLimit",
    "StoreError",
    "TaskCancelled",
    "TaskEnded",
    "TaskExpired",
    "TaskFailed",
    "TaskNotFound",
    "TrackerUnavailable",
    "UnknownOperation",
    "Unroutable",
    "UnsupportedValue",
    "WorkbenchError",
)
_HOMES = {
    "Client": "workbench.client.client",
    "FileRef": "workbench.values.refs",
    "LocalCluster": "workbench.local.cluster",
    "OutputPath": "workbench.values.refs",
    "Cancellation": "workbench.client.cancel",
    "Dataset": "workbench.operations.datasets",
    "Letter": "workbench.broker.letters",
    "Producer": "workbench.client.producer",
    "TaskGroup": "workbench.client.group",
    "TaskHandle": "workbench.client.handle",
    "RetryPolicy": "workbench.core.policy",
    "operation": "workbench.operations.registry",
    "progress": "workbench.operations.context",
    "scratch_file": "workbench.operations.context",
    **dict.fromkeys(_ERRORS, "workbench.core.errors"),
}

__all__ = sorted(_HOMES)


def _greet_notebook() -> None:
    """Where IPython runs, let it show our objects as tables."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is not None:
        importlib.import_module("workbench.notebook.reprs").register(shell)


_greet_notebook()


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'workbench' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
