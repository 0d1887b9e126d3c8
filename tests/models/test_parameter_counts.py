"""Every network has exactly as many trainable parameters as its source says."""

import numpy as np
import pytest

from zoo.models import alexnet, densenet, lenet, mlp, resnet, vgg

CIFAR, IMAGENET = ((32, 32, 3), 10), ((224, 224, 3), 1000)

COUNTS = [
    # MLP, by hand: (64 + 1) 64 + 4 (64 + 1) 64 + (64 + 1) 10, and (64 + 1) 10
    (mlp, ((8, 8, 1), 10), {"depth": 5, "width": 64}, 21_450),
    (mlp, ((8, 8, 1), 10), {"depth": 0}, 650),
    # LeNet-5 on padded 28x28 digits, full connection in C3; on 32x32x3 by hand, without padding
    (lenet, ((28, 28, 1), 10), {}, 61_706),
    (lenet, ((32, 32, 3), 10), {}, 62_006),
    # AlexNet in one tower; Zhang et al. 2017, table 1, "small AlexNet"
    (alexnet, ((227, 227, 3), 1000), {}, 62_378_344),
    (alexnet, ((28, 28, 3), 10), {"small": True}, 1_387_786),
    (alexnet, CIFAR, {"small": True}, 1_756_426),
    # VGG: Simonyan & Zisserman 2015, table 2 (rounded there), torchvision to the unit; pytorch-cifar
    (vgg, IMAGENET, {"depth": 11}, 132_863_336),
    (vgg, IMAGENET, {"depth": 13}, 133_047_848),
    (vgg, IMAGENET, {"depth": 16}, 138_357_544),
    (vgg, IMAGENET, {"depth": 19}, 143_667_240),
    (vgg, CIFAR, {"depth": 11, "small": True}, 9_231_114),
    (vgg, CIFAR, {"depth": 13, "small": True}, 9_416_010),
    (vgg, CIFAR, {"depth": 16, "small": True}, 14_728_266),
    (vgg, CIFAR, {"depth": 19, "small": True}, 20_040_522),
    # ResNet for CIFAR: pytorch_resnet_cifar10; a plain network has the same weights
    (resnet, CIFAR, {"depth": 20}, 269_722),
    (resnet, CIFAR, {"depth": 32}, 464_154),
    (resnet, CIFAR, {"depth": 44}, 658_586),
    (resnet, CIFAR, {"depth": 56}, 853_018),
    (resnet, CIFAR, {"depth": 110}, 1_727_962),
    (resnet, CIFAR, {"depth": 20, "shortcut": "B"}, 272_474),
    (resnet, CIFAR, {"depth": 32, "shortcut": "B"}, 466_906),
    (resnet, CIFAR, {"depth": 44, "shortcut": "B"}, 661_338),
    (resnet, CIFAR, {"depth": 56, "shortcut": "B"}, 855_770),
    (resnet, CIFAR, {"depth": 110, "shortcut": "B"}, 1_730_714),
    (resnet, CIFAR, {"depth": 20, "shortcut": "plain"}, 269_722),
    (resnet, CIFAR, {"depth": 32, "shortcut": "plain"}, 464_154),
    (resnet, CIFAR, {"depth": 44, "shortcut": "plain"}, 658_586),
    (resnet, CIFAR, {"depth": 56, "shortcut": "plain"}, 853_018),
    (resnet, CIFAR, {"depth": 110, "shortcut": "plain"}, 1_727_962),
    # ResNet for ImageNet: torchvision (18, 34), keras.applications
    (resnet, IMAGENET, {"depth": 18}, 11_689_512),
    (resnet, IMAGENET, {"depth": 34}, 21_797_672),
    (resnet, IMAGENET, {"depth": 50}, 25_583_592),
    (resnet, IMAGENET, {"depth": 101}, 44_601_832),
    (resnet, IMAGENET, {"depth": 152}, 60_268_520),
    # DenseNet: Huang et al. 2017, table 2 (rounded there); keras.applications
    (densenet, CIFAR, {"depth": 40, "growth": 12}, 1_019_722),
    (densenet, CIFAR, {"depth": 100, "growth": 12, "bc": True}, 769_162),
    (densenet, CIFAR, {"depth": 190, "growth": 40, "bc": True}, 25_624_430),
    (densenet, IMAGENET, {"depth": 121}, 7_978_856),
    (densenet, IMAGENET, {"depth": 169}, 14_149_480),
    (densenet, IMAGENET, {"depth": 201}, 20_013_928),
]

# With batch normalization's moving statistics, as keras.applications counts them.
TOTALS = {
    "resnet50": 25_636_712,
    "resnet101": 44_707_176,
    "resnet152": 60_419_944,
    "densenet121": 8_062_504,
    "densenet169": 14_307_880,
    "densenet201": 20_242_984,
}


@pytest.mark.parametrize(
    ("family", "size", "options", "count"),
    COUNTS,
    ids=["-".join([c[0].__name__, *map(str, c[2].values()), str(c[1][0][0])]) for c in COUNTS],
)
def test_trainable_parameters(family, size, options, count, shapes_alone):
    model = family(*size, **options)
    assert sum(np.prod(w.shape) for w in model.trainable_weights) == count
    if model.name in TOTALS:
        assert model.count_params() == TOTALS[model.name]
