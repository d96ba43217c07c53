"""Size against the official values, and against maps whose size is known."""

import pytest
import torch

from captum_spes.errors import ArgumentError
from captum_spes.maps import Maps, paired_min_max, standardize
from captum_spes.metrics import auc, size_curve
from captum_spes.metrics.curves import Curve
from tests.speech.explaining import explain

NORMALIZERS = {"single_mean_std": standardize, "paired_min_max": paired_min_max}


def golden_maps(arrays):
    utterances = sorted({key.split("_")[0] for key in arrays}, key=int)
    for utterance in utterances:
        tokens = arrays[f"{utterance}_tok"][..., 0]
        invalid = torch.ones_like(tokens).triu(1).bool()
        yield Maps(arrays[f"{utterance}_spec"], tokens.masked_fill(invalid, torch.nan))


@pytest.mark.parametrize("side", ["spectrogram", "previous tokens"])
def test_official_values(golden, side):
    arrays, expected = golden("size_maps.npz"), golden("size.json")
    short = "spec" if side == "spectrogram" else "tok"
    checked = 0
    for key, values in expected.items():
        names, step, start = key.split("|")
        maps = list(golden_maps(arrays))
        for name in filter(None, names.split("+")):
            maps = [NORMALIZERS[name](*pair) for pair in maps]
        curve = size_curve(maps, int(step.removeprefix("step")) / 100, side=side)
        first = curve.x.index(int(start.removeprefix("start")) / 100)
        assert curve.x[first:] == pytest.approx(values["thresholds"])
        assert curve.y[first:] == pytest.approx(values[f"{short}_curve_percent"], abs=1e-4)
        area = auc(curve.x[first:], curve.y[first:])
        assert area == pytest.approx(values[f"auc_{short}"], abs=1e-4)
        checked += 1
    assert checked >= 9


def test_half_of_the_cells_full_the_others_empty():
    cells = torch.tensor([[[0.0, 1.0], [1.0, 0.0]]])
    curve = size_curve(Maps(cells, None), step=0.25)
    assert curve.x == (0, 0.25, 0.5, 0.75, 1.0)
    assert curve.y == (100, 50, 50, 50, 50)
    assert curve.auc == 50 + 50 / 8


def test_a_cell_on_the_threshold_counts():
    # 0.3 as a double is larger than 0.3 as a float.
    curve = size_curve(Maps(torch.tensor([[[0.3, 0.7]]]), None), step=0.1)
    assert curve.y[3] == 100
    assert curve.y[7] == 50
    assert curve.y[8] == 0


def test_utterances_count_the_same_whatever_their_length():
    long, short = torch.ones(1, 30, 2), torch.zeros(1, 1, 2)
    assert size_curve([Maps(long, None), Maps(short, None)], 0.5).y == (100, 50, 50)


def test_previous_tokens_that_do_not_precede_are_no_cells():
    tokens = torch.tensor([[1.0, torch.nan], [0.0, 1.0]])
    curve = size_curve(Maps(torch.zeros(2, 1, 1), tokens), 0.5, side="previous tokens")
    assert curve.y == pytest.approx((100, 200 / 3, 200 / 3))


def test_a_result_is_normalised_first(tiny_whisper, audio):
    result = explain(tiny_whisper, audio)
    assert size_curve(result).y == size_curve([result.normalized()]).y
    assert isinstance(size_curve(result), Curve)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (([],), {}, "at least one"),
        ((Maps(torch.zeros(1, 2, 2), None),), {"side": "previous tokens"}, "no map of previous"),
        ((Maps(torch.zeros(1, 2, 2), None),), {"side": "audio"}, "side must be one of"),
        ((Maps(torch.zeros(1, 2, 2), None), 0.3), {}, "equal parts"),
        ((Maps(torch.zeros(1, 2, 2), None), 0.0), {}, "equal parts"),
    ],
)
def test_bad_input(arguments, options, message):
    with pytest.raises(ArgumentError, match=message):
        size_curve(*arguments, **options)
