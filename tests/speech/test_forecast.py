"""What explanations will cost."""

from __future__ import annotations

import time

from captum_spes import SPES, Settings, SpeechToTextAttribution
from captum_spes.speech import METHODS
from captum_spes.speech.forecast import forecast


def test_a_pass_that_is_held_up_does_not_count_for_all(tiny_speech2text, audio):
    """The first passes of a model pay for caches, and other programs hold up single ones."""
    model, processor = tiny_speech2text
    explainer = SpeechToTextAttribution(SPES(model), processor)
    calls = []

    def wait(*_):
        calls.append(1)
        if len(calls) <= 2:
            time.sleep(0.5)

    hook = model.get_encoder().register_forward_pre_hook(wait)
    settings = Settings.paper(n_samples=2000, n_token_samples=0)
    try:
        found = forecast(explainer.adapter, audio, [(METHODS["spes"], settings)], target="the cat")
    finally:
        hook.remove()
    assert len(calls) > 2
    assert found.spectrograms == 2001
    # A thousand seconds, were one of the slow passes taken for all.
    assert found.seconds < 500
