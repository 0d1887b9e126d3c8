"""The command: compose, run, report. `python train.py`, `gradient-zoo` and `python -m zoo` are this."""

import sys

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from zoo.errors import reported
from zoo.interrupts import no_longer_in_order
from zoo.places import CONF
from zoo.sweeping.command import help_for, read


@hydra.main(version_base="1.3", config_path=CONF, config_name="config")
def train(cfg: DictConfig) -> float:
    """Do one run, of a config that `zoo.sweeping.callback` has checked; return the number that a search minimizes."""
    with reported():
        from zoo.running.record import Job
        from zoo.running.run import run_job  # imports Keras: not before the config is known to be sound

        return run_job(cfg, Job.of(HydraConfig.get()))


def main() -> None:
    """Run the command line; a mistake in it becomes one line and exit code 1."""
    try:
        with reported():
            sys.argv[1:] = read(sys.argv[1:])
            if told := help_for(sys.argv[1:]):
                print(told)
            else:
                train()
    finally:
        no_longer_in_order()


if __name__ == "__main__":
    main()
