"""What every method of the standing benchmark is measured on, and how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from captum_spes.corpus.manifest import Utterance
from captum_spes.demo import DemoExample
from captum_spes.errors import whole_number
from captum_spes.evaluation import EvaluationSettings
from captum_spes.evaluation.comparison import OWN_PERCENTAGES, PERCENTAGES
from captum_spes.speech import Settings

# What a suite is called that somebody made smaller to try a method on it.
_TRIAL = "-trial"


@dataclass(frozen=True)
class Suite:
    r"""
    Recordings, settings and measures that never change: what changes gets another version.

    Attributes:
        version: its name; rows of two versions are never put into one table.
        model: the bundled model's name on the command line.
        recordings: names of bundled recordings.
        removals: what removed cells become, names of :data:`captum_spes.metrics.REMOVALS`. The
            first is that of the measures that the table leads with.
        metric: of texts.
        seed: of every random choice.
    """

    version: str
    recordings: tuple[str, ...]
    removals: tuple[str, ...]
    model: str = "demo"
    metric: str = "wer_capped"
    seed: int = 0

    @property
    def is_trial(self) -> bool:
        """Whether it is too small to compare methods."""
        return self.version.endswith(_TRIAL)

    def trial(self, n_recordings: int = 1) -> Suite:
        r"""
        A part of the suite, to see whether a method runs at all.

        Args:

            n_recordings (int, optional): The first so many recordings, with the first removal.
                        Default: 1

        Returns:
            *Suite*, whose version says that it is a trial.

        Examples::

            >>> SUITE.trial().version
            '1-trial'
        """
        first = self.recordings[: whole_number("n_recordings", n_recordings, 1)]
        version = self.version if self.is_trial else self.version + _TRIAL
        return replace(self, version=version, recordings=first, removals=self.removals[:1])

    def settings(self) -> EvaluationSettings:
        """What methods are explained and measured with."""
        return EvaluationSettings(
            self.model,
            Settings.efficient(),
            self.seed,
            metric=self.metric,
            removals=self.removals,
            own_tokens=True,
        )

    def utterances(self, examples: Sequence[DemoExample]) -> list[Utterance]:
        """The recordings, of all that are bundled."""
        found = {own.name: own for own in examples}
        chosen = [found[name] for name in self.recordings]
        return [Utterance(own.name, own.path, own.text) for own in chosen]

    def to_dict(self) -> dict[str, Any]:
        """All of it in JSON's types, the steps and settings that it stands for included: of the
        latter what is not the paper's, so that a setting that is new, and leaves all as it was,
        makes no other suite of it."""
        found, paper = self.settings().to_dict(), Settings.paper().to_dict()
        own = {name: value for name, value in found["settings"].items() if value != paper[name]}
        return {
            "version": self.version,
            "recordings": list(self.recordings),
            **found,
            "settings": own,
            "steps": list(PERCENTAGES),
            "own_token_steps": list(OWN_PERCENTAGES),
        }


SUITE = Suite(
    version="1",
    recordings=(
        "test-00121", "test-00205", "test-00218", "test-00262",
        "test-00263", "test-00303", "test-00321", "test-00345",
    ),
    removals=("mean", "noise", "neighbours"),
)  # fmt: skip
