"""Tables of docs/results/kinds_of_models.md."""

from .shape import MISSING, Table, picked
from .sources import markdown_rows

PAGE = "results/kinds_of_models.md"
FILE = "kinds_of_models.md"
MODELS = ("CTC", "transducer", "encoder-decoder", "speech LLM")
ATTENTION = {"encoder-decoder": "cross-attention", "speech LLM": "self-attention to the audio"}


def methods() -> Table:
    rows = {}
    for model in MODELS:
        names = {"spes-efficient": "spes-efficient", "integrated-gradients": "integrated-gradients"}
        if model in ATTENTION:
            # The file calls both kinds of attention by the method's name.
            names["cross-attention"] = ATTENTION[model]
        names |= {"energy": "energy", "random": "random"}
        for method, shown in names.items():
            # A model is named in the first of its rows.
            rows[model, method] = (model if method == "spes-efficient" else "", shown)
    table = picked(
        markdown_rows(FILE, "model"),
        rows,
        {
            "pointing": ("pointing ↑", 2),
            "ROC-AUC": ("ROC-AUC ↑", 2),
            "half (s)": ("half (s) ↓", 3),
            "before (s)": ("before (s)", 2),
            "after (s)": ("after (s)", 2),
            "own-token deletion": ("own-token deletion ↑", 1),
        },
        by=("model", "method"),
    )
    for row in table.rows:
        row[4:7] = [cell.partition(" [")[0] for cell in row[4:7]]
    return table


def minus_encoder_decoder() -> Table:
    return picked(
        markdown_rows(FILE, "SPES, minus encoder-decoder"),
        [model for model in MODELS if model != "encoder-decoder"],
        {"pointing": ("pointing", 2), "roc_auc": ("ROC-AUC", 3), "half": ("half (s)", 3)},
        by="SPES, minus encoder-decoder",
        head="minus the encoder-decoder",
    )


def minus_gradients() -> Table:
    columns = {"pointing": ("pointing", 2), "roc_auc": ("ROC-AUC", 3)}
    return picked(
        markdown_rows(FILE, "SPES minus Integrated Gradients"),
        MODELS,
        {**columns, "own_token": ("own-token deletion", 1)},
        by="SPES minus Integrated Gradients",
        head="minus Integrated Gradients",
    )


def shares() -> Table:
    table = picked(
        markdown_rows(FILE, "model", which=1),
        {
            "transducer": "transducer",
            "speech LLM en": "speech LLM, asked to transcribe",
            "speech LLM de": "speech LLM, asked for German",
            "encoder-decoder": "encoder-decoder",
        },
        {name: (name, 2) for name in ("audio", "text so far", "instruction")},
        by="model",
    )
    for row in table.rows:
        if "LLM" not in row[0]:
            # These have no instruction; the file has a share of 0 for them.
            row[-1] = MISSING
    return table


TABLES = {
    "kinds-methods": methods,
    "kinds-minus-encoder-decoder": minus_encoder_decoder,
    "kinds-minus-gradients": minus_gradients,
    "kinds-shares": shares,
}
