"""The bundled encoder with another way to write: a CTC layer, or a transducer."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional
from transformers import ParakeetCTCConfig, ParakeetForCTC, ParakeetForTDT, ParakeetTDTConfig

# How many states of the encoder a token, or the blank, may last.
DURATIONS = (0, 1, 2, 3, 4)
_WIDTH = 192


def make_ctc(demo: Any, tokenizer: Any) -> ParakeetForCTC:
    """One layer over the encoder; the padding is the blank, as in the published models."""
    config = ParakeetCTCConfig(
        vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id,
        encoder_config=demo.config.encoder_config.to_dict(),
    )  # fmt: skip
    return _with_encoder(ParakeetForCTC(config), demo)


def make_transducer(demo: Any, tokenizer: Any) -> ParakeetForTDT:
    """A prediction network over the text so far, and a joint network over both."""
    config = ParakeetTDTConfig(
        vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id,
        blank_token_id=tokenizer.convert_tokens_to_ids("<blank>"), decoder_hidden_size=_WIDTH,
        num_decoder_layers=1, durations=list(DURATIONS), max_symbols_per_step=5,
        decoder_start_token_id=tokenizer.convert_tokens_to_ids("<blank>"),
        encoder_config=demo.config.encoder_config.to_dict(),
    )  # fmt: skip
    model = ParakeetForTDT(config)
    # ``generate`` takes the largest of all that the joint network says, durations among it.
    durations = range(len(tokenizer), len(tokenizer) + len(DURATIONS))
    model.generation_config.suppress_tokens = list(durations)
    return _with_encoder(model, demo)


def _with_encoder(model: Any, demo: Any) -> Any:
    """The encoder of the bundled model, which is not trained further."""
    model.encoder.load_state_dict(demo.model.encoder.state_dict())
    model.encoder.requires_grad_(False)
    return model


def ctc_loss(model: Any, batch: Any) -> Tensor:
    """Of states of the encoder, mean over tokens, then over the batch."""
    logits = model.ctc_head(batch.states)
    scores = functional.log_softmax(logits.float(), -1).transpose(0, 1)
    return functional.ctc_loss(
        scores, batch.labels, batch.n_states, batch.n_labels,
        blank=model.config.pad_token_id, zero_infinity=True,
    )  # fmt: skip


def transducer_loss(model: Any, batch: Any) -> Tensor:
    """Of states of the encoder; transformers' own loss of tokens and durations."""
    start = model.config.blank_token_id
    joint = model.joint(
        encoder_hidden_states=model.encoder_projector(batch.states)[:, :, None],
        decoder_hidden_states=model.decoder(functional.pad(batch.labels, (1, 0), value=start))[
            :, None
        ],
    )
    n_tokens = model.config.vocab_size
    loss: Tensor = model.loss_function(
        token_logits=joint[..., :n_tokens], duration_logits=joint[..., n_tokens:],
        labels=batch.labels, logit_lengths=batch.n_states, label_lengths=batch.n_labels,
        blank_token_id=start, durations=model.config.durations,
    )  # fmt: skip
    return loss
