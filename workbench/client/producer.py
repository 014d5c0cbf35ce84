"""`Producer`: checks a submission in the notebook, sends it, and returns once the broker has it."""

from __future__ import annotations

import copy
import functools
import os
from collections.abc import Iterable
from concurrent.futures import Future
from datetime import datetime, timedelta
from pathlib import Path
from typing import Self

import msgspec

from workbench.broker import ConnectionState, Outgoing, Topology
from workbench.client import transfer
from workbench.client.engine import Engine
from workbench.client.group import TaskGroup
from workbench.client.handle import TaskHandle
from workbench.client.transfer import Progress
from workbench.core import messages, routing
from workbench.core.errors import InvalidArguments, UnsupportedValue
from workbench.core.ids import new_name, new_task_id
from workbench.core.messages import OperationSpec, Task, utcnow
from workbench.core.policy import RetryPolicy, check_seconds, policy_of
from workbench.core.settings import Settings
from workbench.operations import registry, signature
from workbench.values import arguments, codecs
from workbench.values.files import Files
from workbench.values.refs import FileRef

CONFIRM_TIMEOUT = 30.0
CONNECT_TIMEOUT = 10.0
_CHUNK = 256
_CHUNK_BYTES = 8 * 2**20
_CHUNKS_AHEAD = 8


class SubmitOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a submission says besides its arguments; None leaves it to the operation."""

    timeout: float | None = None
    soft_timeout: float | None = None
    retry: RetryPolicy | None = None
    lane: str | None = None
    expires: float | None = None
    deadline: float | None = None


class Producer:
    """Sends tasks; needs only the broker.

    Parameters
    ----------
    url
        The broker's address, `amqp(s)://user:password@host:port/vhost`; None to find the running workbench.
    directory
        Where the running workbench keeps its data, if not in the default place.
    settings
        All settings instead, as `LocalCluster` has them.
    confirm_timeout
        Seconds the broker may take to confirm a submission.
    connect_timeout
        Seconds the first connection may take.

    Raises
    ------
    NoWorkbench
        If no address is given and no workbench is running.
    BrokerUnavailable
        If the broker can't be reached; its subclass `BrokerRefused` if it refuses the credentials.
    """

    _listens = False

    def __init__(
        self,
        url: str | None = None,
        *,
        directory: str | Path | None = None,
        settings: Settings | None = None,
        confirm_timeout: float = CONFIRM_TIMEOUT,
        connect_timeout: float = CONNECT_TIMEOUT,
    ) -> None:
        self.settings = settings or Settings.load(url, directory=directory)
        self.engine = Engine(self.settings, new_name("client"), listens=self._listens)
        self._topology = Topology(self.settings.namespace)
        self._confirm_timeout = confirm_timeout
        self._options = SubmitOptions()
        try:
            self.engine.connect(connect_timeout)
        except BaseException:
            self.engine.close()
            raise

    def __repr__(self) -> str:
        where = self.settings.broker_url.rpartition("@")[2] or self.settings.broker_url
        state = "connected" if self.engine.state is ConnectionState.OPEN else self.engine.state.value
        return f"<{type(self).__name__} of {where}: {state}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. Tasks go on without them. May be called twice."""
        self.engine.close()

    @functools.cached_property
    def files(self) -> Files:
        """Which files can be referred to, and where large values go."""
        return Files(self.settings.store, self.settings.roots)

    def with_options(
        self,
        *,
        timeout: float | None = None,
        soft_timeout: float | None = None,
        retries: int | None = None,
        retry: RetryPolicy | None = None,
        lane: str | None = None,
        expires: float | timedelta | None = None,
        deadline: float | timedelta | None = None,
    ) -> Self:
        """Return a view that submits with these options; it shares the connections.

        Parameters
        ----------
        timeout
            Seconds one attempt may run before it is killed.
        soft_timeout
            Seconds after which `wb.SoftTimeLimit` is raised in the operation, so that it can end in order.
        retries
            Further attempts after a failed first one: short for `retry=wb.RetryPolicy(attempts=retries + 1)`.
        retry
            When a failed attempt is followed by another.
        lane
            The lane whose queue takes the tasks; a worker started with `--lane` serves it.
        expires
            Seconds (or a timedelta) after which a task that has not been started is dropped.
        deadline
            Seconds (or a timedelta) within which the task has to end, its waits and retries included.

        Raises
        ------
        InvalidArguments
            If a number is out of its range, or the lane isn't one lower-case word.
        """
        given = {
            "timeout": timeout,
            "soft_timeout": soft_timeout,
            "retry": policy_of(retries, retry),
            "lane": lane if lane is None else routing.check_word(lane, "lane"),
            "expires": _seconds(expires),
            "deadline": _seconds(deadline),
        }
        for name in ("timeout", "soft_timeout", "expires", "deadline"):
            check_seconds(name, given[name])
        given = {name: value for name, value in given.items() if value is not None}
        view = copy.copy(self)
        view._options = msgspec.structs.replace(self._options, **given)
        return view

    def submit(self, operation: str, /, *args: object, **kwargs: object) -> TaskHandle:
        """Submit one task; return its handle once the broker has confirmed it.

        Parameters
        ----------
        operation
            Its name, such as `"image.thumbnail"`.
        *args, **kwargs
            The operation's arguments. Files may be given as paths: below a shared root they travel by reference,
            others are copied into the store once.

        Raises
        ------
        UnknownOperation
            With the names that come close.
        InvalidArguments
            Naming the parameter, what it takes, and what it got.
        BrokerUnavailable
            If the broker hasn't confirmed in time: `BrokerBlocked` where an alarm is why, `QueueFull` where a queue
            takes no more. The submission is given up then, and withdrawn if the broker may have it.
        """
        spec = self._spec(operation)
        task = self._task(spec, args, kwargs)
        handle = self._handle(task)
        self.engine.publish([self._outgoing(task)], self._confirm_timeout).result()
        return handle

    def map(self, operation: str, items: Iterable[object], /, **kwargs: object) -> TaskGroup:
        """Submit one task for each item, as its first argument, pipelined.

        Parameters
        ----------
        operation
            Its name.
        items
            The first argument of each task.
        **kwargs
            Further arguments, the same for all.

        Returns
        -------
        TaskGroup
            The handles, in the order of the items, once all are confirmed. Raises as `submit` does; what was submitted
            before a bad item goes on.
        """
        if isinstance(items, str | bytes):
            raise InvalidArguments(f"items takes a list (or another iterable) of first arguments, got {items!r}")
        spec = self._spec(operation)
        handles: list[TaskHandle] = []
        under_way: list[Future[None]] = []
        chunk: list[Outgoing] = []
        size = 0
        for item in items:
            task = self._task(spec, (item,), kwargs)
            handles.append(self._handle(task))
            chunk.append(self._outgoing(task))
            size += len(chunk[-1].body)
            if len(chunk) == _CHUNK or size >= _CHUNK_BYTES:
                under_way.append(self.engine.publish(chunk, self._confirm_timeout))
                chunk, size = [], 0
                if len(under_way) == _CHUNKS_AHEAD:
                    under_way.pop(0).result()
        if chunk:
            under_way.append(self.engine.publish(chunk, self._confirm_timeout))
        for publication in under_way:
            publication.result()
        return TaskGroup(handles)

    def upload(self, path: str | os.PathLike[str], *, progress: Progress | None = None) -> FileRef:
        """Copy a local file into the store; return a reference once it is there.

        Submitting does so by itself for files that workers can't see. Uploading first pays where a file is large, or
        several tasks take it, and keeps it as it is now, also where it lies below a shared root.

        Parameters
        ----------
        path
            The file, of any size: it is sent in chunks.
        progress
            Called with the bytes that are through, and all of them. Without it a large file's way is shown in a
            notebook or terminal.

        Returns
        -------
        FileRef
            To be given to any operation that takes a file. It lasts for the retention time, and as long as a task that
            it was given to is kept.

        Raises
        ------
        InputNotFound
            If there is no such file here.
        InvalidArguments, PathRefused
            If it isn't a regular file, or is a URL.
        StoreError
            If the store isn't known, or can't be written. Whatever interrupts it, nothing half-sent is ever seen.

        Examples
        --------
        ::

            flights = client.upload("flights.csv")
            client.submit("convert.table", flights, to="parquet")
        """
        return transfer.upload(self.files, path, progress)

    def download(self, ref: FileRef, path: str | os.PathLike[str] = ".", *, progress: Progress | None = None) -> Path:
        """Copy a reference's file to a local path; return that.

        Parameters
        ----------
        ref
            As it came back in a result, or from `upload`, or made by hand.
        path
            Where to: a directory keeps the file's name. A file of this name is replaced, once the new one is complete.
        progress
            As for `upload`.

        Raises
        ------
        InputNotFound, PathRefused
            If the file isn't there, as seen from here, or lies outside the shared roots.
        StoreError
            If it should lie in the store and can't be read from there, or the copy can't be written.
        """
        return transfer.download(self.files, ref, path, progress)

    def _spec(self, name: str) -> OperationSpec:
        """Find out what an operation takes, and see to it that its family has a queue."""
        routing.check_operation(name)
        operation = registry.find(name)
        family = routing.family_of(name)
        if operation is not None:
            if family not in routing.FAMILIES:
                self.engine.declare(self._topology.family(family), self._confirm_timeout).result()
            return operation.spec
        return self._foreign_spec(name)

    def _foreign_spec(self, name: str) -> OperationSpec:
        """Return the spec of an operation that isn't registered here. A producer can't know what workers announce."""
        if routing.family_of(name) in (*routing.FAMILIES, *registry.families()):
            raise registry.unknown(name, ())
        return _unchecked(name)

    def _task(self, spec: OperationSpec, args: tuple[object, ...], kwargs: dict[str, object]) -> Task:
        try:
            bound_args, bound_kwargs = signature.bind(
                spec, args, kwargs, functools.partial(arguments.to_wire, files=self.files)
            )
        except RecursionError:
            raise UnsupportedValue(f"{spec.name}: an argument is nested too deeply, or contains itself") from None
        raw_args, raw_kwargs = codecs.encode_call(bound_args, bound_kwargs, self.files)
        options, now = self._options, utcnow()
        return Task(
            task_id=new_task_id(),
            operation=spec.name,
            args=raw_args,
            kwargs=raw_kwargs,
            client=self.engine.name,
            submitted_at=now,
            queued_at=now,
            lane=options.lane,
            timeout=options.timeout if options.timeout is not None else spec.timeout,
            soft_timeout=options.soft_timeout if options.soft_timeout is not None else spec.soft_timeout,
            retry=options.retry if options.retry is not None else spec.retry,
            expires_at=_after(now, options.expires),
            deadline_at=_after(now, options.deadline),
        )

    def _outgoing(self, task: Task) -> Outgoing:
        return Outgoing(
            self._topology.submit,
            routing.routing_key(task.operation, task.lane),
            messages.encode(task),
            message_id=task.task_id,
        )

    def _handle(self, task: Task) -> TaskHandle:
        return TaskHandle(task.task_id, task.operation)


def _seconds(time: float | timedelta | None) -> float | None:
    return time.total_seconds() if isinstance(time, timedelta) else time


def _after(now: datetime, seconds: float | None) -> datetime | None:
    return None if seconds is None else now + timedelta(seconds=seconds)


def _unchecked(name: str) -> OperationSpec:
    """Describe an operation of which nothing but its name is known: the worker will check."""
    anything = (
        messages.ParameterSpec(name="args", form="var_positional", required=False),
        messages.ParameterSpec(name="kwargs", form="var_keyword", required=False),
    )
    return OperationSpec(name=name, parameters=anything)
