"""Small language models with random weights, and their tokenizer of words."""

from types import SimpleNamespace

import torch
from captum.attr import TextTemplateInput, TextTokenInput

WORDS = [
    "[UNK]", "[BOS]", "Dave", "lives", "in", "Palm", "Coast", ",", "FL", "and", "is", "a",
    "lawyer", ".", "He", "likes", "playing", "golf", "hiking",
]  # fmt: skip
TARGET = "playing golf hiking"


def word_tokenizer():
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: number for number, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]")


class BagOfWords(torch.nn.Module):
    """Every word so far adds to the logits of the next: parts of a prompt nearly add up."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        weights = torch.randn(len(WORDS), len(WORDS), generator=generator)
        self.embedding = torch.nn.Embedding.from_pretrained(0.05 * weights)

    def forward(self, input_ids, attention_mask):
        return SimpleNamespace(logits=self.embedding(input_ids).cumsum(1))


def tiny_gpt2(spread=0.4):
    """One layer."""
    from transformers import GPT2Config, GPT2LMHeadModel

    size = {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 32}
    ends = {"bos_token_id": 1, "eos_token_id": 1}
    config = GPT2Config(vocab_size=len(WORDS), initializer_range=spread, **size, **ends)
    return _seeded(GPT2LMHeadModel, config)


def tiny_llama(spread=0.4):
    """One layer."""
    from transformers import LlamaConfig, LlamaForCausalLM

    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
    config = LlamaConfig(
        vocab_size=len(WORDS), num_attention_heads=2, initializer_range=spread, **size
    )
    return _seeded(LlamaForCausalLM, config)


def _seeded(model, config):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return model(config).eval()


def template_prompt():
    values = ["Dave", "Palm Coast", "FL", "lawyer"]
    text = "{} lives in {} , {} and is a {} . He likes"
    return TextTemplateInput(text, values, baselines=["[UNK]"] * len(values))


def token_prompt():
    return TextTokenInput("Dave lives in Palm Coast , FL", word_tokenizer())
