"""A study of agreement across training seeds as tables, figures and a summary."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from captum_spes.io.files import made_folder, write_whole
from captum_spes.io.names import FileNames
from captum_spes.plotting import agreement_figure, cost_figure
from captum_spes.plotting.fonts import one_warning
from captum_spes.report.figures import write_figure
from captum_spes.report.tables import (
    fenced_table,
    markdown_table,
    with_interval,
    write_frame,
    write_rows,
)
from captum_spes.stability.attributions import Condition, StabilityStudy
from captum_spes.stability.figures import ACCEPTABLE
from captum_spes.stability.methods import parse_method
from captum_spes.stability.summary import (
    ConditionAgreement,
    condition_agreements,
    paired_difference,
    stability_table,
)
from captum_spes.text import for_markdown

if TYPE_CHECKING:
    from pandas import DataFrame

_NUMBERS = ".2f"
# Dots per inch; these figures are large.
_DPI = 110
_SHOWN = ["input", "method", "perturbed", "reported", "units", "passes", "agreement", "chance"]
_SHOWN += ["mismatched", "ceiling", "disattenuated", "of_model", "of_masks"]


def write_stability(
    study: StabilityStudy,
    folder: str | PathLike[str],
    *,
    top: float = 0.2,
    absolute: bool = False,
) -> list[Path]:
    r"""
    Write tables, raw agreements, pictures and a summary.

    Args:

        study (StabilityStudy): From :func:`captum_spes.stability.run_study`.
        folder (str or path): Where to; made if need be.
        top (float, optional): Share of the units that counts as the highest, in (0, 1).
                    Default: 0.2
        absolute (bool, optional): Whether the magnitude of scores counts and not the sign.
                    Default: False

    Returns:
        *list[Path]*: ``table.csv`` (:func:`captum_spes.stability.stability_table`),
        ``agreements.csv`` (every pair of models and utterance), ``summary.md``, and a picture per
        task, of its boxes, and of its cost where a method has several numbers of samples.

    Raises:
        ImportError: pandas is not installed.
        OSError: a file cannot be written.

    Examples::

        >>> written = write_stability(StabilityStudy.load("study"), "report")
    """
    target = made_folder(folder)
    found = condition_agreements(study, top=top, absolute=absolute)
    table = stability_table(found)
    how = f"{'absolute' if absolute else 'signed'} scores, the highest {100 * top:g} % of the units"
    header = [*Condition._fields, "one", "other", "utterance", "agreement"]
    summary = target / "summary.md"
    write_whole(summary, _summary(study, found, table, how))
    with one_warning():
        pictures = list(_write_figures(target, found))
    return [
        write_frame(target / "table.csv", table, float_format="%.4f"),
        write_rows(target / "agreements.csv", header, _raw(found)),
        summary,
        *pictures,
    ]


def _raw(found: Sequence[ConditionAgreement]) -> Iterator[Sequence[str]]:
    """One row per condition, pair of models and utterance."""
    for agreement in found:
        for (one, other), row in zip(
            agreement.between.pairs, agreement.between.values, strict=True
        ):
            for name, value in zip(agreement.utterances, row, strict=True):
                yield [*agreement.condition, one, other, name, f"{value:.4f}"]


def _write_figures(folder: Path, found: Sequence[ConditionAgreement]) -> Iterator[Path]:
    """Boxes of every task, and its cost where a method has several numbers of samples."""
    files = FileNames()
    for task in dict.fromkeys(agreement.condition.task for agreement in found):
        of_task = [agreement for agreement in found if agreement.condition.task == task]
        boxes = agreement_figure(of_task, task, acceptable=ACCEPTABLE)
        yield write_figure(folder / f"{files.new(task)}.png", boxes, dpi=_DPI)
        names = {agreement.condition.method for agreement in of_task}
        if len({parse_method(name).name for name in names}) < len(names):
            cost = folder / f"{files.new(f'{task}-cost')}.png"
            yield write_figure(cost, cost_figure(of_task, task), dpi=_DPI)


def _summary(
    study: StabilityStudy, found: Sequence[ConditionAgreement], table: DataFrame, how: str
) -> str:
    tasks = list(dict.fromkeys(table["task"]))
    left_out = study.settings["left_out"]
    lines = [
        "# Reliability across random seeds",
        "",
        f"{len(study.models)} models, {len(study.settings['utterances'])} utterances, {how}. "
        "Agreement is the overlap of these units between two models, mean over pairs and "
        "utterances, with a 95 % interval over both; chance is that of unrelated maps; mismatched "
        "that of maps of different utterances, place by relative place (of fewer than ten units "
        "the highest one counts alone); the ceiling is the "
        "agreement of one model with itself under other masks (1 without randomness). "
        "Disattenuated is what would be left without sampling noise, from 0 (chance) to 1. Shares "
        "of the variance: of_model and of_masks; the rest is common to all models. Gradients, "
        "ablation and Lime explain the right class of a classifier, SPES and feature-ablation-kl "
        "the whole distribution; "
        "of a text, gradients explain the token's probability and all others the distribution.",
        "",
        "Right, percent of the explained utterances: "
        + "; ".join(
            f"{for_markdown(task)} {_range(study.accuracy(task).values())}" for task in tasks
        )
        + ".",
    ]
    if left_out:
        lines += ["", f"Left out, because times that the units need are missing: {len(left_out)}."]
    for task in tasks:
        of_task = fenced_table(_readable(table[table["task"] == task]), _NUMBERS)
        lines += ["", f"## {for_markdown(task)}", "", of_task]
    lines += ["", "## Is it reliable?", "", *_reliable(table)]
    lines += ["", "## Is it the models or the samples?", "", *_noise(table)]
    lines += ["", "## Does aggregating help?", "", *_aggregation(found)]
    if len({agreement.condition.method for agreement in found}) > 1:
        lines += ["", "## Against the first method", "", *_against_first(found)]
    return "\n".join(lines) + "\n"


def _range(values: Any) -> str:
    known = sorted(values)
    return f"{known[0]:.0f} to {known[-1]:.0f}"


def _readable(table: DataFrame) -> DataFrame:
    shown = table[_SHOWN].copy()
    shown["agreement"] = [
        with_interval(row.agreement, (row.agreement_low, row.agreement_high), _NUMBERS)
        for row in table.itertuples()
    ]
    return shown


def _reliable(table: DataFrame) -> list[str]:
    is_high = table["agreement"] >= ACCEPTABLE
    lines = [f"{ACCEPTABLE} or more: {is_high.sum()} of {len(table)} conditions.", ""]
    if is_high.any():
        lines[0] += " Where other utterances agree as far, it is the position that does:"
    lines += [
        f"* {for_markdown(row.task)}, {row.input}, {row.method}, {row.perturbed}:{row.reported}: "
        f"{row.agreement:.2f} (chance {row.chance:.2f}, other utterances {row.mismatched:.2f})"
        for row in table[is_high].itertuples()
    ]
    return lines


def _noise(table: DataFrame) -> list[str]:
    columns = ["units", "passes", "agreement", "chance", "ceiling", "disattenuated"]
    columns += ["of_utterance", "of_model", "of_masks"]
    is_random = [parse_method(name).is_random for name in table["method"]]
    grouped = table[is_random].groupby(["method", "perturbed"], sort=False)
    means = grouped[columns].mean(numeric_only=True).reset_index()
    head = "Methods that sample, mean over tasks, inputs and reported units:"
    return [head, "", fenced_table(means, _NUMBERS)]


def _aggregation(found: Sequence[ConditionAgreement]) -> list[str]:
    """Fine attributions, the same averaged over units, and perturbation of these units."""
    by_name = {f.condition: f for f in found}
    lines = [
        "Agreement corrected for chance, where the same method is reported in finer units, "
        "averaged over coarser ones, and perturbed in these:",
        "",
    ]
    header = ["task", "input", "method", "units", "fine", "averaged", "difference", "perturbed"]
    rows = []
    for condition, averaged in by_name.items():
        if not condition.units.is_aggregated:
            continue
        fine = by_name.get(condition._replace(reported=_finest(condition, by_name)))
        if fine is averaged:
            continue
        coarse = by_name.get(condition._replace(perturbed=condition.reported))
        cells = [condition.task, condition.input, condition.method, str(condition.units)]
        cells += [_corrected(fine), _corrected(averaged), _difference(averaged, fine)]
        cells += [_corrected(coarse), _difference(coarse, averaged)]
        if fine is not None or coarse is not None:
            rows.append(cells)
    return [*lines, markdown_table([*header, "difference"], rows)]


def _finest(condition: Condition, known: Mapping[Condition, ConditionAgreement]) -> str:
    """The unit that is perturbed; of gradients, whose cells are seldom compared, the smallest."""
    alike = [c for c in known if c._replace(reported=condition.reported) == condition]
    return max(alike, key=lambda c: (c.reported == c.perturbed, known[c].n_units)).reported


def _against_first(found: Sequence[ConditionAgreement]) -> list[str]:
    first = found[0].condition.method
    lines = [
        f"Agreement corrected for chance, {first} minus the other, paired; methods that perturb "
        "nothing (perturbed in cells) are compared with all of its units.",
        "",
    ]
    header = ["task", "input", "units", first, "passes", "other", "agreement", "passes"]
    rows = []
    for one in (f for f in found if f.condition.method == first):
        for other in found:
            ours, theirs = one.condition, other.condition
            is_comparable = ours.perturbed == theirs.perturbed or "cell" in (
                ours.perturbed,
                theirs.perturbed,
            )
            if (
                theirs.method == first
                or not is_comparable
                or (ours.task, ours.input, ours.reported)
                != (theirs.task, theirs.input, theirs.reported)
            ):
                continue
            cells = [ours.task, ours.input, str(ours.units), _corrected(one), f"{one.passes:.0f}"]
            cells += [f"{theirs.method}, {theirs.units}", _corrected(other), f"{other.passes:.0f}"]
            rows.append([*cells, _difference(one, other)])
    return [*lines, markdown_table([*header, "difference"], rows)]


def _corrected(found: ConditionAgreement | None) -> str:
    return "-" if found is None else f"{found.between.corrected:.2f}"


def _difference(one: ConditionAgreement | None, other: ConditionAgreement | None) -> str:
    if one is None or other is None:
        return "-"
    return with_interval(*paired_difference(one, other), f"+{_NUMBERS}")
