"""Workers on Ray: of this machine, or of a cluster."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from captum_spes.corpus.workers import (
    Lane,
    MakeWork,
    Workers,
    begin,
    do_task,
    tell_identity,
)
from captum_spes.errors import ArgumentError, optional_library, shown, whole_number

LOCAL = "local"
_TRIES = 3
# Seconds until a cluster must answer.
_PATIENCE = 10.0


class RayWorkers(Workers):
    r"""
    Actors of Ray, each with one thread, and one GPU where the model is on one.

    Workers that die are made anew by Ray, on another machine where theirs is gone. Recordings are
    read by the process that hands them out, so that only the model has to be where the workers are,
    and this package.

    Args:

        address (str, optional): "local" starts Ray on this machine; "auto" and others are what
                    ``ray.init`` takes: the address of a cluster. Where the process has called
                    ``ray.init`` before, that is what is used.
                    Default: "local"
        count (int, optional): How many workers.
                    Default: None, one for each GPU where ``device`` is "cuda", or else one for each
                    CPU
        device (str, optional): Where their models are; "cuda" gives each worker a GPU of its own.
                    Default: None, the CPU

    Raises:
        ArgumentError: ``count`` is less than 1, ``address`` is empty, or ``device`` names one GPU;
            when work begins: there is no cluster, or it has no GPU.
        ImportError: Ray is not installed (when work begins).

    Examples::

        >>> RayWorkers("local", count=2)
        RayWorkers(address='local', count=2, device=None)
    """

    def __init__(
        self, address: str = LOCAL, count: int | None = None, device: str | None = None
    ) -> None:
        if not isinstance(address, str) or not address.strip():
            raise ArgumentError(
                f'address must be "local" or that of a cluster, got {shown(address)}.'
            )
        if device is not None and device.startswith("cuda:"):
            raise ArgumentError(
                f'each worker on Ray has a GPU of its own: give device="cuda", not {device!r}.'
            )
        self._address, self._device = address, device
        self._count = None if count is None else whole_number("count", count, 1)

    def __repr__(self) -> str:
        names = ("address", "count", "device")
        values = ", ".join(f"{name}={getattr(self, f'_{name}')!r}" for name in names)
        return f"RayWorkers({values})"

    def at_most(self, count: int) -> Workers:
        if self._count is None:
            return self
        return RayWorkers(self._address, max(1, min(self._count, count)), self._device)

    @contextmanager
    def opened(self, make: MakeWork) -> Iterator[list[Lane]]:
        ray = optional_library("ray", "work on a cluster", "ray")
        with _connected(ray, self._address, self._count):
            has_gpu = str(self._device).startswith("cuda")
            kind = ray.remote(num_cpus=1, num_gpus=int(has_gpu), max_restarts=-1)(_Actor)
            actors = [kind.remote(make) for _ in range(self._count or _places(ray, has_gpu))]
            try:
                yield [_OfRay(ray, actor) for actor in actors]
            finally:
                for actor in actors:
                    ray.kill(actor)


@contextmanager
def _connected(ray: Any, address: str, count: int | None) -> Iterator[None]:
    if ray.is_initialized():
        yield
        return
    asked: dict[str, Any] = {"include_dashboard": False} if address == LOCAL else {}
    if address == LOCAL and count is not None:
        asked["num_cpus"] = max(count, os.cpu_count() or 1)
    with _environment({"RAY_USAGE_STATS_ENABLED": "0"}):  # nothing is told to anybody
        try:
            _check_answers(address)
            ray.init(address=address, log_to_driver=False, logging_level="ERROR", **asked)
        except (OSError, ValueError, RuntimeError) as error:
            raise ArgumentError(
                f"no cluster of Ray's can be reached at {address!r}: {error}"
            ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _check_answers(address: str) -> None:
    """Raise where nobody listens: Ray would ask for minutes, and end the process."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdigit() and "/" not in host:
        socket.create_connection((host, int(port)), timeout=_PATIENCE).close()


@contextmanager
def _environment(changes: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _places(ray: Any, has_gpu: bool) -> int:
    """How many workers the cluster has room for when it does nothing else."""
    name = "GPU" if has_gpu else "CPU"
    count = int(ray.cluster_resources().get(name, 0))
    if not count:
        raise ArgumentError(f"the cluster has no {name}: leave the device out, or join another.")
    return count


class _Actor:
    """What runs in each worker."""

    def __init__(self, make: MakeWork) -> None:
        begin(make, None)

    def identity(self) -> Any:
        return tell_identity()

    def do_task(self, task: Any) -> Any:
        return do_task(task)


class _OfRay(Lane):
    loses_tasks = True

    def __init__(self, ray: Any, actor: Any) -> None:
        self._ray, self._actor = ray, actor

    def identity(self) -> Future[Any]:
        # Waits, unlike a task, until an actor that Ray makes anew is there.
        asked = self._actor.identity.options(max_task_retries=_TRIES)
        return self._told(asked.remote())

    def send(self, task: Any) -> Future[Any]:
        return self._told(self._actor.do_task.remote(task))

    def is_death(self, error: BaseException) -> bool:
        kinds = self._ray.exceptions
        return isinstance(error, (kinds.RayActorError, kinds.ObjectLostError, kinds.RaySystemError))

    def _told(self, reference: Any) -> Future[Any]:
        """The future of a reference, with the error that there was and not what Ray made of it."""
        told: Future[Any] = Future()

        def tell(future: Future[Any]) -> None:
            error = future.exception()
            if error is None:
                told.set_result(future.result())
            elif isinstance(error, self._ray.exceptions.RayTaskError):
                told.set_exception(getattr(error, "cause", None) or error)
            else:
                told.set_exception(error)

        reference.future().add_done_callback(tell)
        return told
