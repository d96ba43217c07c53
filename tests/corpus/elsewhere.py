"""Workers that are in this process, and are sent everything as other processes are."""

import pickle
from concurrent.futures import Future
from contextlib import contextmanager

from captum_spes.corpus import Workers
from captum_spes.corpus.workers import Lane


class DeathError(Exception):
    pass


class Pickled(Workers):
    """So many of them; each has a work of its own.

    Args:
        count: how many.
        dies_of: tells the tasks that kill whoever is sent them.

    Attributes:
        works: what they do.
    """

    def __init__(self, count, dies_of=lambda task: False):
        self.count, self.dies_of, self.works = count, dies_of, []

    @contextmanager
    def opened(self, make):
        yield [_Pickling(self, make) for _ in range(self.count)]


class _Pickling(Lane):
    def __init__(self, workers, make):
        self._workers, self._make, self._work = workers, pickle.dumps(make), None

    def identity(self):
        return self._told(lambda: self._made().identity())

    def send(self, task):
        if self._workers.dies_of(task):
            died = Future()
            died.set_exception(DeathError("signal 9"))
            return died
        sent = pickle.dumps(task)
        return self._told(lambda: self._made()(pickle.loads(sent)))

    def is_death(self, error):
        return isinstance(error, DeathError)

    def _made(self):
        if self._work is None:
            self._work = pickle.loads(self._make)()
            self._workers.works.append(self._work)
        return self._work

    def _told(self, call):
        future = Future()
        try:
            future.set_result(pickle.loads(pickle.dumps(call())))
        except Exception as error:
            future.set_exception(error)
        return future
