"""Whether salient frames are told better: planted effects are found, loudness makes none."""

import numpy as np
import pandas as pd
import pytest
import torch

from captum_spes.analysis import PhoneProbe, salient_phones, time_profiles
from captum_spes.errors import ArgumentError, ArgumentTypeError
from tests.analysis.planted import TIMES, bump, noise, planted_result

N, FRAMES = 20, 100


def planted(told, salience, seed=0, n=N):
    """A probe that tells frames with a probability that follows from loudness and phone, and the
    profiles. ``told`` and ``salience`` are functions of loudness, number of the phone, noise."""
    generator = np.random.default_rng(seed)
    rows, right, profiles = [], [], {}
    for name in map(str, range(n)):
        loudness, phone = generator.random(FRAMES), generator.integers(0, 2, FRAMES)
        values = salience(loudness, phone, generator.random(FRAMES))
        chance = told(loudness, phone, values)
        right += list(generator.random(FRAMES) < chance)
        times = 0.02 * np.arange(FRAMES)
        profiles[name] = times, values
        rows += [
            {"utterance": name, "group": name, "fold": 0, "time": t, "phone": "ab"[p],
             "loudness": own}
            for t, p, own in zip(times, phone, loudness, strict=True)
        ]  # fmt: skip
    frames = pd.DataFrame(rows)
    predicted = pd.DataFrame({"1": np.where(right, frames["phone"], "other")})
    return PhoneProbe(pd.DataFrame(), frames, predicted, {}, {}), profiles


def of(found, matched_for):
    return found.table.set_index("matched_for").loc[matched_for]


LOUD = {"told": lambda loud, phone, own: loud, "salience": lambda loud, phone, x: 0.5 * loud + x}


class TestLoudness:
    def test_what_loudness_does_goes_away(self):
        found = salient_phones(*planted(**LOUD))
        raw, matched = of(found, "nothing"), of(found, "loudness")
        assert raw["low"] > 0.1
        assert abs(matched["difference"]) < 0.05
        assert matched["low"] < 0 < matched["high"]
        assert matched["matched"] > 0.95
        assert matched["salient"] == pytest.approx(raw["salient"], abs=0.02)

    def test_what_the_map_does_stays(self):
        found = salient_phones(
            *planted(
                lambda loud, phone, own: 0.5 * loud + 0.4 * (own > np.quantile(own, 0.8)),
                lambda loud, phone, x: 0.5 * loud + x,
            )
        )
        for match in ("loudness", "loudness and phone"):
            row = of(found, match)
            assert row["difference"] == pytest.approx(0.4, abs=0.06)
            assert 0.3 < row["low"] < row["difference"] < row["high"] < 0.5
        assert of(found, "nothing")["difference"] > 0.45

    def test_a_map_of_loudness_has_nothing_to_compare_with(self):
        found = salient_phones(*planted(LOUD["told"], lambda loud, phone, x: loud))
        assert of(found, "nothing")["low"] > 0.2
        row = of(found, "loudness")
        assert row["matched"] == 0
        assert np.isnan(row[["difference", "low", "high"]].astype(float)).all()

    def test_what_phones_do_goes_away(self):
        found = salient_phones(
            *planted(lambda loud, phone, own: 0.3 + 0.4 * phone, lambda loud, phone, x: x + phone)
        )
        assert of(found, "loudness")["low"] > 0.15
        row = of(found, "loudness and phone")
        assert row["matched"] > 0.95
        assert row["low"] < 0 < row["high"]
        assert abs(row["difference"]) < 0.06


class TestTable:
    def test_without_matching_it_is_a_plain_difference(self):
        probe, profiles = planted(**LOUD)
        found = salient_phones(probe, profiles, top=0.3)
        frames, right = found.frames, probe.predicted["1"] == probe.frames["phone"]
        assert frames.groupby("utterance")["salient"].sum().tolist() == [30] * N
        for _, rows in frames.groupby("utterance"):
            salient = rows["salient"]
            assert rows[salient]["salience"].min() >= rows[~salient]["salience"].max()
        row = of(found, "nothing")
        assert row["salient"] == pytest.approx(right[frames["salient"]].mean())
        assert row["others"] == pytest.approx(right[~frames["salient"]].mean())
        assert row["difference"] == pytest.approx(row["salient"] - row["others"])

    def test_classes_of_loudness_by_hand(self):
        """Two classes; the salient frames are three in the quiet one and one in the loud one."""
        loudness = [0, 1, 2, 3, 4, 10, 11, 12, 13, 14]
        right = [1, 1, 0, 0, 1, 1, 0, 0, 0, 0]
        salience = [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]
        times = np.arange(10.0)
        frames = pd.DataFrame({
            "utterance": "a", "group": "a", "time": times, "phone": "x", "loudness": loudness,
        })  # fmt: skip
        predicted = pd.DataFrame({"1": np.where(right, "x", "y")})
        probe = PhoneProbe(pd.DataFrame(), frames, predicted, {}, {})
        found = salient_phones(probe, {"a": (times, salience)}, top=0.4, loudness_classes=2)
        row = of(found, "loudness")
        assert row["salient"] == pytest.approx(3 / 4)
        assert row["others"] == pytest.approx((3 * 1 / 2 + 1 * 0) / 4)
        assert np.isnan(row["low"])  # of one recording nothing can be told

    def test_intervals_are_of_recordings(self):
        """Twice as wide for a quarter of them, whatever the number of frames."""
        widths = []
        for n in (12, 48):
            row = of(salient_phones(*planted(**LOUD, n=n)), "nothing")
            widths.append(row["high"] - row["low"])
        assert 1.3 < widths[0] / widths[1] < 3.1

    def test_groups_are_drawn_together(self):
        probe, profiles = planted(**LOUD)
        few = probe.frames.assign(group=lambda rows: rows["utterance"].astype(int) % 3)
        found = salient_phones(PhoneProbe(probe.table, few, probe.predicted, {}, {}), profiles)
        assert np.isnan(of(found, "nothing")["low"])  # three groups

    def test_seeds(self):
        probe, profiles = planted(**LOUD)
        tables = [salient_phones(probe, profiles, seed=seed).table for seed in (0, 0, 1)]
        assert tables[0].equals(tables[1])
        assert not tables[0]["low"].equals(tables[2]["low"])
        assert tables[0]["difference"].equals(tables[2]["difference"])

    def test_utterances_without_a_profile_are_named(self):
        probe, profiles = planted(**LOUD)
        del profiles["3"]
        profiles["4"] = profiles["4"][0] + 100, profiles["4"][1]
        found = salient_phones(probe, profiles)
        assert found.dropped == {"3": "no profile", "4": "no frame within its profile"}
        assert found.table["utterances"].tolist() == [N - 2] * 3
        assert set(found.frames["utterance"]) == set(profiles) - {"4"}

    def test_a_finer_profile_is_averaged(self):
        probe, profiles = planted(**LOUD)
        fine = {
            name: (
                np.concatenate([times - 0.005, times + 0.005]).reshape(2, -1).T.ravel(),
                np.repeat(values, 2) + np.tile([-5, 5], len(values)),
            )
            for name, (times, values) in profiles.items()
        }
        found = salient_phones(probe, fine)
        assert np.allclose(
            found.frames["salience"], np.concatenate([v for _, v in profiles.values()])
        )

    def test_a_coarser_profile_is_read_at_the_nearest_time(self):
        probe, profiles = planted(**LOUD)
        coarse = {name: (times[::4], values[::4]) for name, (times, values) in profiles.items()}
        found = salient_phones(probe, coarse)
        assert len(found.frames) == N * FRAMES - N  # the last one lies beyond
        own = found.frames.query("utterance == '0'")["salience"].to_numpy()
        assert np.allclose(own[[0, 1, 3, 4, 5]], coarse["0"][1][[0, 0, 1, 1, 1]])


class TestProfiles:
    TOKENS = (" one", " two")
    SPOKEN = ((0.1, 0.2), (0.6, 0.7))

    def result(self):
        maps = torch.stack([bump(*span, 2, 5, seed=n) for n, span in enumerate(self.SPOKEN)])
        return planted_result(list(self.TOKENS), maps, times=list(self.SPOKEN))

    def test_of_the_sentence(self):
        times, salience = time_profiles({"a": self.result()})["a"]
        assert np.allclose(times, TIMES)
        inside = ((times >= 0.1) & (times < 0.2)) | ((times >= 0.6) & (times < 0.7))
        assert salience[inside].min() > salience[~inside].max() + 0.2

    def test_of_the_words_that_are_spoken(self):
        """Also where the other word's map is higher."""
        crossed = torch.stack([bump(*span, 2, 5) for span in self.SPOKEN[::-1]])
        for result in (
            self.result(),
            planted_result(list(self.TOKENS), crossed, times=list(self.SPOKEN)),
        ):
            times, salience = time_profiles({"a": result}, words=True)["a"]
            assert len(times) == 20
            maps = result.word_attr().spectrogram_attr.amax(2)
            assert np.allclose(salience[:10], maps[0, 10:20])
            assert np.allclose(salience[10:], maps[1, 60:70])

    @pytest.mark.parametrize("words", [False, True])
    def test_maps_that_are_noise(self, words):
        """The first of two words, and the sentence of one of two recordings."""
        clear, noisy = self.result(), self.result()
        noisy.parameters.update(self.reliability([0.1, 0.9], sentence=0.4))
        clear.parameters.update(self.reliability([0.9, 0.9], sentence=0.6))
        both = {"clear": clear, "noisy": noisy}
        found = time_profiles(both, words=words)
        if words:
            assert [len(times) for times, _ in found.values()] == [20, 10]
            assert found["noisy"][0].min() >= 0.59
        else:
            assert list(found) == ["clear"]
        every = time_profiles(both, words=words, keep_noise=True)
        assert [len(times) for times, _ in every.values()] == [20 if words else len(TIMES)] * 2
        noisy.parameters.update(self.reliability([0.1, 0.1], sentence=0.4))
        with pytest.raises(ArgumentError, match="mostly noise"):
            time_profiles({"noisy": noisy}, words=words)

    def reliability(self, words, sentence):
        found = {"tokens": words, "words": words, "previous_tokens": None, "sentence": sentence,
                 "standard_error": [0.1] * 2}  # fmt: skip
        return {
            "reliability": found, "n_samples_evaluated": 50, "n_token_samples_evaluated": 0
        }  # fmt: skip

    def test_nothing_to_read(self):
        with pytest.raises(ArgumentError, match="align_results"):
            time_profiles({"a": planted_result([" one"], noise(1))}, words=True)
        with pytest.raises(ArgumentTypeError, match="True or False"):
            time_profiles({"a": self.result()}, words=1)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"top": 1.0}, ArgumentError, "top must lie strictly between"),
        ({"profiles": {"x": ([0.0], [1.0])}}, ArgumentError, "no frame of the probe"),
        ({"profiles": {"0": ([0.0, 1.0], [1.0])}}, ArgumentError, "as many times as"),
        ({"profiles": {"0": ([1.0, 0.0], [1.0, 2.0])}}, ArgumentError, "ascend"),
        ({"profiles": {"0": ([0.0, 1.0], [1.0, np.nan])}}, ArgumentError, "finite"),
        ({"profiles": {"0": 3}}, ArgumentTypeError, "pair of arrays"),
        ({"profiles": [1]}, ArgumentTypeError, "dict of"),
        ({"probe": None}, ArgumentTypeError, "phone_probe"),
        ({"loudness_classes": 0}, ArgumentError, "loudness_classes"),
    ],
)
def test_errors(changes, error, message):
    probe, profiles = planted(**LOUD, n=2)
    with pytest.raises(error, match=message):
        salient_phones(**{"probe": probe, "profiles": profiles, **changes})
