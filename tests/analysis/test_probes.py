"""Probes on planted codes: what is there is read, what is not there is not, and nothing leaks."""

import sys
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.neighbors import KNeighborsClassifier

from captum_spes.alignment import Alignment
from captum_spes.analysis import EncoderStates, phone_probe
from captum_spes.errors import ArgumentError, ArgumentTypeError
from tests.analysis.planted_states import FRAME, PHONES, Speech


@pytest.fixture(scope="module")
def speech():
    return Speech()


@pytest.fixture(scope="module")
def probe(speech):
    return phone_probe(speech.states, speech.alignments)


def of(probe, layer):
    return probe.table.set_index("layer").loc[layer]


class TestPlantedCodes:
    def test_the_layer_with_the_phones_tells_them(self, probe):
        row = of(probe, "phones")
        assert row["accuracy"] > 0.95
        assert row["low"] > 0.9
        assert row["low"] <= row["accuracy"] <= row["high"] <= 1

    def test_noise_tells_nothing(self, probe):
        row = of(probe, "noise")
        assert row["chance"] == 1 / len(PHONES)
        assert row["low"] < row["chance"] + 0.05
        assert row["accuracy"] < 0.35

    def test_gain_is_over_the_first_layer(self, probe):
        first, row = of(probe, "noise"), of(probe, "phones")
        assert first["gain"] == first["gain_low"] == first["gain_high"] == 0
        assert row["gain"] == pytest.approx(row["accuracy"] - first["accuracy"])
        assert 0.5 < row["gain_low"] <= row["gain"] <= row["gain_high"]

    def test_a_layer_of_words_is_not_selective(self, probe):
        """It tells phones by knowing words by heart; one with a code of phones does not."""
        words, phones = of(probe, "words"), of(probe, "phones")
        assert words["accuracy"] > 0.9
        assert words["control"] > 0.9
        assert words["selectivity"] < 0.1
        assert phones["selectivity"] > 0.3
        assert phones["selectivity"] == pytest.approx(phones["accuracy"] - phones["control"])
        assert phones["selectivity_low"] < phones["selectivity"] < phones["selectivity_high"]

    def test_one_row_for_each_frame_in_a_phone(self, probe, speech):
        frames = probe.frames
        spoken = sum(
            round((phone.end - phone.start) / FRAME)
            for own in speech.alignments.values()
            for phone in own.phones
        )
        assert len(frames) == len(probe.predicted) == spoken
        assert of(probe, "noise")["frames"] == spoken
        for layer in ("noise", "phones"):
            right = (probe.predicted[layer] == frames["phone"]).groupby(frames["phone"]).mean()
            assert right.mean() == pytest.approx(of(probe, layer)["accuracy"])
        row = frames.iloc[17]
        own = speech.states[row["utterance"]]
        [place] = np.flatnonzero(own.times == row["time"])
        assert own.loudness[place] == row["loudness"]
        [phone] = [
            phone.label
            for phone in speech.alignments[row["utterance"]].phones
            if phone.start <= row["time"] < phone.end
        ]
        assert phone == row["phone"]


class Spy(ClassifierMixin, BaseEstimator):
    """Fails where a recording that it was fitted on is asked for; the last value is its number."""

    def fit(self, states, labels):
        self.classes_ = np.unique(labels)
        self.heard_ = set(states[:, -1])
        return self

    def predict(self, states):
        assert not self.heard_ & set(states[:, -1])
        return np.repeat(self.classes_[:1], len(states))


def place_of(speech, utterance, time):
    """The word that is spoken, and how many phones of it were spoken before."""
    own = speech.alignments[utterance]
    [word] = [word for word in own.words if word.start <= time < word.end]
    before = [phone for phone in own.phones if word.start - 1e-9 <= phone.start <= time]
    return word.label, len(before) - 1


class OneLabel(ClassifierMixin, BaseEstimator):
    """Fails where the frames of one segment, whose number is their state, have several labels."""

    fitted: ClassVar[list] = []

    def fit(self, states, labels):
        for number in np.unique(states):
            assert len(set(labels[states[:, 0] == number])) == 1
        self.classes_ = np.unique(labels)
        self.fitted.append(labels)
        return self

    def predict(self, states):
        return np.repeat(self.classes_[:1], len(states))


class TestNothingLeaks:
    def test_codes_of_single_segments_help_nobody(self, probe):
        """Frames of a phone are alike: were they in training and test, both would be told."""
        row = of(probe, "segments")
        assert row["accuracy"] < 0.4
        assert row["shuffled"] < 0.35

    def test_codes_of_single_segments_help_where_recordings_are_divided(self, speech):
        """What the test before would see if they were."""
        frames = phone_probe(speech.states, speech.alignments, folds=2).frames
        states = np.concatenate([
            own.layers["segments"][[own.times.tolist().index(time) for time in rows["time"]]]
            for (_, rows), own in zip(
                frames.groupby("utterance", sort=False), speech.states.values(), strict=True
            )
        ])  # fmt: skip
        odd = np.arange(len(states)) % 2 == 1
        labels = frames["phone"].to_numpy(dtype=str)
        divided = KNeighborsClassifier(1).fit(states[odd], labels[odd])
        assert divided.score(states[~odd], labels[~odd]) > 0.8

    def test_controls_give_a_phone_one_label_from_end_to_end(self, speech):
        """Shuffled frame by frame, labels would show no leak."""
        numbered = {}
        for name, own in speech.states.items():
            phones = speech.alignments[name].phones
            segments = [
                next((n for n, p in enumerate(phones, 1) if p.start <= t < p.end), 0)
                for t in own.times
            ]
            number = 1000 * int(name[1:]) + np.array(segments, dtype=float)
            numbered[name] = replace(own, layers={"1": number[:, None]})
        OneLabel.fitted = []
        found = phone_probe(numbered, speech.alignments, classifier=OneLabel(), folds=2)
        heard = found.frames[found.frames["fold"] != 0].reset_index(drop=True)
        places = [place_of(speech, *row) for row in heard[["utterance", "time"]].to_numpy()]
        for control in OneLabel.fitted[1:4]:
            given = {place: set(control[[p == place for p in places]]) for place in set(places)}
            assert all(len(labels) == 1 for labels in given.values())
            # One for each place of a word, not for the word.
            words = {word for word, _ in given}
            several = [set.union(*(given[p] for p in given if p[0] == w)) for w in words]
            assert max(map(len, several)) > 1
        assert len(OneLabel.fitted) == 2 * (1 + 3 + 3)
        # Of all that was asked, in the first fold, no two are the same.
        assert len({tuple(labels) for labels in OneLabel.fitted[:7]}) == 7

    @pytest.mark.parametrize("n_speakers", [10, 3])
    def test_no_group_is_in_training_and_test(self, speech, n_speakers):
        groups = {name: f"s{number % n_speakers}" for number, name in enumerate(speech.states)}
        numbered = {
            name: replace(
                own,
                layers={
                    "1": np.hstack([
                        own.layers["noise"],
                        np.full((len(own.times), 1), float(groups[name][1:])),
                    ])
                },
            )
            for name, own in speech.states.items()
        }  # fmt: skip
        found = phone_probe(numbered, speech.alignments, groups=groups, classifier=Spy(), folds=3)
        assert (found.frames.groupby("group")["fold"].nunique() == 1).all()
        assert found.frames["fold"].nunique() == 3
        assert found.table["groups"].tolist() == [n_speakers]


class TestOptions:
    def test_seeds(self, speech, probe):
        again, other = (phone_probe(speech.states, speech.alignments, seed=s) for s in (0, 1))
        assert again.table.equals(probe.table)
        assert other.table["accuracy"].equals(probe.table["accuracy"])
        assert not other.table["control"].equals(probe.table["control"])
        assert not other.table["low"].equals(probe.table["low"])

    def test_own_classifier_is_not_changed(self, speech):
        own = KNeighborsClassifier(3)
        found = phone_probe(speech.states, speech.alignments, classifier=own)
        assert of(found, "phones")["accuracy"] > 0.9
        assert not hasattr(own, "classes_")

    def test_classes_in_the_place_of_phones(self, speech):
        found = phone_probe(speech.states, speech.alignments, classes={"a": "vowel", "k": "stop"})
        assert set(found.frames["phone"]) == {"vowel", "stop"}
        assert found.table["chance"].tolist() == [0.5] * 4
        assert of(found, "phones")["accuracy"] > 0.95

    def test_rare_phones_are_named(self, speech, probe):
        counts = probe.frames["phone"].value_counts()
        found = phone_probe(speech.states, speech.alignments, fewest=int(counts.min()) + 1)
        assert found.rare == {counts.idxmin(): counts.min()}
        assert of(found, "phones")["phones"] == 3
        assert not probe.rare

    def test_a_phone_of_one_recording_is_left_out(self, speech):
        own = speech.alignments["r0"]
        phones = (own.phones[0]._replace(label="x"), *own.phones[1:])
        times = {**speech.alignments, "r0": Alignment(own.words, phones)}
        assert "x" in phone_probe(speech.states, times, fewest=1).rare

    def test_utterances_without_phones_are_named(self, speech):
        times = dict(speech.alignments)
        del times["r0"]
        times["r1"] = Alignment(times["r1"].words)
        found = phone_probe(speech.states, times)
        assert found.dropped == dict.fromkeys(("r0", "r1"), "no times of phones")
        assert of(found, "noise")["groups"] == 8

    def test_without_words_there_is_no_control_task(self, speech, probe):
        """Phones as their own words would be told as well as phones are."""
        times = {name: Alignment((), own.phones) for name, own in speech.alignments.items()}
        found = phone_probe(speech.states, times).table
        assert found[["control", "selectivity", "selectivity_low"]].isna().all(axis=None)
        assert found["accuracy"].equals(probe.table["accuracy"])
        assert found["shuffled"].max() < 0.4

    def test_few_recordings_have_no_interval(self, speech):
        four = {name: speech.states[name] for name in ("r0", "r1", "r2", "r3")}
        found = phone_probe(four, speech.alignments, fewest=4)
        assert found.table[["low", "gain_high", "selectivity_low"]].isna().all(axis=None)
        assert found.frames["fold"].nunique() == 4


class TestErrors:
    def test_nothing_to_tell(self, speech):
        one = {"r0": speech.states["r0"]}
        with pytest.raises(ArgumentError, match="two phones and two groups"):
            phone_probe(one, speech.alignments)
        with pytest.raises(ArgumentError, match="two phones and two groups"):
            phone_probe(speech.states, speech.alignments, fewest=100_000)
        with pytest.raises(ArgumentError, match="two phones and two groups"):
            phone_probe(speech.states, {})

    def test_arguments(self, speech):
        with pytest.raises(ArgumentError, match="folds must be an int of at least 2"):
            phone_probe(speech.states, speech.alignments, folds=1)
        with pytest.raises(ArgumentError, match="groups lack the utterance 'r1'"):
            phone_probe(speech.states, speech.alignments, groups={"r0": "a"})
        with pytest.raises(ArgumentTypeError, match="dict of EncoderStates"):
            phone_probe({"r0": np.zeros((3, 4))}, speech.alignments)
        with pytest.raises(ArgumentError, match="no states"):
            phone_probe({}, speech.alignments)

    def test_layers_differ(self, speech):
        own = speech.states["r1"]
        other = replace(own, layers={"noise": own.layers["noise"]})
        with pytest.raises(ArgumentError, match="r1 has other layers than r0"):
            phone_probe({**speech.states, "r1": other}, speech.alignments)

    def test_without_scikit_learn(self, speech, monkeypatch):
        monkeypatch.setitem(sys.modules, "sklearn", None)
        with pytest.raises(ImportError, match=r"pip install 'captum-spes\[probes\]'"):
            phone_probe(speech.states, speech.alignments)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"times": np.arange(4.0)}, "one entry for each of the 4 times"),
        ({"times": np.array([0.0, 2.0, 1.0])}, "ascend"),
        ({"layers": {"1": np.full((3, 2), np.nan)}}, "1 holds NaN"),
        ({"layers": {"1": np.zeros(3)}}, "2 dimension"),
        ({"layers": {}}, "at least one layer"),
        ({"loudness": np.zeros((3, 1))}, "loudness must have 1 dimension"),
    ],
)
def test_states_are_checked(changes, message):
    good = {"layers": {"1": np.zeros((3, 2))}, "times": np.arange(3.0), "loudness": np.zeros(3)}
    EncoderStates(**good)
    with pytest.raises(ArgumentError, match=message):
        EncoderStates(**{**good, **changes})
