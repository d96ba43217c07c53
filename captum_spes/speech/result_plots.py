"""Pictures of an explanation: the ``plot_...`` methods of a result."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from numbers import Integral
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from captum_spes.errors import ArgumentError, instance_of, truth
from captum_spes.plotting import (
    MapPanel,
    contrast_figure,
    contrast_token_figure,
    spectrogram_figure,
    token_figure,
)
from captum_spes.speech.contrast_maps import has_zero
from captum_spes.speech.result_drawn import shown_token
from captum_spes.speech.result_sheets import ResultSheets

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class ResultPlots(ResultSheets):
    """What :class:`SpeechToTextAttributionResult` draws. Figures are returned, never shown."""

    def plot_spectrogram_attr(
        self,
        token: int | None = None,
        *,
        over_spectrogram: bool = False,
        normalized: bool = True,
        title: str | None = None,
        words: bool = True,
        ax: Axes | None = None,
    ) -> Figure:
        r"""
        Draw the saliency map of a token, or of the whole sentence.

        What is spoken stands above the map, each word at its time and the word of the token bold,
        where ``words`` have times (:func:`captum_spes.alignment.align_result`). A map that is
        mostly sampling noise (:meth:`reliability` below 0.5), or of a token that rests on nothing
        in the audio, is drawn in greys, and its title says so.

        Args:

            token (int, optional): Index into ``output_tokens``, negative from the end.
                        Default: None, the sentence
            over_spectrogram (bool, optional): Whether to lay the map over the
                        spectrogram.
                        Default: False
            normalized (bool, optional): Whether to draw normalised values; raw ones need
                        a token.
                        Default: True
            title (str, optional): Default: None, the token or the text
            words (bool, optional): Whether to write what is spoken above the map.
                        Default: True
            ax (matplotlib Axes, optional): Empty ones, to draw into; the colour bar is beside.
                        Default: None, a new figure

        Returns:
            *matplotlib.figure.Figure*, not shown: seconds and Hz on the axes, a colour
            bar. Save it with ``savefig``; PDF and SVG hold text as text. With ``ax`` it is the
            figure of those axes; one of ``plt.figure(FigureClass=NotebookFigure)`` (from
            ``captum_spes.plotting``) holds text as text, too.

        Examples::

            >>> result.plot_spectrogram_attr(0).savefig("token.pdf")

            Two results, or two tokens, in one figure:

            >>> import matplotlib.pyplot as plt
            >>> figure, (above, below) = plt.subplots(2, 1, layout="constrained")
            >>> _ = result.plot_spectrogram_attr(0, ax=above)
            >>> _ = result.plot_spectrogram_attr(1, ax=below)
            >>> figure.savefig("two.pdf")
            >>> plt.close(figure)
        """
        truth("normalized", normalized)
        truth("over_spectrogram", over_spectrogram)
        if title is not None:
            instance_of("title", title, str, "a text or None")
        drawn = self._panel(token, normalized, truth("words", words))
        return spectrogram_figure(
            drawn if title is None else replace(drawn, title=title),
            self.frame_times,
            self.mel_frequencies,
            spectrogram=self.spectrogram if over_spectrogram else None,
            label="saliency (normalised)" if normalized else "saliency (raw)",
            ax=ax,
        )

    def plot_contrast(
        self,
        *,
        over_spectrogram: bool = True,
        title: str | None = None,
        words: bool = True,
        ax: Axes | None = None,
    ) -> Figure:
        r"""
        Draw what speaks for the word of a contrast, and what for its foil, in two colours.

        Args:

            over_spectrogram (bool, optional): Whether to lay the map over the spectrogram; cells
                        that hardly matter, four of five, are then not coloured.
                        Default: True
            title (str, optional): Default: None, the question
            words (bool, optional): Whether to write what is spoken above the map, where words have
                        times.
                        Default: True
            ax (matplotlib Axes, optional): What to draw into; the colour bar stands beside it.
                        Default: None, a new figure

        Returns:
            *matplotlib.figure.Figure*, not shown: :meth:`contrast_attr` with seconds and Hz on the
            axes, and a colour bar with word and foil at its ends. Its colours are full for the
            strongest 0.3 % of the cells. A map that is mostly sampling noise (:meth:`reliability`
            below 0.5) is grey, and its title says so.

        Raises:
            ArgumentError: the result is no contrast.

        Examples::

            >>> from captum_spes.forward import Contrast
            >>> result = explainer.attribute(
            ...     "speech.flac", target="the cat", contrast=Contrast("cat", "the"),
            ...     scheme="efficient", n_samples=50, n_token_samples=50, seed=0,
            ... )
            >>> result.plot_contrast().savefig("contrast.png")
        """
        truth("over_spectrogram", over_spectrogram)
        if title is not None:
            instance_of("title", title, str, "a text or None")
        contrast = self._contrast()
        drawn = MapPanel(
            self.contrast_attr().spectrogram_attr,
            self._question() if title is None else title,
            self._spoken([0]) if truth("words", words) else (),
            self._doubt("tokens", 0, [0]),
        )
        return contrast_figure(
            drawn,
            self.frame_times,
            self.mel_frequencies,
            (contrast["word"], contrast["foil"]),
            spectrogram=self.spectrogram if over_spectrogram else None,
            label=self._contrast_label(),
            ax=ax,
        )

    def _question(self) -> str:
        contrast = self._contrast()
        return f'Why "{contrast["word"]}" and not "{contrast["foil"]}"?'

    def _contrast_label(self) -> str:
        score = self._contrast()["score"]
        shown = str(score).replace("_", " ")
        return shown if has_zero(self.method, self.settings) else f"{shown} (0: average)"

    def _contrast_tokens(
        self, values: Tensor, tokens: list[str], of_columns: str, ax: Axes | None
    ) -> Figure:
        contrast = self._contrast()
        return contrast_token_figure(
            values,
            [shown_token(token) for token in tokens],
            (contrast["word"], contrast["foil"]),
            title=self._question(),
            label=self._contrast_label(),
            of_columns=of_columns,
            ax=ax,
        )

    def plot_token_attr(
        self, *, normalized: bool = True, by: str = "tokens", ax: Axes | None = None
    ) -> Figure:
        r"""
        Draw how much each token rested on each previous token.

        Args:

            normalized (bool, optional): Whether to draw normalised values.
                        Default: True
            by (str, optional): "tokens", or "words" for rows and columns as
                        :meth:`phrase_attr` gives them.
                        Default: "tokens"
            ax (matplotlib Axes, optional): What to draw into; the colour bar stands beside it.
                        Default: None, a new figure

        Returns:
            *matplotlib.figure.Figure*, not shown: explained tokens as rows, previous
            tokens as columns, a colour bar. Of more than 60 tokens, or fewer in small axes, not all
            are named. Of a contrast, which has one row, a bar for each previous token, up for the
            word and down for the foil: values of :meth:`contrast_attr`, whatever ``normalized``
            says.

        Raises:
            ArgumentError: the result has no attributions of previous tokens, or no words.

        Examples::

            >>> result.plot_token_attr().savefig("previous_tokens.png")
        """
        truth("normalized", normalized)
        if by not in ("tokens", "words"):
            raise ArgumentError(f"by must be 'tokens' or 'words', got {by!r}.")
        matrix, rows, columns = self.token_attr, self.output_tokens, self.previous_tokens
        if matrix is None:
            raise ArgumentError("there is no token_attr to draw; explain previous tokens too.")
        if "contrast" in self.parameters:
            values = self.contrast_attr().token_attr
            assert values is not None
            return self._contrast_tokens(values, columns, "previous token", ax)
        if by == "words":
            if not self.words:
                raise ArgumentError("the output has no words to draw by.")
            _, matrix, rows, _, columns = self.phrase_attr(normalized=normalized)
        elif normalized:
            # In parts, as maps of many tokens are large.
            drawn = [self._normalized(part).token_attr for part in _parts(len(matrix))]
            matrix = torch.cat([part for part in drawn if part is not None])
        assert matrix is not None
        return token_figure(
            matrix,
            [shown_token(row) for row in rows],
            [shown_token(column) for column in columns],
            label="saliency (normalised)" if normalized else "saliency (raw)",
            of_rows=f"explained {by[:-1]}",
            ax=ax,
        )

    def plot_instruction_attr(self, *, ax: Axes | None = None) -> Figure:
        r"""
        Draw how much each token rested on each token of the instruction.

        Args:

            ax (matplotlib Axes, optional): What to draw into; the colour bar stands beside it.
                        Default: None, a new figure

        Returns:
            *matplotlib.figure.Figure*, not shown: explained tokens as rows, the instruction as
            columns, raw attributions, a colour bar; of a contrast bars, as of
            :meth:`plot_token_attr`.

        Raises:
            ArgumentError: the result has no attributions of an instruction.

        Examples::

            >>> from captum_spes.demo import load_speech_llm
            >>> model, processor, examples = load_speech_llm()
            >>> explainer = SpeechToTextAttribution(SPES(model), processor)
            >>> asked = {"instruction": "Translate the speech into German."}
            >>> result = explainer.attribute(
            ...     examples[0].path, gen_args=asked, n_samples=60, n_token_samples=50,
            ...     patches_per_second=60, seed=0,
            ... )
            >>> result.plot_instruction_attr().savefig("instruction.png")
        """
        if self.instruction_attr is None:
            raise ArgumentError(
                "there is no instruction_attr to draw: only speech LLMs read an instruction, and "
                "methods that perturb nothing, or all sides together, do not explain it."
            )
        if "contrast" in self.parameters:
            values = self.contrast_attr().instruction_attr
            assert values is not None
            return self._contrast_tokens(values, self.instruction_tokens, "instruction", ax)
        return token_figure(
            self.instruction_attr,
            [shown_token(token) for token in self.output_tokens],
            [shown_token(token) for token in self.instruction_tokens],
            label="saliency (raw)",
            of_columns="instruction",
            ax=ax,
        )

    def _panel(self, token: int | None, normalized: bool, words: bool) -> MapPanel:
        """The map of a token, or of the sentence."""
        if token is None:
            if not normalized:
                raise ArgumentError("a sentence has normalised maps only; name a token.")
            spoken = self._spoken([]) if words else ()
            saliency = self.sentence_attr().spectrogram_attr
            return MapPanel(saliency, self.text, spoken, self._doubt("sentence", 0))
        n_tokens = len(self.output_tokens)
        is_index = isinstance(token, Integral) and not isinstance(token, bool)
        if not is_index or not -n_tokens <= token < n_tokens:
            raise ArgumentError(f"token must be an index of the {n_tokens} tokens, got {token!r}.")
        row = range(n_tokens)[token]
        maps = self._normalized(slice(row, row + 1)).spectrogram_attr
        return MapPanel(
            maps[0] if normalized else self.spectrogram_attr[row],
            shown_token(self.output_tokens[row]),
            self._spoken([row]) if words else (),
            self._doubt("tokens", row, [row]),
        )


def _parts(length: int, size: int = 32) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, length, size))
