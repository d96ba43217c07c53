"""Processes that work: those that die idle, and errors that cannot travel."""

import os
import signal
import time

import pytest
import torch

from captum_spes.corpus import LocalWorkers, RayWorkers, ThisProcess
from captum_spes.corpus.team import Team
from captum_spes.errors import ArgumentError


class OddError(Exception):
    """Pickled it cannot be made again."""

    def __init__(self, one, other):
        super().__init__(f"{one} and {other}")


class Echo:
    """Work without a model."""

    def identity(self):
        return {"same": "everywhere"}

    def __call__(self, task):
        if task == "odd":
            raise OddError("one", "other")
        return os.getpid() if task == "pid" else task


@pytest.mark.skipif(os.name == "nt", reason="signals of Unix")
def test_a_process_that_dies_without_a_task_is_replaced_and_any_error_comes_home():
    with LocalWorkers(1).opened(Echo) as lanes:
        team = Team(lanes)
        ((_, pid),) = team.results([("a", "pid")])
        os.kill(pid, signal.SIGKILL)
        time.sleep(1)  # until nobody can take it for one that died of a task
        found = dict(team.results([("b", "task"), ("c", "odd"), ("d", "pid")]))
    assert found["b"] == "task"
    assert found["d"] != pid
    assert isinstance(found["c"], RuntimeError)
    assert str(found["c"]) == "OddError: one and other"


def test_threads_of_this_process_are_as_before():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with ThisProcess(one_thread=True).opened(Echo):
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
        with ThisProcess().opened(Echo):
            assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_there_are_no_more_workers_than_tasks():
    assert repr(LocalWorkers(8, "cuda").at_most(3)) == "LocalWorkers(count=3, device='cuda')"
    assert repr(LocalWorkers(2).at_most(0)) == "LocalWorkers(count=1, device=None)"
    assert repr(RayWorkers(count=8).at_most(2)).startswith("RayWorkers(address='local', count=2")


def test_a_gpu_of_ones_own_has_no_number():
    with pytest.raises(ArgumentError, match="give device=\"cuda\", not 'cuda:1'"):
        RayWorkers(device="cuda:1")
