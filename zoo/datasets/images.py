"""Arrays of images as a `Dataset`."""

from __future__ import annotations

import numpy as np

from zoo.datasets.base import Dataset, DatasetInfo, Split, Task
from zoo.datasets.preprocessing import ImagePreprocessing

# The last 5,000 training examples are for validation. The official order of MNIST, Fashion-MNIST
# and CIFAR-10 mixes the classes (458 to 563 of each digit are among MNIST's), so no draw is
# needed, and the splits are views of one array.
VALIDATION = 5_000

Images = tuple[np.ndarray, np.ndarray]
"""uint8 `(n, height, width[, channels])` and integer labels, `(n,)` or `(n, 1)`."""


def image_dataset(
    info: DatasetInfo,
    train: Images,
    test: Images,
    class_names: tuple[str, ...],
    validation: int = VALIDATION,
) -> Dataset:
    """Images and class indices; the last `validation` training examples are held out."""
    (train_x, train_y), (test_x, test_y) = train, test
    if train_x.ndim == 3:
        train_x, test_x = train_x[..., np.newaxis], test_x[..., np.newaxis]
    preprocessing = ImagePreprocessing(*train_x.shape[1:])
    x, y = preprocessing.from_pixels(train_x), train_y.ravel().astype(np.int32)
    return Dataset(
        name=info.name,
        task=Task("classification", class_names),
        train=Split(x[:-validation], y[:-validation]),
        validation=Split(x[-validation:], y[-validation:]),
        test=Split(preprocessing.from_pixels(test_x), test_y.ravel().astype(np.int32)),
        preprocessing=preprocessing,
        licence=info.licence,
        source=info.source,
        model_arguments={"input_shape": x.shape[1:], "num_classes": len(class_names)},
    )
