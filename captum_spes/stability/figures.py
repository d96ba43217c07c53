"""Figures of a study: its conditions, brought together and drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from captum_spes.plotting import agreement_figure, cost_figure
from captum_spes.stability.attributions import StabilityStudy
from captum_spes.stability.summary import ConditionAgreement, condition_agreements

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# What the study of arXiv 2505.16406 calls acceptable.
ACCEPTABLE = 0.6


def plot_stability(
    study: StabilityStudy,
    task: str,
    *,
    top: float = 0.2,
    absolute: bool = False,
    ax: Sequence[Axes] | None = None,
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
        ax (sequence of matplotlib Axes, optional): What to draw into, as many as there are rows: of
                    many conditions, an input takes several.
                    Default: None, a new figure

    Returns:
        *matplotlib.figure.Figure*, not shown: one row per input. A box spans the quartiles over
        utterances; the dashed line below it is chance, the diamond the ceiling: how far one model
        agrees with itself under other masks.

    Raises:
        ArgumentError: ``ax`` holds more or fewer axes than there are panels.
        KeyError: the study has no such task.

    Examples::

        >>> plot_stability(StabilityStudy.load("study"), "speaker").savefig("box.png")
    """
    found = _of_task(study, task, top, absolute)
    return agreement_figure(found, task, acceptable=ACCEPTABLE, ax=ax)


def plot_cost(
    study: StabilityStudy,
    task: str,
    *,
    top: float = 0.2,
    absolute: bool = False,
    ax: Sequence[Axes] | None = None,
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
        ax (sequence of matplotlib Axes, optional): What to draw into, as many as there are panels.
                    Default: None, a new figure

    Returns:
        *matplotlib.figure.Figure*, not shown: one panel per input and unit. Lines with bars are
        agreement and its 95 % interval, dashed lines the agreement of each model with itself, the
        dotted line chance.

    Raises:
        ArgumentError: ``ax`` holds more or fewer axes than there are panels.
        KeyError: the study has no such task.

    Examples::

        >>> plot_cost(StabilityStudy.load("study"), "speaker").savefig("cost.png")
    """
    return cost_figure(_of_task(study, task, top, absolute), task, ax=ax)


def _of_task(
    study: StabilityStudy, task: str, top: float, absolute: bool
) -> list[ConditionAgreement]:
    found = condition_agreements(study, top=top, absolute=absolute)
    of_task = [agreement for agreement in found if agreement.condition.task == task]
    if not of_task:
        raise KeyError(task)
    return of_task
