"""Say what is wrong with a recorded run, or with a saved model and its data.

python -m zoo.check mlruns/runs/2026-11-29_12-00-00-000000
python -m zoo.check model.keras --data train.npz --json
"""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zoo.checkup.check import Checkup

FAULTS = 3  # exit code where there are any


def main() -> None:
    """Check what the command line names; exit with 0 if there is no fault, 3 if there is one, 1 for a mistake."""
    parser = argparse.ArgumentParser(
        prog="python -m zoo.check",
        description="Say what is wrong with a recorded run, or with a saved model and its data.",
        epilog="exit code: 0 no fault, 3 faults, 1 nothing could be checked",
    )
    parser.add_argument("path", type=Path, help="run folder, or .keras file of a compiled model")
    parser.add_argument("--data", type=Path, help=".npz with x and y (or x_train and y_train), for a model")
    parser.add_argument("--json", action="store_true", help="for programs: see zoo.checkup.as_json")
    arguments = parser.parse_args()
    from zoo.errors import reported

    with reported():
        faults = check(arguments.path, arguments.data, arguments.json)
    sys.exit(FAULTS if faults else 0)


def check(path: Path, data: Path | None, for_programs: bool) -> bool:
    """Print what is wrong; return whether there is a fault.

    Raises:
        UserError: for a path that is neither a run folder nor a model, or data that are none.
    """
    from zoo.checkup.as_json import as_json
    from zoo.errors import UserError

    if path.is_dir():
        from zoo.archive.summary import Summary

        if not (path / "summary.json").is_file():
            raise UserError(f"{path} is no run folder: it holds no summary.json. Give a folder of mlruns/runs/.")
        if data is not None:
            raise UserError("--data goes with a model; a run folder knows what was found of its own.")
        verdict = Summary.read(path).verdict
        if verdict is None:
            raise UserError(f"{path} has no verdict: the run did not finish, or tracked no gradients.")
        if for_programs:
            print(json.dumps(as_json(str(path), verdict.findings, verdict), indent=1))
        else:
            print(verdict)
            for finding in verdict.findings:
                print(finding)
        return verdict.sick or any(finding.fault for finding in verdict.findings)
    found = _of_model(path, data)
    if for_programs:
        print(json.dumps(as_json(str(path), found.findings, left=found.left), indent=1))
    else:
        print(found)
    return bool(found.faults)


def _of_model(path: Path, data: Path | None) -> "Checkup":
    from zoo.errors import UserError
    from zoo.startup import import_keras

    if not path.is_file():
        raise UserError(f"{path}: there is no such run folder or model.")
    if data is None:
        raise UserError(f"{path}: give its data too, --data FILE.npz with x and y: most faults lie between the two.")
    x, y = _arrays(data)
    import_keras()
    from zoo.checkup.check import check
    from zoo.models.saved import loaded

    try:
        return check(loaded(path, compiled=True), x, y)
    except (RuntimeError, ValueError, TypeError) as error:
        raise UserError(f"{path}: {' '.join(str(error).split())[:300]}") from error


def _arrays(path: Path) -> tuple:
    import numpy as np

    from zoo.errors import UserError

    try:
        with np.load(path, allow_pickle=False) as file:
            for names in (("x", "y"), ("x_train", "y_train")):
                if all(name in file for name in names):
                    return tuple(file[name] for name in names)
            raise UserError(f"--data {path}: it holds {', '.join(file)}, and not x and y.")
    except (OSError, ValueError) as error:
        raise UserError(f"--data {path}: it cannot be read as .npz ({' '.join(str(error).split())}).") from error


if __name__ == "__main__":
    main()
