"""Every file of conf/model, as Hydra composes it, is the network that the function builds by itself."""

import re
from pathlib import Path

import hydra
import numpy as np
import pytest

from zoo.config import CONF
from zoo.models import alexnet, densenet, lenet, mlp, resnet, vgg
from zoo.running.make import build_model

FILES = {file.stem: file for file in sorted(Path(CONF, "model").glob("*.yaml")) if file.stem != "saved"}
DEEP = ("resnet101", "resnet152", "densenet121", "densenet169", "densenet201", "densenet_bc190")
NAMES = [pytest.param(name, marks=[pytest.mark.slow] * (name in DEEP)) for name in FILES]

BY_FUNCTION = {
    "mlp": lambda shape: mlp(shape, 10),
    "linear": lambda shape: mlp(shape, 10, depth=0),
    "lenet": lambda shape: lenet(shape, 10),
    "lenet_modern": lambda shape: lenet(shape, 10, pooling="max", activation="relu", initializer="he_normal"),
    "alexnet": lambda shape: alexnet(shape, 10),
    "alexnet_small": lambda shape: alexnet(shape, 10, small=True),
    **{f"vgg{n}": lambda shape, n=n: vgg(shape, 10, depth=n) for n in (11, 13, 16, 19)},
    **{f"vgg{n}_small": lambda shape, n=n: vgg(shape, 10, depth=n, small=True) for n in (11, 13, 16, 19)},
    **{f"resnet{n}": lambda shape, n=n: resnet(shape, 10, depth=n) for n in (20, 32, 44, 56, 110)},
    **{f"plain{n}": lambda shape, n=n: resnet(shape, 10, depth=n, shortcut="plain") for n in (20, 32, 44, 56, 110)},
    **{f"resnet{n}": lambda shape, n=n: resnet(shape, 10, depth=n) for n in (18, 34, 50, 101, 152)},
    "densenet40": lambda shape: densenet(shape, 10),
    "densenet_bc100": lambda shape: densenet(shape, 10, depth=100, bc=True),
    "densenet_bc190": lambda shape: densenet(shape, 10, depth=190, growth=40, bc=True),
    **{f"densenet{n}": lambda shape, n=n: densenet(shape, 10, depth=n) for n in (121, 169, 201)},
}


def compose(*words):
    with hydra.initialize_config_dir(CONF, version_base="1.3"):
        return hydra.compose("config", list(words))


def described(model):
    """Every layer's configuration, without the random seeds."""
    return [re.sub(r"'seed': \d+", "'seed': None", str(layer.get_config())) for layer in model.layers]


def test_every_published_size_has_its_file():
    assert set(BY_FUNCTION) == set(FILES)


@pytest.mark.parametrize("name", NAMES)
def test_file_composes_to_the_functions_own_network(name, shapes_alone):
    shape = (67, 67, 3) if name == "alexnet" else (32, 32, 3)
    model = build_model(compose(f"model={name}"), shape, 10)

    assert described(model) == described(BY_FUNCTION[name](shape))


@pytest.mark.parametrize("name", NAMES)
def test_header_says_the_count_and_a_command_that_composes(name, shapes_alone):
    header = " ".join(line[2:] for line in FILES[name].read_text().splitlines() if line.startswith("# "))
    count = int(re.search(r"([\d,]+) (?:trainable )?parameters", header)[1].replace(",", ""))
    words = re.search(r"python train.py (.*)", header)[1].split()
    cfg = compose(*words)
    data = cfg.data._target_.rpartition(".")[2]
    side = cfg.data.image_size if data == "image_folder" else {"digits": 8, "mnist": 28, "cifar10": 32}[data]
    shape = (side, side, 1 if data in ("digits", "mnist") else 3)

    model = build_model(compose(f"model={name}", "initializer=zeros"), shape, 1000 if data == "image_folder" else 10)

    assert f"model={name}" in words
    assert sum(np.prod(w.shape) for w in model.trainable_weights) == count


@pytest.mark.parametrize("group", ["activation", "initializer", "normalization", "regularizer"])
def test_a_word_on_the_command_line_wins_over_the_papers_choice(group):
    chosen = {"activation": "elu", "initializer": "orthogonal", "normalization": "group", "regularizer": "l1"}[group]

    cfg = compose("model=lenet", f"{group}={chosen}")

    assert cfg[group] == compose("model=mlp", f"{group}={chosen}")[group] != compose("model=lenet")[group]
