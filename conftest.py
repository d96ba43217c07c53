"""Names that the examples in docstrings use."""

from types import SimpleNamespace

import pytest
import torch


@pytest.fixture(autouse=True)
def _docstring_names(doctest_namespace: dict[str, object]) -> None:
    import numpy as np
    from captum.attr import Saliency

    import captum_spes
    from captum_spes.attr import BernoulliDesign
    from captum_spes.maps import (
        group_words,
        paired_min_max,
        sentence_mean,
        span_mean,
        standardize,
        strongest_span,
    )
    from captum_spes.metrics import deletion_masks
    from captum_spes.speech.audio import as_audio, check_audio

    doctest_namespace.update(vars(captum_spes))
    doctest_namespace.update(
        np=np,
        torch=torch,
        Saliency=Saliency,
        SimpleNamespace=SimpleNamespace,
        BernoulliDesign=BernoulliDesign,
        group_words=group_words,
        paired_min_max=paired_min_max,
        sentence_mean=sentence_mean,
        span_mean=span_mean,
        standardize=standardize,
        strongest_span=strongest_span,
        deletion_masks=deletion_masks,
        as_audio=as_audio,
        check_audio=check_audio,
        SimpleClassifier=lambda: torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3)),
    )
