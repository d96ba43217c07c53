"""A study of reliability as tables, pictures and a summary."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from captum_spes.stability.attributions import Condition, StabilityStudy
from captum_spes.stability.methods import parse_method
from captum_spes.stability.summary import (
    ConditionAgreement,
    condition_agreements,
    paired_difference,
    stability_table,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

# What the study of arXiv 2505.16406 calls acceptable.
ACCEPTABLE = 0.6
# Boxes and gaps in a row of a picture.
_WIDEST = 50
_INPUTS = ("waveform", "spectrogram", "encoder")
_SHOWN = ["input", "method", "perturbed", "reported", "units", "passes", "agreement", "chance"]
_SHOWN += ["mismatched", "ceiling", "disattenuated", "of_model", "of_masks"]


def plot_stability(
    study: StabilityStudy, task: str, *, top: float = 0.2, absolute: bool = False
) -> Figure:
    r"""
    Draw the inter-seed agreement of all conditions of a task as boxes over utterances.

    Args:

        study (StabilityStudy): From :func:`captum_spes.stability.run_study`.
        task (str): One of its tasks.
        top (float, optional): Share of the units that counts as the highest.
                    Default: 0.2
        absolute (bool, optional): Whether the magnitude of scores counts and not the sign.
                    Default: False

    Returns:
        *Figure*: one row per input. A box spans the quartiles over utterances; the dashed line
        below it is chance, the diamond the ceiling: how far one model agrees with itself under
        other masks.

    Raises:
        KeyError: the study has no such task.

    Examples::

        >>> plot_stability(StabilityStudy.load("study"), "speaker").savefig("box.png")
    """
    return _boxes(_of_task(study, task, top, absolute), task)


def plot_cost(
    study: StabilityStudy, task: str, *, top: float = 0.2, absolute: bool = False
) -> Figure:
    r"""
    Draw inter-seed agreement by the number of forward passes that it costs.

    Args:

        study (StabilityStudy): With some methods at several numbers of samples.
        task (str): One of its tasks.
        top (float, optional): Share of the units that counts as the highest.
                    Default: 0.2
        absolute (bool, optional): Whether the magnitude of scores counts and not the sign.
                    Default: False

    Returns:
        *Figure*: one panel per input and unit. Lines with bands are agreement and its 95 %
        interval, dashed lines the agreement of each model with itself, the dotted line chance.

    Raises:
        KeyError: the study has no such task.

    Examples::

        >>> plot_cost(StabilityStudy.load("study"), "speaker").savefig("cost.png")
    """
    found = _of_task(study, task, top, absolute)
    return _costs(found, task)


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
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    found = condition_agreements(study, top=top, absolute=absolute)
    table = stability_table(found)
    written = [target / "table.csv", target / "agreements.csv", target / "summary.md"]
    table.to_csv(written[0], index=False, float_format="%.4f", lineterminator="\n")
    written[1].write_text(_raw(found), encoding="utf-8")
    how = f"{'absolute' if absolute else 'signed'} scores, the highest {100 * top:g} % of the units"
    written[2].write_text(_summary(study, found, table, how), encoding="utf-8")
    for task in dict.fromkeys(agreement.condition.task for agreement in found):
        path = target / f"{task}.png"
        of_task = [agreement for agreement in found if agreement.condition.task == task]
        _boxes(of_task, task).savefig(path, dpi=110)
        written.append(path)
        names = {agreement.condition.method for agreement in of_task}
        if len({parse_method(name).name for name in names}) < len(names):
            path = target / f"{task}-cost.png"
            _costs(of_task, task).savefig(path, dpi=110)
            written.append(path)
    return written


def _of_task(
    study: StabilityStudy, task: str, top: float, absolute: bool
) -> list[ConditionAgreement]:
    found = condition_agreements(study, top=top, absolute=absolute)
    of_task = [agreement for agreement in found if agreement.condition.task == task]
    if not of_task:
        raise KeyError(task)
    return of_task


def _raw(found: Sequence[ConditionAgreement]) -> str:
    """One line per condition, pair of models and utterance."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*Condition._fields, "one", "other", "utterance", "agreement"])
    for agreement in found:
        for (one, other), row in zip(
            agreement.between.pairs, agreement.between.values, strict=True
        ):
            for name, value in zip(agreement.utterances, row, strict=True):
                writer.writerow([*agreement.condition, one, other, name, f"{value:.4f}"])
    return text.getvalue()


def _boxes(found: Sequence[ConditionAgreement], task: str) -> Figure:
    from matplotlib import colormaps
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    from captum_spes.plotting.spectrograms import NotebookFigure

    inputs = [name for name in _INPUTS if any(f.condition.input == name for f in found)]
    methods = list(dict.fromkeys(f.condition.method for f in found))
    colours = {name: colormaps["tab10"](number) for number, name in enumerate(methods)}
    rows = [
        (name, groups)
        for name in inputs
        for groups in _wrapped(_grouped([f for f in found if f.condition.input == name]))
    ]
    widest = max(_width(groups) for _, groups in rows)
    size = (max(7.0, 1.5 + 0.24 * widest), 0.7 + 2.6 * len(rows))
    figure = NotebookFigure(figsize=size, layout="constrained")
    for axes, (name, groups) in zip(
        figure.subplots(len(rows), 1, squeeze=False)[:, 0], rows, strict=True
    ):
        _draw_groups(axes, groups, colours)
        axes.set_ylabel("inter-seed agreement")
        axes.set_title(f"{task}, {name}", loc="left")
    handles: list[Any] = [Patch(color=colour, label=name) for name, colour in colours.items()]
    handles += [
        Line2D([], [], color="black", linestyle="--", label="chance"),
        Line2D([], [], color="black", marker="D", mfc="white", linestyle="", label="ceiling"),
        Line2D([], [], color="gray", linewidth=0.8, linestyle=":", label=f"{ACCEPTABLE}"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 5))
    return figure


def _width(groups: dict[str, list[ConditionAgreement]]) -> int:
    """Boxes and the gaps between groups."""
    return sum(len(group) + 1 for group in groups.values())


def _wrapped(
    groups: dict[str, list[ConditionAgreement]],
) -> list[dict[str, list[ConditionAgreement]]]:
    """Rows of about the same width."""
    n_rows = math.ceil(_width(groups) / _WIDEST)
    rows: list[dict[str, list[ConditionAgreement]]] = [{}]
    for name, group in groups.items():
        if len(rows) < n_rows and _width(rows[-1]) >= _width(groups) / n_rows:
            rows.append({})
        rows[-1][name] = group
    return rows


def _costs(found: Sequence[ConditionAgreement], task: str) -> Figure:
    from matplotlib import colormaps

    from captum_spes.plotting.spectrograms import NotebookFigure

    names = list(dict.fromkeys(parse_method(f.condition.method).name for f in found))
    panels: dict[tuple[str, str], list[ConditionAgreement]] = {}
    for agreement in found:
        place = (agreement.condition.input, agreement.condition.reported)
        panels.setdefault(place, []).append(agreement)
    figure = NotebookFigure(figsize=(3.4 + 4 * len(panels), 3.6), layout="constrained")
    rows = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for axes, ((stage, unit), of_panel) in zip(rows, panels.items(), strict=True):
        for number, name in enumerate(names):
            _draw_cost(axes, of_panel, name, colormaps["tab10"](number))
        axes.axhline(of_panel[0].between.chance, color="black", ls=":", label="chance")
        axes.set_xscale("log")
        axes.set_xlabel("forward passes")
        axes.set_title(f"{task}, {stage}, {unit}", loc="left", fontsize="medium")
    rows[0].set_ylabel("agreement")
    rows[0].set_ylim(0, 1.03)
    handles = {
        label: handle for handle, label in zip(*rows[0].get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside right upper", fontsize="small")
    return figure


def _draw_cost(axes: Any, found: Sequence[ConditionAgreement], name: str, colour: Any) -> None:
    """One method: each way to perturb is a line over its numbers of samples."""
    of_method = [f for f in found if parse_method(f.condition.method).name == name]
    for perturbed in dict.fromkeys(f.condition.perturbed for f in of_method):
        line = sorted(
            (f for f in of_method if f.condition.perturbed == perturbed), key=lambda f: f.passes
        )
        passes = [f.passes for f in line]
        means = [f.between.mean for f in line]
        intervals = np.array([f.between.interval() for f in line])
        errors = np.abs(intervals.T - means)
        label = name if line[0].condition.perturbed == "cell" else f"{name}, {perturbed}"
        axes.errorbar(passes, means, errors, color=colour, marker="o", ms=4, capsize=2, label=label)
        if line[0].is_random:
            ceilings = [np.nanmean(f.self_agreement) if f.ceiling else np.nan for f in line]
            axes.plot(passes, ceilings, "--", color=colour, marker="D", ms=3, mfc="white",
                      label=f"{label}, ceiling")  # fmt: skip


def _grouped(found: Sequence[ConditionAgreement]) -> dict[str, list[ConditionAgreement]]:
    """Boxes that stand together: the same units, the coarsest reported ones last."""
    order = sorted(found, key=lambda f: -f.n_units)
    groups: dict[str, list[ConditionAgreement]] = {}
    for reported in dict.fromkeys(f.condition.reported for f in order):
        for agreement in found:
            if agreement.condition.reported == reported:
                name = f"{agreement.condition.perturbed}\n→ {reported}"
                groups.setdefault(name, []).append(agreement)
    return groups


def _draw_groups(
    axes: Any, groups: dict[str, list[ConditionAgreement]], colours: dict[str, Any]
) -> None:
    place, ticks = 0.0, []
    for group in groups.values():
        first = place
        for agreement in group:
            values = agreement.of_utterances
            known = values[np.isfinite(values)]
            box = axes.boxplot(
                known, positions=[place], widths=0.8, patch_artist=True, showfliers=False
            )
            box["boxes"][0].set_facecolor(colours[agreement.condition.method])
            # A box without height is its median, which then tells the method.
            is_flat = known.size == 0 or np.ptp(np.quantile(known, [0.25, 0.75])) == 0
            colour = colours[agreement.condition.method] if is_flat else "black"
            box["medians"][0].set(color=colour, linewidth=4 if is_flat else 1)
            chance = agreement.between.chance
            axes.plot([place - 0.5, place + 0.5], [chance, chance], "--", color="black", lw=1.2)
            ceiling = agreement.self_agreement
            if np.isfinite(ceiling).any():
                axes.plot(place, np.nanmean(ceiling), "D", color="black", ms=4, mfc="white")
            place += 1
        ticks.append((first + place - 1) / 2)
        place += 1
    axes.axhline(ACCEPTABLE, color="gray", lw=0.8, ls=":")
    axes.set_xticks(ticks, list(groups))
    axes.set_xlim(-1, place - 1)
    axes.set_ylim(-0.03, 1.05)


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
        + "; ".join(f"{task} {_range(study.accuracy(task).values())}" for task in tasks)
        + ".",
    ]
    if left_out:
        lines += ["", f"Left out, because times that the units need are missing: {len(left_out)}."]
    for task in tasks:
        lines += ["", f"## {task}", "", _fenced(_readable(table[table["task"] == task]))]
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
        f"{row.agreement:.2f} [{row.agreement_low:.2f}, {row.agreement_high:.2f}]"
        for row in table.itertuples()
    ]
    return shown


def _reliable(table: DataFrame) -> list[str]:
    is_high = table["agreement"] >= ACCEPTABLE
    lines = [f"{ACCEPTABLE} or more: {is_high.sum()} of {len(table)} conditions.", ""]
    if is_high.any():
        lines[0] += " Where other utterances agree as far, it is the position that does:"
    lines += [
        f"* {row.task}, {row.input}, {row.method}, {row.perturbed}:{row.reported}: "
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
    return ["Methods that sample, mean over tasks, inputs and reported units:", "", _fenced(means)]


def _aggregation(found: Sequence[ConditionAgreement]) -> list[str]:
    """Fine attributions, the same averaged over units, and perturbation of these units."""
    by_name = {f.condition: f for f in found}
    lines = [
        "Agreement corrected for chance, where the same method is reported in finer units, "
        "averaged over coarser ones, and perturbed in these:",
        "",
        "| task | input | method | units | fine | averaged | difference | perturbed | difference |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
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
            lines.append(f"| {' | '.join(cells)} |")
    return lines


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
        f"| task | input | units | {first} | passes | other | agreement | passes | difference |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
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
            lines.append(f"| {' | '.join(cells)} | {_difference(one, other)} |")
    return lines


def _corrected(found: ConditionAgreement | None) -> str:
    return "-" if found is None else f"{found.between.corrected:.2f}"


def _difference(one: ConditionAgreement | None, other: ConditionAgreement | None) -> str:
    if one is None or other is None:
        return "-"
    mean, (low, high) = paired_difference(one, other)
    return f"{mean:+.2f} [{low:+.2f}, {high:+.2f}]"


def _fenced(frame: DataFrame) -> str:
    return f"```\n{frame.to_string(index=False, float_format='{:.2f}'.format)}\n```"
