"""How good translations are: corpus BLEU and chrF, as sacrebleu computes them."""

from __future__ import annotations

from collections.abc import Sequence

from zoo.datasets import Dataset
from zoo.errors import DataError, MissingExtra


def score(dataset: Dataset, translations: Sequence[str], split: str = "test") -> dict[str, object]:
    """Scores of the translations of a whole split, in its order, against its references.

    Args:
        dataset: of the task translation.
        translations: one text for each example of the split.
        split: train, validation or test.

    Returns:
        `bleu` (Papineni et al., 2002) and `chrf` (Popović, 2015), both from 0 to 100, with
        sacrebleu's signatures `bleu_signature` and `chrf_signature`, which say how they were
        computed (Post, "A Call for Clarity in Reporting BLEU Scores", 2018). Cased and with
        punctuation; Chinese is cut into characters first.

    Raises:
        DataError: there is not one translation for each reference.
        MissingExtra: sacrebleu is not installed.
    """
    try:
        from sacrebleu.metrics import BLEU, CHRF
    except ImportError as error:
        raise MissingExtra("sacrebleu", "translation") from error

    references = list(dataset.references.get(split, ()))
    if len(translations) != len(references):
        raise DataError(
            f"{dataset.name} has {len(references)} {split} references, but there are "
            f"{len(translations)} translations to score: pass one for each."
        )
    scores: dict[str, object] = {}
    for name, metric in (("bleu", BLEU(tokenize=_tokenizer(dataset))), ("chrf", CHRF())):
        scores[name] = metric.corpus_score(list(translations), [references]).score
        scores[f"{name}_signature"] = str(metric.get_signature())
    return scores


def _tokenizer(dataset: Dataset) -> str:
    """sacrebleu's name for the way words are told apart: 13a is that of the WMT campaigns."""
    return "zh" if dataset.task.languages[1].startswith("zh") else "13a"
