"""Who gets which task, and who is blamed for a death: with workers that are told when to die."""

import threading
from concurrent.futures import Future

import pytest

from captum_spes.corpus.team import Team
from captum_spes.corpus.workers import Lane
from captum_spes.errors import ArgumentError


class DeathError(Exception):
    pass


class Told(Lane):
    """A worker that does nothing until it is told to.

    Attributes:
        waiting: futures by task, in the order in which they came.
    """

    def __init__(self, identity="one", loses_tasks=False):
        self.waiting, self.asked, self.sent = {}, [], []
        self.loses_tasks, self._identity = loses_tasks, identity
        self.is_silent = False

    def identity(self):
        future = Future()
        self.asked.append(future)
        if not self.is_silent:
            future.set_result(self._identity)
        return future

    def send(self, task):
        self.sent.append(task)
        self.waiting[task] = Future()
        return self.waiting[task]

    def is_death(self, error):
        return isinstance(error, DeathError)

    def does(self, task):
        self.waiting.pop(task).set_result(f"{task} done")

    def dies(self):
        """The first task is what it does; the others wait at it, and may be lost with it."""
        lost = list(self.waiting) if self.loses_tasks else list(self.waiting)[:1]
        for task in reversed(lost):  # in whatever order they are heard of
            self.waiting.pop(task).set_exception(DeathError("signal 9"))


def tasks(count):
    return [(f"key {number}", number) for number in range(count)]


def test_each_worker_has_two_tasks_at_most_and_none_before_it_answers():
    early, late = Told(), Told()
    late.is_silent = True
    team = Team([early, late])
    assert team.identity() == "one"
    found = team.results(tasks(5))
    step(found, early, 0)
    assert early.sent == [0, 1, 2]
    assert late.sent == []
    late.asked[0].set_result("one")
    step(found, early, 1)
    step(found, late, late.sent[0])
    assert sorted(early.sent + late.sent) == [0, 1, 2, 3, 4]


def step(results, lane, task):
    """Let a worker do a task, which is handed out first, and take the result."""
    threading.Timer(0.05, lambda: lane.does(task)).start()
    assert next(results) == (f"key {task}", f"{task} done")


@pytest.mark.parametrize("loses_tasks", [False, True])
def test_only_what_a_worker_did_is_blamed_for_its_death(loses_tasks):
    """Task 0 kills its worker each time, task 1 waits at it each time."""
    lane = Told(loses_tasks=loses_tasks)
    found = Team([lane]).results(tasks(3))
    seen = {}
    done = threading.Event()

    def live():
        while not done.wait(0.01):
            if lane.waiting:
                (first, *_) = lane.waiting
                if first == 0:
                    lane.dies()
                else:
                    lane.does(first)

    worker = threading.Thread(target=live)
    worker.start()
    try:
        for key, value in found:
            seen[key] = value
    finally:
        done.set()
        worker.join()
    assert seen.pop("key 0").args == ("its worker died 3 times (signal 9)",)
    assert seen == {"key 1": "1 done", "key 2": "2 done"}
    assert lane.sent.count(0) == 3


def test_what_cannot_be_prepared_is_told_and_the_rest_goes_on():
    lane = Told()

    def prepare(task):
        if task == 1:
            raise ValueError("no sound")
        return task

    found = Team([lane]).results(tasks(3), prepare)
    key, error = next(found)
    assert (key, str(error)) == ("key 1", "no sound")
    assert lane.sent == [0]


def test_what_was_found_does_not_wait_for_what_is_prepared():
    lane, may_go_on = Told(), threading.Event()

    def prepare(task):
        if task == 2:
            may_go_on.wait()
        return task

    found = Team([lane]).results(tasks(4), prepare)
    step(found, lane, 0)  # task 2 is to be handed out now
    lane.does(1)
    assert next(found) == ("key 1", "1 done")
    may_go_on.set()
    assert not lane.waiting


def test_a_worker_that_answers_late_is_nothing_that_was_found():
    """What waits for more to be found would wait for the next task."""
    early, late = Told(), Told()
    late.is_silent = True
    team = Team([early, late])
    found = team.results(tasks(4))
    step(found, early, 0)
    late.asked[0].set_result("one")
    assert not team.has_more()
    early.does(1)
    assert team.has_more()


def test_other_models_are_refused():
    with pytest.raises(ArgumentError, match="workers have different models"):
        list(Team([Told(), Told("other")]).results(tasks(1)))


def test_workers_that_never_begin_are_given_up():
    class Dead(Told):
        def identity(self):
            future = Future()
            future.set_exception(DeathError("no  memory"))
            self.asked.append(future)
            return future

    lanes = [Dead(), Dead()]
    with pytest.raises(ArgumentError, match=r"cannot be loaded, or .*: no memory"):
        Team(lanes).identity()
    assert [len(lane.asked) for lane in lanes] == [3, 3]
