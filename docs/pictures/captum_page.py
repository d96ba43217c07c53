"""Make the pictures of captum.md: run its examples, with a small language model, and draw.

Run it from the root of the repository: ``python docs/pictures captum_page``. It takes less than
a minute.
"""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any
from unittest.mock import patch

import matplotlib
import torch
import transformers
from captum.attr import visualization
from matplotlib import pyplot as plt
from tokenizers import Tokenizer, models, pre_tokenizers

matplotlib.use("Agg")
DOCS = Path(__file__).resolve().parents[1]
NAMES = ["Dave", "Ann", "Omar", "Mei"]
SPORTS = {"Florida": "golf", "Norway": "hockey", "Hawaii": "tennis", "Nepal": "chess"}
DRINKS = {"lawyer": "wine", "nurse": "tea", "baker": "milk", "pilot": "water"}


def main() -> None:
    """Write the pictures."""
    page = run_page()
    draw_pictures(page).savefig(DOCS / "images" / "captum_pictures.png", dpi=110)
    draw_metrics(page).savefig(DOCS / "images" / "captum_metrics.png", dpi=110)
    draw_noise_tunnel(page).savefig(DOCS / "images" / "captum_noise_tunnel.png", dpi=110)
    draw_language_model(page).savefig(DOCS / "images" / "captum_llm.png", dpi=110)


def run_page() -> dict[str, Any]:
    """Everything that the examples of the page define."""
    torch.manual_seed(0)
    text = (DOCS / "captum.md").read_text(encoding="utf-8")
    page: dict[str, Any] = {}
    llm, tokenizer = small_language_model()
    with (
        patch.object(transformers.AutoModelForCausalLM, "from_pretrained", return_value=llm),
        patch.object(transformers.AutoTokenizer, "from_pretrained", return_value=tokenizer),
    ):
        for block in re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
            exec(block, page)
    return page


def small_language_model() -> tuple[Any, Any]:
    """A GPT-2 of one layer: the place decides the sport, the job the drink, the name nothing."""
    told = []
    for name, place, job in itertools.product(
        [*NAMES, "Someone"], [*SPORTS, "somewhere"], [*DRINKS, "person"]
    ):
        # Where the place or the job is not told, all sports or drinks are as likely.
        sports = [SPORTS[place]] if place in SPORTS else [*SPORTS.values()]
        drinks = [DRINKS[job]] if job in DRINKS else [*DRINKS.values()]
        told += [
            f"{name} lives in {place} and works as a {job} . He plays {sport} and drinks {drink}"
            for sport, drink in itertools.product(sports, drinks)
        ]
    words = sorted({word for sentence in told for word in sentence.split()})
    inner = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="."))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=inner)
    config = transformers.GPT2Config(
        vocab_size=len(words), n_embd=48, n_layer=1, n_head=4, n_positions=32,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    model = transformers.GPT2LMHeadModel(config)
    ids = torch.tensor([tokenizer.encode(sentence) for sentence in told])
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(400):
        batch = ids[torch.randint(len(ids), (64,))]
        optimizer.zero_grad()
        model(batch, labels=batch).loss.backward()
        optimizer.step()
    return model.eval(), tokenizer


def draw_pictures(page: dict[str, Any]) -> Any:
    """Rows: ablation, the mean, the difference; columns: four of Captum's pictures."""
    kinds = [
        ("heat_map", "all"),
        ("heat_map", "positive"),
        ("masked_image", "absolute_value"),
        ("blended_heat_map", "all"),
    ]
    image = page["as_image"](page["spectrogram"].expand(-1, 3, -1, -1))
    figure, axes = plt.subplots(3, 4, figsize=(12, 5.6), layout="constrained")
    for row, (name, attributions) in zip(axes, page["maps"].items(), strict=True):
        for axis, (method, sign) in zip(row, kinds, strict=True):
            visualization.visualize_image_attr(
                page["as_image"](attributions), image, method, sign,
                plt_fig_axis=(figure, axis), use_pyplot=False,
            )  # fmt: skip
        row[0].set_ylabel(name.replace(", ", ",\n"), fontsize=11)
    for axis, (method, sign) in zip(axes[0], kinds, strict=True):
        axis.set_title(f'{method}\nsign="{sign}"', fontsize=11)
    return figure


def draw_metrics(page: dict[str, Any]) -> Any:
    """Bars of infidelity and sensitivity."""
    many, ones = page["many"], page["ones"]
    infidelities = {
        "FeatureAblation": page["ablation"].attribute(ones),
        "SPES, MaskedMean": page["mean"].attribute(ones, **many),
        "SPES, MaskedDifference": page["difference"].attribute(ones, **many),
    }
    figure, axes = plt.subplots(1, 2, figsize=(12, 2.6), layout="constrained")
    values = {name: page["infidelity_of"](found) for name, found in infidelities.items()}
    _bars(axes[0], values, "infidelity (less is better)", "{:.4f}")
    _bars(axes[1], page["sensitivities"], "sensitivity_max (less is steadier)", "{:.3f}")
    return figure


def _bars(axis: Any, values: dict[str, float], title: str, style: str) -> None:
    bars = axis.barh(list(values), list(values.values()), color="#4772b3")
    axis.bar_label(bars, [style.format(value) for value in values.values()], padding=4)
    axis.invert_yaxis()
    axis.margins(x=0.2)
    axis.set_title(title, fontsize=11)
    axis.spines[["top", "right"]].set_visible(False)


def draw_noise_tunnel(page: dict[str, Any]) -> Any:
    """One level, two levels, two levels through NoiseTunnel."""
    method = page["SPES"](page["detector"], estimator=page["MaskedDifference"]())
    samples = {"n_samples": 5000, "perturbations_per_eval": 500, "seed": 0, "target": 0}
    levels = {"feature_mask": page["levels"]}
    maps = {
        "one level": page["maps"]["SPES, MaskedDifference"],
        "two levels": method.attribute(page["spectrogram"], **samples, **levels),
        "two levels, NoiseTunnel": page["smooth"],
    }
    figure, axes = plt.subplots(1, 3, figsize=(12, 2.8), layout="constrained")
    for axis, (name, attributions) in zip(axes, maps.items(), strict=True):
        visualization.visualize_image_attr(
            page["as_image"](attributions), None, "heat_map", "all",
            plt_fig_axis=(figure, axis), use_pyplot=False, title=name,
        )  # fmt: skip
    return figure


def draw_language_model(page: dict[str, Any]) -> Any:
    """Captum's plot of the result."""
    figure, axis = page["result"].plot_token_attr()
    figure.set_size_inches(8, 4.2)
    axis.set_ylabel("word of the answer")
    figure.tight_layout()
    return figure


if __name__ == "__main__":
    main()
