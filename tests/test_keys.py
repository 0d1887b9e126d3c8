"""Wrong words of every sort, for every key that a config has: each is refused in a line, before Keras is imported."""

import itertools
import math
import random
import re
import resource
from functools import cache
from pathlib import Path

import hydra
import pytest
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from zoo.config import CHECKED, CONF, LEAST, OPTIONAL, OURS, _values, check, check_files
from zoo.errors import UserError, explain
from zoo.keys import KEYS
from zoo.sweeping.command import read
from zoo.sweeping.help import help_text

GROUPS = sorted(
    path.name for path in Path(CONF).iterdir() if path.is_dir() and path.name not in ("hydra", "experiment")
)
# Of no key's type, or beyond every key's bounds.
WRONG = {"list": [[1]], "dictionary": {"no": 1}, "empty": "", "infinite": math.inf, "negative": -(10**12), "none": None}


def composed(*words: str):
    with hydra.initialize_config_dir(CONF, version_base="1.3"):
        return hydra.compose("config", list(words))


@cache
def everything() -> dict[str, object]:
    """Each key of each file of each group, and a config that has it."""
    found = {}
    for group in GROUPS:
        for file in sorted(Path(CONF, group).rglob("*.yaml")):
            name = file.relative_to(Path(CONF, group)).with_suffix("").as_posix()
            cfg = composed(f"{group}=[{name}]" if group == "callbacks" else f"{group}={name}")
            plain = OmegaConf.to_container(cfg, resolve=False)
            for key, _, _ in _values(plain):
                found.setdefault(key, cfg)
    return found


def test_what_stands_in_a_file_is_known_and_nothing_else_is():
    known = {key for key in everything() if not key.rpartition(".")[2].startswith("_")}
    made = {"initializer.kernel", "initializer.bias", "initializer.after_build"}
    assert known - {*CHECKED, "experiment", "remedy"} <= {*KEYS}
    assert {*KEYS} <= known | made | {"resume.any_code"}


@pytest.mark.parametrize("key", sorted(KEYS))
def test_each_key_refuses_what_is_of_no_type_of_its_own(key):
    cfg = everything().get(key)
    for sort, value in WRONG.items():
        if (value is None and KEYS[key].null) or (
            sort == "negative" and KEYS[key].low is None and KEYS[key].types == (int, float)
        ):
            continue
        if cfg is None:  # a key that holds others
            assert KEYS[key].refuses(value), sort
            continue
        wrong = cfg.copy()
        OmegaConf.set_struct(wrong, False)
        with pytest.raises((UserError, OmegaConfBaseException)) as caught:
            OmegaConf.update(wrong, key, value, merge=False)
            check(wrong)
        line = explain(caught.value)
        assert line is not None and "\n" not in line, sort
        assert key in line, sort


def chosen_by(key: str) -> list[str]:
    """The word that chooses a file in which a key stands; none of one that every config has."""
    group = key.partition(".")[0]
    if group not in GROUPS:
        return []
    leaf = re.compile(rf"\b{key.rpartition('.')[2]}:")
    names = [path.stem for path in sorted(Path(CONF, group).glob("*.yaml")) if leaf.search(path.read_text())]
    return [f"{group}=[{key.split('.')[1]}]" if group == "callbacks" else f"{group}={names[0]}"]


@pytest.mark.parametrize("key", random.Random(25).sample(sorted({*KEYS} - {"resume.any_code"}), 8))
@pytest.mark.parametrize("value", ["[[1]]", "{no: 1}"])
def test_a_wrong_value_costs_the_whole_command_a_line_and_a_moment(key, value, train):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = train.fresh(*chosen_by(key), f"{key}={value}", code=1)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.stdout == "" and done.stderr.startswith("error: "), done.stderr
    assert 1 <= done.stderr.count("\n") <= 2 and key in done.stderr
    assert not train.home.exists()
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert spent < 1.5, "seconds of a processor: Keras alone takes more"


WORDS = {
    "dropout=0.5": "dropout=0.5: say dropout.rate=0.5, or choose one of dropout, none.",
    "model=null": "model=null: choose one",
    "activation=[relu,tanh]": "activation=[relu,tanh]: a run has one",
    "callbacks=probe": "callbacks=probe: give all that the run shall have: callbacks=[gradient_norms,probe]",
    "model.depth=5,20": "model.depth=5,20: several values are a sweep: say python train.py -m",
    "model lenet": "model: it has no value: say model=lenet.",
    "--model lenet": "--model: a setting has no dashes before it: say model=lenet.",
    "--epochs=5": "--epochs=5: a setting has no dashes before it: say epochs=5.",
    "--multrun": "--multrun: there is no such option; did you mean --multirun?",
    "--cfg hydra -m": "--multirun and --cfg: give one of them.",
    "--cfg nothing": "--cfg/-c: invalid choice",
    "--resolve": "--resolve: it goes with",
    "relu": "relu: it has no KEY=: did you mean activation=relu?",
    "epochz": "epochz: a setting is KEY=VALUE; did you mean epochs=...?",
    "=5": "=5: a setting is KEY=VALUE",
    "epochs==5": "epochs==5: it cannot be read; put quotes",
    "data.path=/a file.npz": "file.npz: it has no KEY=; a value with spaces is put in quotes: 'data.path=/a file.npz'.",
    "callbacks=[probe, gradient_norms": "gradient_norms: it has no KEY=: did you mean callbacks=gradient_norms?",
}


@pytest.mark.parametrize("words", WORDS)
def test_a_word_that_is_no_setting_is_told_with_what_it_should_be(words):
    with pytest.raises(UserError) as caught:
        read(words.split())
    assert str(caught.value).startswith(WORDS[words])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("value", ["5", "0.5", "true", "[1,2]", "range(1,3)", ""])
def test_a_group_takes_names_of_files_alone(group, value):
    with pytest.raises(UserError, match=f"^{group}="):
        read(["-m", f"{group}={value}"])


@pytest.mark.parametrize("words", [*itertools.permutations(["-m", "seed=1,2", "model=mlp"])])
def test_options_may_stand_anywhere(words):
    assert sorted(read(list(words))) == sorted(words)
    assert read(list(words))[0] == "-m"


def test_a_persons_own_function_takes_what_it_likes():
    cfg = composed("model._target_=mine.net", "model.depth=[1,2]", "+model.more=x")
    check(cfg)
    assert not cfg.model._target_.startswith(OURS)


@pytest.mark.parametrize("target", LEAST)
def test_the_least_image_of_a_network_is_what_it_says_itself(target):
    from zoo import build

    name, side = {"vgg": "vgg11"}.get(target.rpartition(".")[2], target.rpartition(".")[2]), LEAST[target]
    with pytest.raises(UserError, match=f"takes images of {side}x{side} pixels or more"):
        build(name, (side - 1, side - 1, 3), 10)
    with pytest.raises(UserError, match=rf"model={target.rpartition('.')[2]} takes images of {side}x{side} pixels"):
        check_files(composed(f"model={name}", "data=digits"))
    check_files(composed("model=alexnet_small", "data=digits"))


def test_help_describes_every_group_and_every_key():
    text = help_text()
    for group in GROUPS:
        assert re.search(rf"^  {group}: \w", text, re.MULTILINE), group
    for group in GROUPS:
        for file in sorted(Path(CONF, group).rglob("*.yaml")):
            name = file.relative_to(Path(CONF, group)).with_suffix("").as_posix()
            shown = help_text([f"{group}={name}"]).partition(f"\n{group}={name}\n")[2].partition("\n\n")[0]
            assert len(shown.splitlines()[0]) > 10, name
            if group in OPTIONAL:
                continue
            for line, below in itertools.pairwise([*shown.splitlines(), ""]):
                if key := re.match(r"  ([\w.]+)=\S+(.*)", line):
                    assert key[2].strip() or below.startswith(" " * 10), f"{name}: {key[1]}"
