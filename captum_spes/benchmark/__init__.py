"""A standing benchmark: any method's row on a suite that never changes."""

from captum_spes.benchmark.running import DEFAULT_METHODS, standing_benchmark
from captum_spes.benchmark.standing import Standing, joined_standing
from captum_spes.benchmark.suite import SUITE, Suite

__all__ = [
    "DEFAULT_METHODS",
    "SUITE",
    "Standing",
    "Suite",
    "joined_standing",
    "standing_benchmark",
]
