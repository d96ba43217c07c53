"""Codes of languages, which model families spell in different ways."""

from __future__ import annotations

# Codes of three letters, as SeamlessM4T has them, and of two where there is one. Some families name
# the variety of a language that they write: Mandarin, Egyptian Arabic.
_SHORT = {
    "afr": "af", "amh": "am", "arb": "ar", "ary": "ar", "arz": "ar", "ara": "ar", "asm": "as",
    "azj": "az", "bel": "be", "ben": "bn", "bos": "bs", "bul": "bg", "cat": "ca", "ces": "cs",
    "cmn": "zh", "zho": "zh", "cym": "cy", "dan": "da", "deu": "de", "ell": "el", "eng": "en",
    "est": "et", "eus": "eu", "fin": "fi", "fra": "fr", "fuv": "ff", "gaz": "om", "gle": "ga",
    "glg": "gl", "guj": "gu", "heb": "he", "hin": "hi", "hrv": "hr", "hun": "hu", "hye": "hy",
    "ibo": "ig", "ind": "id", "isl": "is", "ita": "it", "jav": "jv", "jpn": "ja", "kan": "kn",
    "kat": "ka", "kaz": "kk", "khk": "mn", "khm": "km", "kir": "ky", "kor": "ko", "lao": "lo",
    "lit": "lt", "lug": "lg", "lvs": "lv", "mal": "ml", "mar": "mr", "mkd": "mk", "mlt": "mt",
    "mya": "my", "nld": "nl", "nno": "nn", "nob": "nb", "npi": "ne", "nya": "ny", "ory": "or",
    "oci": "oc", "pan": "pa", "pbt": "ps", "pes": "fa", "pol": "pl", "por": "pt", "ron": "ro",
    "rus": "ru", "slk": "sk", "slv": "sl", "sna": "sn", "snd": "sd", "som": "so", "spa": "es",
    "srp": "sr", "swe": "sv", "swh": "sw", "tam": "ta", "tel": "te", "tgk": "tg", "tgl": "tl",
    "tha": "th", "tur": "tr", "ukr": "uk", "urd": "ur", "uzn": "uz", "vie": "vi", "xho": "xh",
    "yor": "yo", "zlm": "ms", "zsm": "ms", "zul": "zu",
}  # fmt: skip


def is_same_language(first: str, second: str) -> bool:
    """Whether two codes or names mean one language, such as ``de``, ``deu`` and ``German``."""
    return _short(first) == _short(second)


def _short(code: str) -> str:
    from transformers.models.whisper.tokenization_whisper import TO_LANGUAGE_CODE

    language = code.strip("_ <|>").lower()
    if language in TO_LANGUAGE_CODE:  # a name
        return str(TO_LANGUAGE_CODE[language])
    language = language.replace("_", "-").partition("-")[0]
    return _SHORT.get(language, language)
