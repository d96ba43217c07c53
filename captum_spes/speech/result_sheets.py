"""Pictures of all tokens, or all words, of an explanation: sheets of maps."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from captum_spes.errors import ArgumentError, truth, whole_number
from captum_spes.maps import span_mean
from captum_spes.plotting import MOST_MAPS, MapPanel, spectrogram_sheet
from captum_spes.speech.result_drawn import DrawnResult, shown_token

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class ResultSheets(DrawnResult):
    """The sheets of :class:`SpeechToTextAttributionResult`."""

    def plot_spectrogram_attrs(
        self, *, columns: int = 4, sheet: int = 0, words: bool = True
    ) -> Figure:
        r"""
        Draw the normalised saliency maps of tokens over the spectrogram, 40 on a sheet.

        Spoken words and maps of noise are drawn as :meth:`plot_spectrogram_attr` does, which also
        draws single maps into axes of a figure of your own; a sheet is a figure of its own.

        Args:

            columns (int, optional): Maps side by side.
                        Default: 4
            sheet (int, optional): Which 40 tokens, 0 for the first; a line above the maps
                        tells how many there are.
                        Default: 0
            words (bool, optional): Whether to write what is spoken above the maps.
                        Default: True

        Returns:
            *matplotlib.figure.Figure*, not shown. Maps that are mostly sampling noise
            (:meth:`reliability` below 0.5), or of tokens that rest on nothing in the audio, are
            grey, and their titles say so.

        Raises:
            ArgumentError: there is no such sheet, or ``columns`` is less than 1.

        Examples::

            >>> result.plot_spectrogram_attrs().savefig("tokens.png")
        """
        n_tokens = len(self.output_tokens)
        drawn, note = _sheet(sheet, n_tokens, self.n_sheets, "tokens")
        truth("words", words)
        rows = range(n_tokens)[drawn]
        maps = self._normalized(drawn).spectrogram_attr
        panels = [
            MapPanel(
                saliency,
                shown_token(self.output_tokens[row]),
                self._spoken([row]) if words else (),
                self._doubt("tokens", row, [row]),
            )
            for saliency, row in zip(maps, rows, strict=True)
        ]
        return self._draw_sheet(panels, columns, note)

    def plot_words(self, *, columns: int = 4, sheet: int = 0, words: bool = True) -> Figure:
        r"""
        Draw the saliency maps of words (:meth:`word_attr`) over the spectrogram, 40 on a sheet.

        Args:

            columns (int, optional): Maps side by side.
                        Default: 4
            sheet (int, optional): Which 40 words, 0 for the first, of ``n_word_sheets``; a line
                        above the maps tells how many words there are.
                        Default: 0
            words (bool, optional): Whether to write what is spoken above the maps, where words
                        have times; that of the map is bold.
                        Default: True

        Returns:
            *matplotlib.figure.Figure*, not shown. Maps that are mostly sampling noise
            (:meth:`reliability` below 0.5), or of words that rest on nothing in the audio, are
            grey, and their titles say so.

        Raises:
            ArgumentError: the output has no words, there is no such sheet, or ``columns`` is less
                than 1.

        Examples::

            >>> result.plot_words(columns=2).savefig("words.png")
        """
        n_words = len(self.words)
        if not n_words:
            raise ArgumentError("the output has no words to draw.")
        drawn, note = _sheet(sheet, n_words, self.n_word_sheets, "words")
        truth("words", words)
        spans = [word.token_indices for word in self.words[drawn]]
        # Maps of the tokens of this sheet alone, as those of a long text are large.
        first, last = min(map(min, spans)), max(map(max, spans))
        maps = self._normalized(slice(first, last + 1)).spectrogram_attr
        means = span_mean(maps, None, [[token - first for token in span] for span in spans])
        panels = [
            MapPanel(
                saliency,
                self.words[row].word,
                self._spoken(self.words[row].token_indices) if words else (),
                self._doubt("words", row, self.words[row].token_indices),
            )
            for saliency, row in zip(means.spectrogram_attr, range(n_words)[drawn], strict=True)
        ]
        return self._draw_sheet(panels, columns, note)

    def _draw_sheet(self, panels: list[MapPanel], columns: int, note: str) -> Figure:
        return spectrogram_sheet(
            panels,
            self.frame_times,
            self.mel_frequencies,
            spectrogram=self.spectrogram,
            columns=whole_number("columns", columns, 1),
            note=note,
        )

    @property
    def n_sheets(self) -> int:
        """How many sheets :meth:`plot_spectrogram_attrs` can draw."""
        return math.ceil(len(self.output_tokens) / MOST_MAPS)

    @property
    def n_word_sheets(self) -> int:
        """How many sheets :meth:`plot_words` can draw; 0 for an output without words."""
        return math.ceil(len(self.words) / MOST_MAPS)


def _sheet(sheet: int, n_maps: int, n_sheets: int, noun: str) -> tuple[slice, str]:
    """Which maps are on a sheet, and the line above them."""
    first = MOST_MAPS * whole_number("sheet", sheet, 0)
    if first >= n_maps:
        raise ArgumentError(
            f"sheet must be below {n_sheets}: there are {n_maps} {noun}, {MOST_MAPS} on a "
            f"sheet; got {sheet}."
        )
    last = min(first + MOST_MAPS, n_maps)
    note = "" if n_sheets == 1 else f"{noun} {first + 1} to {last} of {n_maps}"
    return slice(first, last), note
