"""Many explanations in one file: what is in it comes out again, and nothing else happens to it."""

import contextlib
import itertools
import multiprocessing
import os
import subprocess
import threading
import time
import warnings
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch

from captum_spes import SpeechToTextAttributionResult
from captum_spes.corpus import ExplanationStore
from captum_spes.corpus.store_layout import packed, scanned_ids
from captum_spes.errors import ArgumentError, ArgumentTypeError
from tests.speech.test_result import make


def numbered(number):
    """An explanation that is told from others."""
    generator = torch.Generator().manual_seed(number)
    return replace(
        make(text=f"utterance {number}"),
        spectrogram_attr=torch.rand(3, 30, 80, generator=generator) - 0.5,
    )


def same(one, other):
    (arrays, text), (others, other_text) = one._stored(), other._stored()
    return text == other_text and all(arrays[n].tobytes() == others[n].tobytes() for n in arrays)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "maps.h5"


@pytest.fixture
def filled(path):
    with ExplanationStore(path) as store:
        for number in range(5):
            store.add(f"id {number}", numbered(number))
    return path


class TestWhatIsInIt:
    def test_everything_comes_back_bit_by_bit(self, filled, tmp_path):
        store = ExplanationStore(filled)
        assert store.ids() == list(store) == [f"id {number}" for number in range(5)]
        assert len(store) == 5
        assert "id 3" in store
        assert "id 5" not in store
        for number, (id_, result) in enumerate(store.items()):
            assert id_ == f"id {number}"
            assert same(result, numbered(number))
        numbered(2).save(tmp_path / "one.npz")
        assert same(store["id 2"], SpeechToTextAttributionResult.load(tmp_path / "one.npz"))
        with pytest.raises(KeyError):
            store["id 5"]

    def test_one_token(self, filled):
        store = ExplanationStore(filled)
        assert torch.equal(store.token_map("id 4", 2), numbered(4).spectrogram_attr[2])
        with pytest.raises(ArgumentError, match="token must be below 3"):
            store.token_map("id 4", 3)
        with pytest.raises(KeyError):
            store.token_map("nobody", 0)

    def test_more_than_fit_into_one_group(self, path):
        result = numbered(0)
        with ExplanationStore(path) as store:
            for number in range(66):
                store.add(str(number), result if number < 65 else numbered(65))
            assert same(store["65"], numbered(65))
        assert ExplanationStore(path).ids() == [str(number) for number in range(66)]

    def test_several_in_one_commit(self, path):
        """All of them or none, as where an id is there already; others that read see them."""
        images = [(f"id {n}", packed(h5py, f"id {n}", *numbered(n)._stored(), "float32"))
                  for n in range(70)]  # fmt: skip
        with ExplanationStore(path) as store, ExplanationStore(path) as reader:
            store.add("first", numbered(100))
            assert reader.ids() == ["first"]
            store._add_packed(images)
            assert store.ids() == reader.ids() == ["first", *(id_ for id_, _ in images)]
            with pytest.raises(ArgumentError, match="an explanation 'id 69' already"):
                store._add_packed([("new", images[0][1]), images[69]])
            assert "new" not in store
            store.add("last", numbered(101))
            assert all(same(store[f"id {number}"], numbered(number)) for number in range(70))
            assert same(store["last"], numbered(101))
            assert store.verify() == {}
        with ExplanationStore(path) as again:
            assert again.ids() == ["first", *(id_ for id_, _ in images), "last"]

    def test_half_precision(self, path):
        """Off by 1/2048 of a value, or 6e-8 of its token's largest; all else is exact."""
        result = numbered(1)
        small = replace(result, spectrogram_attr=result.spectrogram_attr * 1e-9)
        with ExplanationStore(path, precision="float16") as store:
            store.add("small", small)
            found = store["small"]
            assert torch.equal(store.token_map("small", 1), found.spectrogram_attr[1])
        values, error = small.spectrogram_attr, (found.spectrogram_attr - small.spectrogram_attr)
        largest = values.abs().amax((1, 2), keepdim=True)
        assert bool((error.abs() <= torch.maximum(values.abs() / 2048, largest * 6e-8)).all())
        assert bool((error != 0).any())
        assert same(replace(found, spectrogram_attr=values), small)

    def test_ids_of_any_text(self, path):
        ids = ["a/b", "..", "ü \n \U0001f600", "", "caf\udce9"]
        with ExplanationStore(path) as store:
            for id_ in ids:
                store.add(id_, numbered(0))
        assert ExplanationStore(path).ids() == ids

    def test_ids_with_halves_of_characters(self, path):
        """As JSON can hold them; the groups know them, too, where the index is lost."""
        ids = ["\ud800", "a\udcff"]
        with ExplanationStore(path) as store:
            for id_ in ids:
                store.add(id_, numbered(1))
            assert store.ids() == ids
            assert store.verify() == {}
        with h5py.File(path) as file:
            assert [id_ for _, id_ in scanned_ids(file)] == ids

    def test_a_link_leads_to_the_same_lock(self, filled, tmp_path):
        link = tmp_path / "link.h5"
        link.symlink_to(filled)
        with ExplanationStore(filled) as store, ExplanationStore(link) as linked:
            store.hold()
            with pytest.raises(ArgumentError, match="in use by process"):
                linked.add("new", numbered(1))

    def test_merging(self, filled, tmp_path):
        other, both = tmp_path / "other.h5", tmp_path / "both.h5"
        with ExplanationStore(other) as store:
            store.add("id 1", numbered(1))
            store.add("id 9", numbered(9))
        with ExplanationStore(both) as store:
            store.merge([filled, other])
            assert store.ids() == [*ExplanationStore(filled).ids(), "id 9"]
            assert same(store["id 9"], numbered(9))
        with ExplanationStore(other) as store:
            store.add("id 2", numbered(7))
        with (
            ExplanationStore(both) as store,
            pytest.raises(ArgumentError, match="different explanations 'id 2'"),
        ):
            store.merge([other])
        with ExplanationStore(both) as store, pytest.raises(FileNotFoundError):
            store.merge([tmp_path / "nowhere.h5"])

    def test_what_is_refused(self, filled, tmp_path):
        with ExplanationStore(filled) as store:
            with pytest.raises(ArgumentError, match="has an explanation 'id 1' already"):
                store.add("id 1", numbered(1))
            with pytest.raises(ArgumentTypeError, match="id_ must be a text"):
                store.add(3, numbered(1))
            with pytest.raises(ArgumentTypeError, match="result must be an explanation"):
                store.add("id", "text")
        with pytest.raises(ArgumentError, match="precision must be"):
            ExplanationStore(filled, precision="float64")
        os.mkfifo(tmp_path / "pipe.h5")
        for place in (tmp_path, tmp_path / "pipe.h5"):
            with pytest.raises(ArgumentError, match="is something else"):
                ExplanationStore(place)
        with pytest.raises(FileNotFoundError, match="no such folder"):
            ExplanationStore(tmp_path / "nowhere" / "maps.h5").add("id", numbered(0))
        assert not (tmp_path / "nowhere").exists()
        other = tmp_path / "text.h5"
        other.write_text("no store")
        with pytest.raises(ArgumentError, match="damaged, or no HDF5 file"):
            ExplanationStore(other)
        h5py.File(tmp_path / "foreign.h5", "w").close()
        with pytest.raises(ArgumentError, match=r"foreign\.h5 is no store of explanations"):
            ExplanationStore(tmp_path / "foreign.h5")


class TestManyProcesses:
    def test_the_second_writer_is_told_of_the_first(self, filled):
        with ExplanationStore(filled) as first:
            first.add("new", numbered(0))
            with ExplanationStore(filled) as second:
                assert len(second) == 6
                with pytest.raises(ArgumentError, match=f"in use by process {os.getpid()}"):
                    second.add("newer", numbered(0))
            first.close()
            with ExplanationStore(filled) as second:
                second.add("newer", numbered(0))
            assert "newer" in first

    def test_reading_while_it_is_written(self, path):
        """Every read finds whole explanations, and never fewer than before."""
        done = threading.Event()

        def write():
            try:
                with ExplanationStore(path) as store:
                    for number in range(40):
                        store.add(f"id {number}", numbered(number))
            finally:
                done.set()

        writer = threading.Thread(target=write)
        writer.start()
        reader, counts = ExplanationStore(path), [0]
        while not done.is_set():
            ids = reader.ids()
            counts.append(len(ids))
            for id_ in ids[-2:]:
                assert same(reader[id_], numbered(int(id_[3:])))
        writer.join()
        assert counts == sorted(counts)
        assert any(0 < count < 40 for count in counts), "it was read while it was written"
        assert reader.verify() == {}

    @pytest.mark.skipif(os.name == "nt", reason="signals of Unix")
    def test_a_killed_writer_loses_nothing_that_it_said_was_done(self, path):
        """Ten times at moments of its own: what it had named is there, whole, and it goes on."""
        generator, done = np.random.default_rng(0), 0
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["tests.corpus.test_store"])
        for _ in range(10):
            told, end = context.Pipe(duplex=False)
            process = context.Process(target=write_until_killed, args=(path, end))
            process.start()
            end.close()
            for _ in range(int(generator.integers(1, 4))):
                done = told.recv()
            # A moment somewhere in the next explanation.
            time.sleep(float(generator.uniform(0, 0.02)))
            process.kill()
            process.join()
            done = max([done, *rest_of(told)])
            with ExplanationStore(path) as store:
                assert store.ids()[: done + 1] == [f"id {number}" for number in range(done + 1)]
                assert store.verify() == {}
        for id_, result in ExplanationStore(path).items():
            assert same(result, numbered(int(id_[3:])))


def write_until_killed(path, told):
    """Add one explanation after the other, and tell its number when it is there."""
    with ExplanationStore(path) as store:
        for number in range(1000):
            if f"id {number}" not in store:
                store.add(f"id {number}", numbered(number))
                told.send(number)


def rest_of(told):
    """What a process had told when it was killed."""
    found = []
    with told, contextlib.suppress(EOFError, OSError):
        while True:
            found.append(told.recv())
    return found


class TestDamage:
    def test_a_flipped_byte_is_told_by_name(self, filled):
        """In the middle of one map: that explanation is named, all others can be read."""
        content = bytearray(filled.read_bytes())
        with ExplanationStore(filled) as store:
            dataset = store._snapshots.read(
                lambda file: file["explanations/00/00/02/spectrogram_attr"]
            )
            offset = dataset.id.get_chunk_info(1).byte_offset
        content[offset + 100] ^= 1
        filled.write_bytes(content)
        store = ExplanationStore(filled)
        assert list(store.verify()) == ["id 2"]
        with pytest.raises(ArgumentError, match=r"'id 2' is damaged"):
            store["id 2"]
        for number in (0, 1, 3, 4):
            assert same(store[f"id {number}"], numbered(number))

    @pytest.mark.parametrize("share", [0.35, 0.6, 0.9])
    def test_a_cut_off_file(self, filled, share):
        """What stands before the cut can be read; the rest is named; nothing can be added."""
        size = filled.stat().st_size
        os.truncate(filled, int(share * size))
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            store = ExplanationStore(filled)
        assert "is cut off" in str(told[0].message)
        damaged, readable = store.verify(), 0
        assert damaged or len(store) < 5
        for number in range(5):
            if f"id {number}" not in damaged and f"id {number}" in store:
                assert same(store[f"id {number}"], numbered(number))
                readable += 1
        assert readable == {0.35: 0, 0.6: 2, 0.9: 4}[share]
        with pytest.raises(ArgumentError, match="is cut off"):
            store.add("new", numbered(0))
        store.close()

    def test_a_commit_that_was_cut_off_is_finished(self, filled, monkeypatch):
        """Killed between the journal and the file: the explanation is there; within the journal: it
        is not, and all else is."""
        journal = filled.with_name(f".{filled.name}.journal")
        for cut in (False, True):
            name, before = f"cut {cut}", filled.read_bytes()
            with ExplanationStore(filled) as store, monkeypatch.context() as patched:
                patched.setattr("captum_spes.io.transactions._apply", killed)
                with pytest.raises(KeyboardInterrupt):
                    store.add(name, numbered(8))
            assert filled.read_bytes()[: len(before)] == before
            if cut:
                os.truncate(journal, journal.stat().st_size // 2)
            with ExplanationStore(filled) as store:
                assert (name in store) is not cut
                assert store.verify() == {}
                assert same(store["id 4"], numbered(4))
            assert not journal.exists()
        assert same(ExplanationStore(filled)["cut False"], numbered(8))

    def test_a_full_disk(self, filled, monkeypatch):
        """Nothing changes, and the next one finds its place again."""
        before = filled.read_bytes()
        with ExplanationStore(filled) as store:
            with monkeypatch.context() as patched:
                patched.setattr(os, "posix_fallocate", full_disk)
                with pytest.raises(OSError, match="No space left"):
                    store.add("new", numbered(8))
            assert filled.read_bytes() == before
            assert len(store) == 5
            store.add("new", numbered(8))
            assert same(store["new"], numbered(8))

    def test_a_full_file_system(self, small_disk):
        """Explanations are added until it is full; what was added is there, and when there is
        space again the store goes on."""
        ballast = small_disk / "ballast"
        ballast.write_bytes(bytes(1_000_000))
        with ExplanationStore(small_disk / "maps.h5") as store:
            with pytest.raises(OSError, match="No space left"):
                fill(store)
            count = len(store)
            assert count > 3
            assert store.ids() == [str(number) for number in range(count)]
            assert store.verify() == {}
            ballast.unlink()
            store.add("more", numbered(3))
        with ExplanationStore(small_disk / "maps.h5") as store:
            assert len(store) == count + 1
            assert all(same(store[str(number)], numbered(number)) for number in range(count))


def fill(store):
    for number in itertools.count():
        store.add(str(number), numbered(number))
        assert len(store) == number + 1


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 4 MB, where one can be mounted."""
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(place)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no file system may be mounted here")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def killed(*_):
    raise KeyboardInterrupt


def full_disk(descriptor, start, length):
    """It is full when half of what is wanted is there."""
    os.ftruncate(descriptor, start + length // 2)
    raise OSError(28, "No space left on device")
