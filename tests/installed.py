"""Install a wheel as a user does, in an environment of its own and outside the checkout, and use it there.

What it depends on is taken from the environment that this runs in, of the versions that are installed there: to load
TensorFlow again would take minutes.

python tests/installed.py dist/gradient_zoo-0.1.0-py3-none-any.whl
"""

import json
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "library.md").read_text(encoding="utf-8")
TEN_LINES = re.search(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)[1]
IMPORT = "import sys, zoo; assert zoo.__file__.startswith(sys.prefix), zoo.__file__"
TYPED = "from importlib.resources import files; assert files('zoo').joinpath('py.typed').is_file()"


def main(wheel: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="gradient-zoo-") as folder:
        folder = Path(folder).resolve()
        venv.create(folder / "venv")
        (packages,) = (folder / "venv").glob("lib/python*/site-packages")
        # After the environment's own, and pip with them; a checkout that is installed there by a .pth is not followed.
        (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
        unset = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "KERAS_BACKEND", "MLFLOW_TRACKING_URI")
        env = {name: value for name, value in os.environ.items() if name not in unset}
        env["GRADIENT_ZOO_HOME"] = str(folder / "home")

        def python(*words: str) -> str:
            return called("python", *words)

        def called(name: str, *words: str) -> str:
            print(f"installed: {name}", *(word.partition("\n")[0] for word in words), flush=True)
            command = [str(folder / "venv" / "bin" / name), *words]
            done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
            if done.returncode:
                sys.exit(f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
            return done.stdout

        python("-m", "pip", "install", "--quiet", "--constraint", str(ROOT / "constraints.txt"), str(wheel.resolve()))
        python("-m", "pip", "check")
        python("-c", IMPORT)
        python("-c", TYPED)
        assert python("-c", TEN_LINES).strip()
        assert python("-m", "zoo", "preflight=true").startswith("step 0    undecided")
        assert called("gradient-zoo", "preflight=true").startswith("step 0    undecided")
        assert called("gradient-zoo", "--help").count("gradient-zoo ") > 3
        told = called("gradient-zoo", "-m", "model.depth=1,2", "epochs=1")
        (sweep,) = (folder / "home" / "mlruns" / "sweeps").iterdir()
        runs = [json.loads(path.read_text()) for path in sorted(sweep.glob("*/summary.json"))]
        assert [run["status"] for run in runs] == ["FINISHED"] * 2, told
        assert (sweep / "comparison.html").is_file() and (folder / "home" / "mlruns" / "mlflow.db").is_file(), told
    print(f"{wheel.name} installs and runs")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
