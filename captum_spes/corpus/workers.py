"""Where work over many recordings is done: in this process, in others, or on a cluster of Ray's."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import Any, Protocol

from captum_spes.errors import (
    ArgumentError,
    ArgumentTypeError,
    optional_library,
    truth,
    whole_number,
)


class Work(Protocol):
    """What a worker holds, the model above all, and does with it. Each worker makes its own."""

    def identity(self) -> Any:
        """What must be the same in all workers, such as a digest of the model."""
        ...

    def __call__(self, task: Any) -> Any:
        """Do one task."""
        ...


MakeWork = Callable[[], Work]


class Lane(ABC):
    """The way to one worker.

    Attributes:
        depth: tasks that may wait at it, so that it never stands still and few are in memory.
        is_here: whether it computes while it is sent a task.
        loses_tasks: whether all that wait at it are lost when it dies, and not only the one that it
            was doing.
    """

    depth = 2
    is_here = False
    loses_tasks = False

    @abstractmethod
    def identity(self) -> Future[Any]:
        """Ask what ``Work.identity`` returns; a worker that died is made anew before it answers."""

    @abstractmethod
    def send(self, task: Any) -> Future[Any]:
        """Let a task be done."""

    def is_death(self, error: BaseException) -> bool:
        """Whether an error means that the worker died, and not that the task failed."""
        return False


class Workers(ABC):
    """Where work is done; see its kinds."""

    @abstractmethod
    def opened(self, make: MakeWork) -> AbstractContextManager[list[Lane]]:
        """Start workers that make their work by ``make``, and end them."""

    def at_most(self, count: int) -> Workers:
        """No more workers than there are tasks."""
        return self

    def __repr__(self) -> str:
        values = ", ".join(f"{name.strip('_')}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({values})"


class ThisProcess(Workers):
    """Work that is done here, one task after another.

    Args:

        one_thread (bool, optional): Whether torch gets one thread meanwhile, as it has in other
                    workers: with several, sums are added up in another order, which changes the
                    last bits of maps. What fills a store asks for it.
                    Default: False, all threads that torch has

    Examples::

        >>> ThisProcess()
        ThisProcess(one_thread=False)
    """

    def __init__(self, one_thread: bool = False) -> None:
        self._one_thread = truth("one_thread", one_thread)

    @contextmanager
    def opened(self, make: MakeWork) -> Iterator[list[Lane]]:
        import torch

        before = torch.get_num_threads()
        if self._one_thread:
            torch.set_num_threads(1)
        try:
            yield [_Here(make())]
        finally:
            torch.set_num_threads(before)


class LocalWorkers(Workers):
    r"""
    Processes of this machine, each with one thread: with several, sums would be added up in another
    order, which changes the last bits of maps.

    Args:

        count (int): How many.
        device (str, optional): Where their models are. With "cuda" and several GPUs they are dealt
                    out in turn: a worker sees its own and no other. Otherwise it changes nothing.
                    Default: None

    Raises:
        ArgumentError: ``count`` is less than 1; when work begins: what the processes need, a
            function that returns the model for example, cannot be pickled.
        ImportError: pebble is not installed (when work begins).

    A script has to call what works under ``if __name__ == "__main__":``, as each process reads the
    script anew.

    Examples::

        >>> LocalWorkers(2)
        LocalWorkers(count=2, device=None)
    """

    def __init__(self, count: int, device: str | None = None) -> None:
        self._count, self._device = whole_number("workers", count, 1), device

    @contextmanager
    def opened(self, make: MakeWork) -> Iterator[list[Lane]]:
        pebble = optional_library("pebble", "work in several processes", "store")
        _check_can_be_sent(make)
        # No thread or lock of this process goes over into the others.
        context = multiprocessing.get_context("spawn")
        with ExitStack() as stack:
            lanes: list[Lane] = []
            for gpu in self._gpus():
                new = partial(
                    pebble.ProcessPool, max_workers=1, context=context, initializer=begin,
                    initargs=(make, gpu),
                )  # fmt: skip
                lane = _OfPebble(new, pebble.ProcessExpired)
                stack.push(lane.end)
                lanes.append(lane)
            yield lanes

    def at_most(self, count: int) -> Workers:
        return LocalWorkers(max(1, min(self._count, count)), self._device)

    def _gpus(self) -> list[int | None]:
        import torch

        there = torch.cuda.device_count() if self._device == "cuda" else 0
        return [number % there if there > 1 else None for number in range(self._count)]


def _check_can_be_sent(make: MakeWork) -> None:
    try:
        content = pickle.dumps(make)
        if b"__main__" in content and not hasattr(sys.modules["__main__"], "__file__"):
            raise ArgumentError("it stands in a notebook, which they cannot read")
    except Exception as error:  # whatever an object makes of being pickled
        raise ArgumentError(
            f"other processes cannot be sent what they need ({' '.join(str(error).split())}): "
            "functions have to stand in a module, and a lambda does not."
        ) from error


def workers_of(workers: int | str | Workers, device: str | None = None) -> Workers:
    """Read what ``workers`` of a function can be: a number, "ray", an address, or workers.

    Raises:
        ArgumentError: it is a number below 1 or an empty address.
        ArgumentTypeError: it is none of these.
    """
    if isinstance(workers, Workers):
        return workers
    if isinstance(workers, str):
        from captum_spes.corpus.cluster import LOCAL, RayWorkers

        return RayWorkers(LOCAL if workers == "ray" else workers, device=device)
    if isinstance(workers, bool) or not hasattr(workers, "__index__"):
        raise ArgumentTypeError(
            'workers must be a number of processes, "ray", the address of a cluster, or one of the '
            f"classes of workers, got {workers!r}."
        )
    return LocalWorkers(workers, device)


# In the processes that work ---------------------------------------------------------------

_make: MakeWork | None = None
_work: Work | None = None


def begin(make: MakeWork, gpu: int | None) -> None:
    """Called once in each process. The model is loaded when it is first needed: what goes wrong
    here would kill the worker, which would be made anew for ever."""
    import warnings

    import torch

    global _make, _work
    if gpu is not None:  # before CUDA is asked for anything
        os.environ["CUDA_VISIBLE_DEVICES"] = str(gpu)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # each would be told for each recording and worker
    _make, _work = make, None


def do_task(task: Any) -> Any:
    """Called in a process that works."""
    with _sendable_errors():
        return _made()(task)


def tell_identity() -> Any:
    """Called in a process that works."""
    with _sendable_errors():
        return _made().identity()


@contextmanager
def _sendable_errors() -> Iterator[None]:
    """Exceptions of any library that cannot be sent, or not be made again, become one that can."""
    try:
        yield
    except Exception as error:
        try:
            is_sendable = type(pickle.loads(pickle.dumps(error))) is type(error)
        except Exception:
            is_sendable = False
        if is_sendable:
            raise
        raise RuntimeError(f"{type(error).__name__}: {error}") from None


def _made() -> Work:
    global _work
    if _work is None:
        if _make is None:
            raise ArgumentError("this process has not begun to work.")
        _work = _make()
    return _work


# Ways to them -----------------------------------------------------------------------------


class _Here(Lane):
    depth = 1
    is_here = True

    def __init__(self, work: Work) -> None:
        self._work = work

    def identity(self) -> Future[Any]:
        return _now(self._work.identity)

    def send(self, task: Any) -> Future[Any]:
        return _now(lambda: self._work(task))


class _OfPebble(Lane):
    """A pool of one process. It replaces a process that dies of a task, and breaks where one dies
    that has none; then there is a new pool."""

    def __init__(self, new: Callable[[], Any], expired: type[Exception]) -> None:
        self._new, self._pool = new, new()
        self._deaths = (expired, BrokenProcessPool, _PoolBrokenError)

    def identity(self) -> Future[Any]:
        if not self._pool.active:
            self.end(RuntimeError)
            self._pool = self._new()
        return self._scheduled(tell_identity)

    def send(self, task: Any) -> Future[Any]:
        return self._scheduled(do_task, task)

    def is_death(self, error: BaseException) -> bool:
        return isinstance(error, self._deaths)

    def end(self, kind: object, *_: object) -> None:
        """Let the process finish, or stop it after an error."""
        if kind is None:
            self._pool.close()
        else:
            self._pool.stop()
        self._pool.join()

    def _scheduled(self, function: Callable[..., Any], *args: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future = self._pool.schedule(function, args=args)
        except RuntimeError as error:  # it broke a moment ago
            future.set_exception(_PoolBrokenError(str(error)))
        return future


class _PoolBrokenError(Exception):
    """The process died before there was a task."""


def _now(call: Callable[[], Any]) -> Future[Any]:
    future: Future[Any] = Future()
    try:
        future.set_result(call())
    except Exception as error:
        future.set_exception(error)
    return future
