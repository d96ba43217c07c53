"""Where a map is strongest, in words."""

from __future__ import annotations

from captum_spes.maps import Peak


def span(peak: Peak | None, number_format: str) -> str:
    """Start and end as a cell of a table."""
    return "-" if peak is None else f"{peak.start:{number_format}}-{peak.end:{number_format}}"
