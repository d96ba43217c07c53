"""When words and phones are spoken, and which written word matches which spoken one."""

from captum_spes.alignment.files import read_alignments, write_alignments
from captum_spes.alignment.forced import force_align
from captum_spes.alignment.intervals import Alignment, Interval
from captum_spes.alignment.matching import AlignedResult, WordMatches, align_result, match_words
from captum_spes.alignment.spelling import spoken_forms

__all__ = [
    "AlignedResult",
    "Alignment",
    "Interval",
    "WordMatches",
    "align_result",
    "force_align",
    "match_words",
    "read_alignments",
    "spoken_forms",
    "write_alignments",
]
