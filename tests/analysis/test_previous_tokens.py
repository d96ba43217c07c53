"""Known answers of the analysis of previous tokens."""

import pytest
import torch

from captum_spes.analysis import (
    dependence,
    intermediate_explanations,
    plot_positions,
    position_analysis,
)
from captum_spes.errors import ArgumentError
from tests.analysis.planted import noise, planted_result, previous

TOKENS = [" um", " das", " zu", " sehen", "."]
# Columns: the start, um, das, zu, sehen. Each row's strongest.
STRONGEST = [0, 1, 1, 3, 4]


def planted(strongest=STRONGEST, seed=0, tokens=TOKENS, **changes):
    count = len(tokens)
    maps = noise(count, seed)
    return planted_result(tokens, maps, previous(count, strongest), **changes)


class TestPositions:
    def test_planted(self):
        found = position_analysis({"a": planted(), "b": planted(seed=1)})
        # The first two tokens have nothing between the start and the last token.
        assert found.table["token"].tolist() == [" zu", " sehen", "."] * 2
        assert found.table["top"].tolist() == ["between", "last", "last"] * 2
        assert found.table["top_token"].tolist() == [" um", " zu", " sehen"] * 2
        row = found.table.iloc[1]
        expected = planted().normalized().token_attr[3]
        assert row["start"] == pytest.approx(float(expected[0]))
        assert row["between"] == pytest.approx(float(expected[1:3].mean()))
        assert row["last"] == pytest.approx(float(expected[3]))

    def test_tests(self):
        found = position_analysis({"a": planted([0, 1, 2, 3, 4]), "b": planted([0, 1, 2, 3, 4], 1)})
        tests = found.tests.set_index("question")
        assert tests.loc["last > start, tokens", "p"] < 1e-4
        assert tests.loc["last > between, tokens", "estimate"] > 0.5
        assert tests.loc["start > between, tokens", "p"] > 0.9  # planted the other way round
        assert tests["n"].tolist() == [6, 2, 6, 2, 6, 2]
        assert tests["alternative"].unique().tolist() == ["greater"]

    def test_equal_previous_tokens_have_no_highest(self):
        flat = torch.full((3, 3), torch.nan).where(torch.ones(3, 3).triu(1) > 0, 0.5)
        result = planted_result([" a", " b", " c"], noise(3), flat)
        row = position_analysis({"a": result}).table.iloc[0]
        assert (row["top"], row["top_token"]) == ("none", "")

    def test_a_longer_prompt_is_averaged(self):
        tokens = planted().token_attr
        wide = torch.cat([torch.full((5, 2), 0.05), tokens], dim=1)
        fed = ["<a>", "<b>", "<|start|>", *TOKENS[:-1]]
        result = planted_result(TOKENS, noise(5), wide, previous_tokens=fed)
        row = position_analysis({"a": result}).table.iloc[0]
        normalized = result.normalized().token_attr[2]
        assert row["start"] == pytest.approx(float(normalized[:3].mean()))
        assert row["top_token"] == " um"

    def test_dropped(self):
        short = planted([0, 1], tokens=[" a", " b"])
        found = position_analysis({"a": planted(), "b": planted_result([" um"]), "c": short})
        assert "no attributions" in found.dropped["b"]
        assert "between" in found.dropped["c"]
        with pytest.raises(ArgumentError, match="no attributions of previous tokens"):
            position_analysis({"b": planted_result([" um"])})


class TestIntermediate:
    def test_zu_by_um(self):
        results = {str(seed): planted(seed=seed) for seed in range(6)}
        results["x"] = planted([0, 1, 2, 3, 4])
        table = intermediate_explanations(position_analysis(results))
        assert table.to_dict("records") == [
            {"token": "zu", "count": 7, "intermediate": 6, "share": 6 / 7, "explained_by": "um (6)"}
        ]

    def test_thresholds(self):
        results = {str(seed): planted(seed=seed) for seed in range(3)}
        positions = position_analysis(results)
        assert len(intermediate_explanations(positions)) == 0  # three are fewer than five
        assert len(intermediate_explanations(positions, min_count=3)) == 1
        assert len(intermediate_explanations(positions, min_count=3, min_share=0.0)) == 3


class TestDependence:
    def test_zu_on_um(self):
        results = {str(seed): planted(seed=seed) for seed in range(6)}
        results["x"] = planted([0, 1, 2, 3, 4])
        found = dependence(results, " zu", "um")
        assert found.table["rank"].tolist() == [1] * 6 + [2]
        assert found.table["rank_between"].tolist() == [1] * 7
        assert found.table["tokens"].tolist() == [1] * 7
        expected = planted().normalized().token_attr[2]
        assert found.table.loc[0, "previous"] == pytest.approx(float(expected[1]))
        # Nothing else lies between: there is nothing to compare with.
        assert found.table["others"].isna().all()
        assert found.tests["n"].tolist() == [0, 0]

    def test_tests(self):
        more = [" um", " das", " Bild", " zu", "."]
        results = {str(s): planted([0, 1, 1, 1, 4], s, more) for s in range(5)}
        found = dependence(results, "zu", "um")
        assert found.tests["n"].tolist() == [5, 5]
        assert (found.tests["estimate"] > 0.5).all()
        assert (found.tests["p"] < 1e-6).all()

    def test_others_are_those_between(self):
        result = planted()
        row = dependence({"a": result}, "sehen", "um").table.iloc[0]
        values = result.normalized().token_attr[3]
        assert row["others"] == pytest.approx(float(values[2]))
        assert row["previous"] == pytest.approx(float(values[1]))
        assert row["rank"] == 3

    def test_the_last_token_is_left_out(self):
        with pytest.raises(ArgumentError, match="never occurs after 'um', or only right after"):
            dependence({"a": planted()}, "das", "um")


def test_figure():
    left, right = plot_positions(position_analysis({"a": planted()})).axes
    assert [text.get_text() for text in left.get_xticklabels()] == ["start", "between", "last"]
    heights = [patch.get_height() for patch in right.patches]
    assert heights == pytest.approx([0, 100 / 3, 200 / 3])
