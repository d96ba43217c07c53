"""Handing out work: whoever has time gets the next task, and the task of a dead worker another."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

from captum_spes.corpus.workers import Lane
from captum_spes.errors import ArgumentError

# A task whose worker died is tried so often, and so is a worker that dies before it answers.
TRIES = 3
_NEVER_BEGUN = (
    "the model cannot be loaded, or a script lacks if __name__ == '__main__': before the call"
)
# Recordings are decoded meanwhile, where that lets other threads run.
_DECODERS = 2


class WorkerDiedError(RuntimeError):
    """A task killed whoever was handed it."""


@dataclass
class _Task:
    """Something to be done.

    Attributes:
        key: whose result it is.
        value: what the worker gets, when it is there.
        tries: how many workers died of it.
    """

    key: str
    value: Future[Any]
    tries: int = 0


@dataclass(eq=False)
class _Worker:
    """One worker.

    Attributes:
        lane: the way to it.
        sent: what waits at it, the first being what it does.
        innocent: what waited at it when it died, and is lost with it.
        deaths: how often it died without an answer; when that was too often nothing is sent to it.
        is_ready: whether it has answered since it began, or died.
    """

    lane: Lane
    sent: dict[Future[Any], _Task] = field(default_factory=dict)
    innocent: set[Future[Any]] = field(default_factory=set)
    deaths: int = 0
    is_ready: bool = False

    def is_free(self) -> bool:
        """Whether it can be sent a task."""
        return self.is_ready and len(self.sent) < self.lane.depth


class Team:
    """Workers that are handed tasks.

    Args:
        lanes: the ways to them.

    Raises:
        ArgumentError: (of each method) none of them can begin, or they have different models.
    """

    def __init__(self, lanes: Sequence[Lane]) -> None:
        self._workers = [_Worker(lane) for lane in lanes]
        self._sent: dict[Future[Any], _Worker] = {}
        self._asked: dict[Future[Any], _Worker] = {}
        self._done: SimpleQueue[Future[Any]] = SimpleQueue()
        self._identity: Any = None
        for worker in self._workers:
            self._ask(worker)

    def identity(self) -> Any:
        """What the work of all of them is; waits for the first of them."""
        while self._identity is None:
            self._hear(self._done.get())
        return self._identity

    def has_more(self) -> bool:
        """Whether something else has been found, which :meth:`results` is about to yield."""
        return any(future.done() for future in self._sent)

    def results(
        self,
        tasks: Iterable[tuple[str, Any]],
        prepare: Callable[[Any], Any] = lambda task: task,
    ) -> Iterator[tuple[str, Any]]:
        """Do all tasks.

        Args:
            tasks: keys and what workers are sent.
            prepare: what is made of a task first, in threads of this process, ahead of its turn.

        Yields:
            Keys with what was found, or with the exception that there was, as they come.
        """
        with ThreadPoolExecutor(_DECODERS, "prepare") as threads:
            left = _Left(tasks, lambda task: threads.submit(prepare, task))
            while True:
                yield from self._hand_out(left)
                if not self._sent and not left:
                    return
                future = self._done.get()
                if future in self._asked:
                    self._hear(future)
                    continue
                worker = self._sent.pop(future)
                found = self._outcome(worker, future, left)
                if found is None:
                    continue
                if not worker.lane.is_here:  # it works while this one is written
                    yield from self._hand_out(left, has_found=True)
                yield found

    def _hand_out(self, left: _Left, has_found: bool = False) -> Iterator[tuple[str, Any]]:
        """Send tasks, the least busy worker first; yields those that could not be prepared. Waits
        for the next one to be prepared, but not where something has been found."""
        while True:
            free = [own for own in self._workers if own.is_free()]
            left.prepare(len(self._workers) + 1)
            if not free or not left:
                return
            if (has_found or self.has_more()) and not left.is_prepared():
                return  # what was found is written first
            task = left.take()
            try:
                value = task.value.result()
            except Exception as error:
                yield task.key, error
                continue
            worker = min(free, key=lambda own: len(own.sent))
            future = worker.lane.send(value)
            worker.sent[future], self._sent[future] = task, worker
            future.add_done_callback(self._done.put)

    def _outcome(self, worker: _Worker, future: Future[Any], left: _Left) -> tuple[str, Any] | None:
        """What came of a task; None where it is to be tried again."""
        error = future.exception()
        if error is None or not worker.lane.is_death(error):
            return worker.sent.pop(future).key, future.result() if error is None else error
        if future not in worker.innocent:
            self._note_death(worker)
        task = worker.sent.pop(future)
        if future in worker.innocent:
            worker.innocent.remove(future)
        else:
            task.tries += 1
        if task.tries >= TRIES:
            died = f"its worker died {task.tries} times ({_line(error)})"
            return task.key, WorkerDiedError(died)
        left.put_back(task)
        return None

    def _note_death(self, worker: _Worker) -> None:
        """Send nothing to a worker that died until it answers. What waited at it may be lost, and
        is not what it died of: that is the first, whichever is heard of first."""
        if worker.lane.loses_tasks:
            worker.innocent |= set(list(worker.sent)[1:])
        if worker.is_ready:
            self._ask(worker)

    def _ask(self, worker: _Worker) -> None:
        """Only who has answered gets tasks: on a cluster that is full a worker may wait for its
        place for hours."""
        worker.is_ready = False
        future = worker.lane.identity()
        self._asked[future] = worker
        future.add_done_callback(self._done.put)

    def _hear(self, answer: Future[Any]) -> None:
        worker, error = self._asked.pop(answer), answer.exception()
        if error is None:
            self._check_identity(answer.result())
            worker.deaths, worker.is_ready = 0, True
            return
        if not worker.lane.is_death(error):
            raise error
        worker.deaths += 1
        if worker.deaths < TRIES:
            self._ask(worker)
        elif not self._asked and not any(own.is_ready for own in self._workers):
            what = _NEVER_BEGUN if self._identity is None else "no worker lives"
            raise ArgumentError(f"{what}: {_line(error)}") from error

    def _check_identity(self, found: Any) -> None:
        if self._identity is None:
            self._identity = found
        if found != self._identity:
            raise ArgumentError(
                f"workers have different models, {self._identity} and {found}: let all of them "
                "load the same one."
            )


class _Left:
    """Tasks in their order, the next of them prepared."""

    def __init__(
        self, tasks: Iterable[tuple[str, Any]], prepare: Callable[[Any], Future[Any]]
    ) -> None:
        self._rest, self._prepare = iter(tasks), prepare
        self._next: deque[_Task] = deque()

    def __bool__(self) -> bool:
        self.prepare(1)
        return bool(self._next)

    def prepare(self, count: int) -> None:
        """Let so many tasks be prepared."""
        while len(self._next) < count:
            found = next(self._rest, None)
            if found is None:
                return
            self._next.append(_Task(found[0], self._prepare(found[1])))

    def is_prepared(self) -> bool:
        """Whether the next one is."""
        return self._next[0].value.done()

    def take(self) -> _Task:
        return self._next.popleft()

    def put_back(self, task: _Task) -> None:
        self._next.appendleft(task)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())
