"""The networks: one family a file, each a function that returns a `keras.Model` whose outputs are logits."""

from zoo.models.alexnet import alexnet
from zoo.models.densenet import densenet
from zoo.models.lenet import lenet
from zoo.models.lsuv import lsuv
from zoo.models.mlp import mlp
from zoo.models.resnet import resnet
from zoo.models.saved import saved
from zoo.models.vgg import vgg
from zoo.models.weights import load_weights

__all__ = ["alexnet", "densenet", "lenet", "load_weights", "lsuv", "mlp", "resnet", "saved", "vgg"]
