"""What others report for a model of the same kind, as closely as there is: figure and source."""

from __future__ import annotations

# model → figure, source. Where the data differ, the figure says on what.
PUBLISHED = {
    "cnn": ("accuracy 0.9922 on MNIST", "Keras examples, Simple MNIST convnet"),
    "cnn_small": (
        "accuracy 0.983 on MNIST for LeNet-1, a network of about its size",
        "LeCun et al. 1998, table of section III",
    ),
    "dense": ("accuracy 0.953 on MNIST, 300 hidden units", "LeCun et al. 1998, section III"),
    "lenet5": ("accuracy 0.9905 on MNIST, without distortions", "LeCun et al. 1998, section III"),
    "resnet": ("accuracy 0.9125 on CIFAR-10, depth 20", "He et al. 2016, table 6"),
    "vit": ("accuracy 0.779 on ImageNet, ViT-B/16 without pre-training", "Dosovitskiy et al. 2021"),
    "simple_rnn": (
        "accuracy 0.976 (MLP), 0.956 (Time-CNN), 0.993 (FCN) on JapaneseVowels",
        "Ismail Fawaz et al. 2019",
    ),
    "gru": (
        "accuracy 0.976 (MLP), 0.965 (TWIESN), 0.992 (ResNet) on JapaneseVowels",
        "Ismail Fawaz et al. 2019",
    ),
    "lstm": (
        "accuracy 0.954 (MLP), 0.961 (FCN), 0.963 (ResNet) on ItalyPowerDemand",
        "Ismail Fawaz et al. 2019",
    ),
    "bidirectional_lstm": (
        "accuracy 0.9631 on R8, with pre-trained word vectors",
        "Yao et al. 2019, Text GCN, table 2",
    ),
    "transformer_classifier": (
        "accuracy 0.9707 (Text GCN) on R8",
        "Yao et al. 2019, Text GCN, table 2",
    ),
    "transformer_translator": (
        "BLEU 27.3 on WMT 2014 English to German, 65 million parameters",
        "Vaswani et al. 2017, table 2",
    ),
    "causal_lm": (
        "perplexity 37.5 on WikiText-103 by word, 117 million parameters, not trained on it",
        "Radford et al. 2019, table 3",
    ),
}
