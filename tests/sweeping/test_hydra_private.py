"""What is private in Hydra means what `hydra_private` takes it for: these tests fail first when Hydra changes."""

import ast
import itertools

import hydra
import pytest
from conftest import ROOT
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import run_job
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

import zoo.sweeping.callback  # noqa: F401  Hydra looks it up while it composes
from zoo.config import CONF
from zoo.sweeping import hydra_private


@pytest.fixture(autouse=True)
def initialized():
    with hydra.initialize_config_dir(CONF, version_base="1.3"):
        yield


def multirun(*words: str) -> DictConfig:
    """What a launcher and a callback get of `python train.py -m WORDS`."""
    loader = GlobalHydra.instance().config_loader()
    return loader.load_configuration("config", list(words), RunMode.MULTIRUN)


def test_the_grid_is_every_combination_in_order():
    config = multirun("model.depth=2,3", "seed=0,1", "epochs=5")
    assert hydra_private.is_grid(config)
    product = itertools.product(("2", "3"), ("0", "1"))
    assert hydra_private.grid(config) == [[f"model.depth={d}", f"seed={s}", "epochs=5"] for d, s in product]
    assert hydra_private.grid(multirun("seed=range(3)")) == [["seed=0"], ["seed=1"], ["seed=2"]]
    assert ["remedy=batch_norm"] in hydra_private.grid(multirun("remedy=glob(*)"))


def test_params_of_the_sweeper_are_part_of_the_grid():
    """Where the command sets such a key too, it comes later, and so counts."""
    jobs = hydra_private.grid(multirun("experiment=rate_by_folds", "optimizer.learning_rate=0.1", "seed=0,1"))
    values = [dict(word.split("=") for word in job) for job in jobs]
    assert {(job["data.fold"], job["seed"]) for job in values} == set(itertools.product("01234", "01"))
    assert {job["optimizer.learning_rate"] for job in values} == {"0.1"}


def test_a_search_chooses_the_keys_that_are_swept():
    words = ("optimizer.learning_rate=interval(0.1,1)", "activation=choice(relu,tanh)", "epochs=5")
    found = {word.get_key_element(): word.is_sweep_override() for word in hydra_private.words(multirun(*words))}
    assert found == {"optimizer.learning_rate": True, "activation": True, "epochs": False}


@pytest.mark.parametrize(("launcher", "here"), [("joblib", True), ("basic", True), ("ray", False)])
def test_launchers_of_this_machine_are_known(launcher, here):
    assert hydra_private.stays_here(multirun(f"hydra/launcher={launcher}")) == here


def test_a_job_is_composed_as_one_by_itself():
    config = multirun("model=lenet,mlp", "activation=tanh")
    job = hydra_private.composed(config, ["model=lenet", "activation=tanh"])
    assert OmegaConf.to_container(job) == OmegaConf.to_container(
        hydra.compose("config", ["model=lenet", "activation=tanh"])
    )


@pytest.mark.parametrize(
    "words",
    [
        ["seed=3", "model=lenet", "activation=tanh", "epochs=7"],
        ["seed=4", "optimizer.learning_rate=0.1", "model.depth=3"],
        ["model.depth=3", "callbacks=[probe]", "data.limit=null", "seed=5"],
        ["remedy=batch_norm", "experiment=vanishing", "model.width=7"],
        ["+callbacks.own={_target_: a.b}", "seed=6", "~callbacks.probe"],
        ["seed=6", "hydra.job.name=other"],
        [],
    ],
)
def test_a_job_that_is_composed_over_what_was_kept_is_the_same(words):
    """Twice: what was kept is as it was."""
    loader = GlobalHydra.instance().config_loader()
    config = multirun("model.depth=3,4", "hydra.launcher.n_jobs=2")
    for given in (words, [*words, "seed=8"], words):
        made = hydra_private.job_config(loader, config, given)
        expected = loader.load_sweep_config(config, given)
        assert OmegaConf.to_container(made) == OmegaConf.to_container(expected)
        for part in ("data", "schedule"):
            given, wanted = (OmegaConf.to_container(job[part], resolve=True) for job in (made, expected))
            assert given == wanted
        assert list(made) == list(expected) and OmegaConf.is_struct(made)


def test_a_word_that_is_wrong_is_refused_whatever_was_kept():
    from hydra.errors import HydraException

    loader, config = GlobalHydra.instance().config_loader(), multirun()
    hydra_private.job_config(loader, config, ["seed=1"])
    for word in ("sede=1", "seed=1,2", "seed=one", "activation=rellu", "model.depht=3"):
        with pytest.raises(HydraException) as made:
            hydra_private.job_config(loader, config, [word])
        with pytest.raises(HydraException) as expected:
            loader.load_sweep_config(config, [word])
        assert str(made.value) == str(expected.value)


def test_the_second_look_is_left_out_and_comes_back():
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

    whole = BasicSweeper.validate_batch_is_legal
    sweeper = BasicSweeper(max_batch_size=None)
    sweeper.config, sweeper.hydra_context = multirun(), hydra_private.context(_Refuses(), multirun())
    with pytest.raises(RuntimeError, match="composed"):
        sweeper.validate_batch_is_legal([["seed=0"]])
    with hydra_private.composed_once():
        sweeper.validate_batch_is_legal([["seed=0"]])
    assert BasicSweeper.validate_batch_is_legal is whole


class _Refuses:
    def load_sweep_config(self, **_):
        raise RuntimeError("composed")


def test_a_job_is_run_with_the_context(tmp_path):
    loader = GlobalHydra.instance().config_loader()
    assert isinstance(loader, ConfigLoader)
    job = loader.load_sweep_config(multirun(f"hydra.sweep.dir={tmp_path}"), ["seed=3", f"hydra.sweep.dir={tmp_path}"])
    OmegaConf.set_struct(job, False)
    job.hydra.job.id, job.hydra.job.num = "0", 0
    HydraConfig.instance().set_config(job)
    done = run_job(
        task_function=lambda cfg: cfg.seed,
        config=job,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key=None,
        hydra_context=hydra_private.context(loader, job),
    )
    assert done.return_value == 3


def test_nothing_else_uses_what_is_private():
    for path in [*(ROOT / "zoo").rglob("*.py"), *(ROOT / "hydra_plugins").rglob("*.py"), ROOT / "train.py"]:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            private = [name for name in names if name.startswith("hydra._internal")]
            assert not private or path.name == "hydra_private.py", path
