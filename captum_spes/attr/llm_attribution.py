"""Captum's wrapper for language models, which also takes SPES."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from captum.attr import (
    InterpretableInput,
    LLMAttributionResult,
    PerturbationAttribution,
)
from captum.attr import LLMAttribution as _CaptumLLMAttribution
from torch import Tensor

from captum_spes.attr.spes import SPES
from captum_spes.errors import ArgumentError, ArgumentTypeError


class LLMAttribution(_CaptumLLMAttribution):
    r"""
    ``captum.attr.LLMAttribution`` that also takes SPES.

    Attributes the log probability of each token that a language model writes, and of all of them
    together, to parts of its prompt: the words put into a template (``TextTemplateInput``), the
    tokens (``TextTokenInput``), or the segments of a picture (``ImageMaskInput``). Inputs,
    results and their plots are Captum's.

    SPES explains all tokens with the same samples. Take it with
    :class:`captum_spes.attr.MaskedDifference` where zero and the sign matter, as in
    ``result.plot_seq_attr()`` and ``plot_token_attr()``; see :class:`captum_spes.SPES`.

    Two defaults differ from Captum's, for every method: prompt and target go through the model
    in one pass (``forward_in_tokens=False``) instead of token by token, and keys and values are
    not cached (``use_cached_outputs=False``). With the cache, Captum 0.9 gives the prompt a second
    time to models of transformers 5, and every probability after the first token's is wrong.
    """

    # Any, as Captum's types allow its own methods only.
    SUPPORTED_METHODS: Any = (*_CaptumLLMAttribution.SUPPORTED_METHODS, SPES)
    SUPPORTED_PER_TOKEN_ATTR_METHODS: Any = (
        *_CaptumLLMAttribution.SUPPORTED_PER_TOKEN_ATTR_METHODS,
        SPES,
    )

    def __init__(
        self, attr_method: PerturbationAttribution, tokenizer: Any, attr_target: str = "log_prob"
    ) -> None:
        r"""
        Args:

            attr_method (PerturbationAttribution): SPES, FeatureAblation, ShapleyValueSampling,
                        ShapleyValues, Lime or KernelShap, made with the language model itself
                        (Hugging Face style), not with a function that calls it. Lime and
                        KernelShap explain the whole target only.
            tokenizer (PreTrainedTokenizer): The tokenizer of the model.
            attr_target (str, optional): "log_prob" or "prob": what is attributed.
                        Default: "log_prob"

        Raises:
            ArgumentTypeError: ``attr_method`` is another method, or was made with a function.
        """
        if not isinstance(attr_method, self.SUPPORTED_METHODS):
            names = ", ".join(method.__name__ for method in self.SUPPORTED_METHODS)
            got = attr_method.__name__ if isinstance(attr_method, type) else type(attr_method)
            raise ArgumentTypeError(
                f"attr_method must be an object of one of these methods: {names}; got {got}."
            )
        if not callable(getattr(attr_method.forward_func, "forward", None)):
            raise ArgumentTypeError(
                f"{type(attr_method).__name__} must be made with the language model itself, "
                "which generates and scores tokens, not with a function."
            )
        super().__init__(attr_method, tokenizer, attr_target)

    def attribute(
        self,
        inp: InterpretableInput,
        target: str | Tensor | None = None,
        num_trials: int = 1,
        gen_args: dict[str, Any] | None = None,
        use_cached_outputs: bool = False,
        _inspect_forward: Callable[[str, str, list[float]], None] | None = None,
        forward_in_tokens: bool = False,
        **kwargs: Any,
    ) -> LLMAttributionResult:
        r"""
        Args:

            inp (InterpretableInput): The prompt and what its features are.
            target (str or Tensor, optional): The text, or token ids, to explain.
                        Default: None, what the model generates
            num_trials (int, optional): How often to run the method; the mean is returned. With
                        SPES raise ``n_samples`` instead.
                        Default: 1
            gen_args (dict, optional): Arguments of ``model.generate`` where there is no
                        ``target``.
                        Default: None, at most 25 tokens, greedily
            use_cached_outputs (bool, optional): Must be False; see above.
                        Default: False
            forward_in_tokens (bool, optional): Whether the target goes through the model token
                        by token, one pass each, for models whose scores then differ.
                        Default: False
            **kwargs (Any): Arguments of the method's ``attribute``, such as ``n_samples``,
                        ``seed``, ``feature_mask``, ``tolerance`` and ``show_progress`` of SPES.
                        ``perturbations_per_eval`` must be 1.

        Returns:
            *LLMAttributionResult*: ``seq_attr`` of shape ``(features,)`` for the whole target,
            ``token_attr`` of shape ``(tokens, features)`` for each token.

        Raises:
            ArgumentError: an argument cannot be used with Captum's wrapper, or by the method.

        Examples::

            >>> # llm is a causal language model of Hugging Face, tokenizer its tokenizer.
            >>> spes = SPES(llm, estimator=MaskedDifference())
            >>> prompt = TextTemplateInput(
            ...     "{} lives in {} and is a {}. He likes",
            ...     values=["Dave", "Florida", "lawyer"],
            ...     baselines=["Someone", "a place", "person"],
            ... )
            >>> result = LLMAttribution(spes, tokenizer).attribute(
            ...     prompt, target=" playing golf", n_samples=200, seed=0
            ... )
            >>> result.token_attr.shape == (len(result.output_tokens), 3)
            True
        """
        _refuse_unusable(num_trials, use_cached_outputs, kwargs)
        return super().attribute(
            inp,
            target,
            num_trials,
            gen_args,
            use_cached_outputs,
            _inspect_forward,
            forward_in_tokens,
            **kwargs,
        )


def _refuse_unusable(
    num_trials: int, use_cached_outputs: bool, method_args: dict[str, Any]
) -> None:
    """Raise for what would end in an error deep in Captum's wrapper, or in wrong numbers."""
    if use_cached_outputs:
        raise ArgumentError(
            "use_cached_outputs must be False: with models of transformers 5 Captum's cached "
            "forward gives wrong probabilities."
        )
    if method_args.get("perturbations_per_eval", 1) != 1:
        raise ArgumentError(
            "perturbations_per_eval must be 1: Captum's LLMAttribution gives the model one prompt "
            f"at a time; got {method_args['perturbations_per_eval']!r}."
        )
    if method_args.get("return_halves"):
        raise ArgumentError(
            "return_halves must be False: Captum's LLMAttributionResult has no place for halves; "
            "compare the results of two seeds instead."
        )
    if num_trials > 1 and method_args.get("seed") is not None:
        raise ArgumentError(
            f"num_trials={num_trials} with a seed would draw the same samples {num_trials} times: "
            "raise n_samples instead."
        )
