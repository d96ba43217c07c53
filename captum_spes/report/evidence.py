"""Checked words as lines of text."""

from __future__ import annotations

from collections import Counter

from captum_spes.speech.evidence import VERDICTS, EvidenceReport, WordEvidence
from captum_spes.text import shortened, visible

_LONGEST = 24
_LINE = "{:>15}  {:<24} {:<12} {:>9} {:>12}"
HEADER = _LINE.format("time (s)", "word", "verdict", "evidence", "probability")


def evidence_line(word: WordEvidence) -> str:
    """A row of the table below ``HEADER``: time, word, verdict, evidence in nats, probability."""
    time, evidence = f"{word.start:.2f}-{word.end:.2f}", f"{word.evidence:.2f}"
    shown = shortened(visible(word.word), _LONGEST)
    return _LINE.format(time, shown, word.verdict, evidence, f"{word.probability:.3f}")


def evidence_summary(report: EvidenceReport) -> str:
    """How many words got which verdict, and how often the rule errs."""
    if not report.words:
        return "no word was written"
    counts = Counter(word.verdict for word in report.words)
    shares = ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS.values())
    misfit = f"\nnot calibrated for this: {report.misfit}" if report.misfit else ""
    words = "word" if len(report.words) == 1 else "words"
    return f"{len(report.words)} {words}: {shares}\nverdicts {report.rule}{misfit}"
