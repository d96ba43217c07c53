"""A corpus on a cluster of Ray's: the same explanations as anywhere, also where workers die."""

import os
from functools import partial

import pytest

from captum_spes.corpus import ExplanationStore, RayWorkers, explain_corpus
from captum_spes.errors import ArgumentError
from tests.corpus.test_runner import (  # noqa: F401
    GIVEN,
    contents,
    demo,
    dying,
    undisturbed,
    utterances,
)

ray = pytest.importorskip("ray", reason="needs Ray")


@pytest.fixture(scope="module")
def cluster():
    """The address of a cluster of two machines with a place each, simulated by Ray on this one."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        # What unpickles the functions of these files has to find them.
        patch.setenv("PYTHONPATH", os.pathsep.join([os.getcwd(), os.environ.get("PYTHONPATH", "")]))
        found = Cluster(
            initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
        )
        found.add_node(num_cpus=1)
        yield found.address
        found.shutdown()


def test_workers_of_a_cluster_give_the_same_also_where_one_dies(
    undisturbed,  # noqa: F811
    tmp_path,
    cluster,
):
    """It is made anew, and what it had begun is explained by another one."""
    with ExplanationStore(tmp_path / "maps.h5") as store:
        model = partial(dying, tmp_path / "marker")
        run = explain_corpus(utterances(), store, model=model, workers=cluster, **GIVEN)
    assert (tmp_path / "marker").exists()
    assert run.failures == {}
    assert contents(tmp_path / "maps.h5") == undisturbed
    assert not ray.is_initialized()


def test_a_model_that_cannot_be_loaded_is_told(tmp_path, monkeypatch):
    """By Ray of this machine, which is ended; the settings of the environment are as before."""
    monkeypatch.delenv("RAY_USAGE_STATS_ENABLED", raising=False)
    workers = RayWorkers("local", count=1)
    with (
        ExplanationStore(tmp_path / "maps.h5") as store,
        pytest.raises(ArgumentError, match="no such model"),
    ):
        explain_corpus(utterances(1), store, model="./no/folder", workers=workers, **GIVEN)
    assert not ray.is_initialized()
    assert "RAY_USAGE_STATS_ENABLED" not in os.environ
    assert not (tmp_path / "maps.h5").exists()


def test_what_is_no_cluster_is_told(tmp_path):
    with pytest.raises(ArgumentError, match="address must be"):
        RayWorkers(" ")
    with pytest.raises(ArgumentError, match="at least 1"):
        RayWorkers(count=0)
    store = ExplanationStore(tmp_path / "a.h5")
    for address in ("127.0.0.1:1", "nonsense"):
        with pytest.raises(ArgumentError, match="no cluster of Ray's can be reached"):
            explain_corpus(utterances(1), store, model=demo, workers=address)
    with pytest.raises(ArgumentError, match="at least 1"):
        explain_corpus(utterances(1), store, model=demo, workers=0)
