"""``captum-spes listen``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from captum_spes.cli.options import load, positive, print_text, print_written
from captum_spes.errors import ArgumentError
from captum_spes.text import visible


def add_listen(commands: Any) -> None:
    """Add the command."""
    listen = commands.add_parser(
        "listen",
        help="write the parts of a recording that an explanation marks as sound",
        description="Write a recording with only the most salient parts of its time-frequency "
        "plane: of the sentence, a word or a token. It is filtered at its own rate; all else is "
        "silent.",
    )
    add = listen.add_argument
    add(
        "explanation",
        type=Path,
        metavar="EXPLANATION",
        help="a saved explanation: explanation.npz, as explain --out writes it",
    )
    add("--out", type=Path, metavar="FILE", required=True, help="the sound: .wav or .flac")
    add(
        "--word",
        metavar="WORD",
        help="a word or phrase of the output (default: the whole sentence)",
    )
    add(
        "--occurrence",
        type=positive,
        metavar="N",
        help="which one, where the output holds the word of --word several times (default: 1)",
    )
    add(
        "--token",
        type=int,
        metavar="N",
        help="a token, counted from 0 or, negative, from the end",
    )
    add(
        "--keep",
        type=float,
        default=0.2,
        metavar="SHARE",
        help="share of the time-frequency plane that is kept (default: %(default)s)",
    )
    add("--complement", action="store_true", help="write what is left out instead")
    add(
        "--audio",
        type=Path,
        metavar="FILE",
        help="the recording (default: the file that was explained, where it still is what it was)",
    )
    add(
        "--model",
        metavar="NAME_OR_DIR",
        help="let the model that was explained hear the sound, and print what it writes",
    )
    add("--device", metavar="DEVICE", help="where the model runs: cpu, cuda, cuda:1, mps")
    # What else loading a model may ask for; how it writes is as it was when it was explained.
    listen.set_defaults(run=_listen, language=None, label=None, compile=False)


def _listen(parsed: argparse.Namespace) -> None:
    from captum_spes.speech import SpeechToTextAttributionResult

    if parsed.occurrence is not None and parsed.word is None:
        raise ArgumentError("--occurrence is of the word of --word: give that, too.")
    result = SpeechToTextAttributionResult.load(parsed.explanation)
    asked = {
        "token": parsed.token,
        "keep": parsed.keep,
        "word": parsed.word,
        "occurrence": parsed.occurrence or 1,
        "complement": parsed.complement,
        "audio": parsed.audio,
    }
    sound = result.listen(**asked)
    sound.save(parsed.out)
    what = f"the {100 * parsed.keep:.4g} % of the cells that matter most"
    if parsed.complement:
        what = f"all but {what}"
    print_text(f"{what} to {_named(result, parsed)}: {sound.seconds:.2f} s at "
               f"{sound.sampling_rate} Hz")  # fmt: skip
    print_written([parsed.out])
    if parsed.model is not None:
        from captum_spes.metrics import sound_faithfulness
        from captum_spes.speech.models import adapt

        print_text(str(sound_faithfulness(adapt(*load(parsed)), result, **asked)))


def _named(result: Any, parsed: argparse.Namespace) -> str:
    """What is listened to, for people."""
    if parsed.word is not None:
        return repr(visible(parsed.word))
    if parsed.token is not None:
        return repr(visible(result.output_tokens[parsed.token]))
    return repr(visible(result.text))
