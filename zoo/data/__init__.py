"""Every data set as train, validation and test: arrays, or a stream where augmentation or size asks for one.

    data = zoo.data.cifar10(augmentation="crop_flip", batch_size=128, seed=1)
    with data.reading():
        model.fit(**data.fit_arguments(), epochs=10)
        model.evaluate(**data.test_arguments())

Each source (`digits`, `mnist`, ...) reads its raw parts and ends in `prepare`, which splits, scales and augments; what
`prepare` takes, every source takes as well.
"""

from zoo.data.prepare import Dataset, Source, prepare
from zoo.data.sources import (
    cifar10,
    cifar100,
    diabetes,
    digits,
    fashion_mnist,
    image_folder,
    mnist,
    npz,
    random_binary,
    random_regression,
    uniform_binary,
    uniform_regression,
)
from zoo.data.table import table

__all__ = [
    "Dataset",
    "Source",
    "cifar10",
    "cifar100",
    "diabetes",
    "digits",
    "fashion_mnist",
    "image_folder",
    "mnist",
    "npz",
    "prepare",
    "random_binary",
    "random_regression",
    "table",
    "uniform_binary",
    "uniform_regression",
]
