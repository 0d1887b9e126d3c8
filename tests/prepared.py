"""A process that has imported what every run needs, and forks for each command that is asked of it.

What a test of a run waits for is mostly the import of TensorFlow. A child is otherwise as a process of its own: working
directory, environment, output, exit code, and what happens at its end.
"""

import atexit
import functools
import json
import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path


def run(command: list[str], cwd: Path, env: dict[str, str]) -> subprocess.CompletedProcess:
    """Run `python COMMAND`: a script, or `-m` and a module, and its arguments."""
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "stdout"), Path(folder, "stderr")
        out.touch(), err.touch()
        request = {"command": command, "cwd": str(cwd), "env": env, "stdout": str(out), "stderr": str(err)}
        process = _prepared()
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        code = int(process.stdout.readline())
        return subprocess.CompletedProcess(command, code, out.read_text(), err.read_text())


@functools.cache
def _prepared() -> subprocess.Popen:
    process = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    atexit.register(process.kill)
    return process


def _next_request() -> dict | None:
    """Answer requests with exit codes; return the request in each child, and `None` when there are no more."""
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            return json.loads(line)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
    return None


if __name__ == "__main__":
    import matplotlib.pyplot  # noqa: F401

    from zoo.startup import import_keras
    from zoo.tracking.store import import_mlflow

    import_keras()
    import_mlflow()
    if request := _next_request():
        for descriptor, path in enumerate([os.devnull, request["stdout"], request["stderr"]]):
            os.dup2(os.open(path, os.O_RDWR | os.O_APPEND), descriptor)
        os.chdir(request["cwd"])
        os.environ.clear()
        os.environ.update(request["env"])
        if request["command"][0] == "-m":
            sys.argv, sys.path[0] = request["command"][1:], os.getcwd()
            runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
        else:
            sys.argv, sys.path[0] = request["command"], str(Path(request["command"][0]).parent)
            runpy.run_path(sys.argv[0], run_name="__main__")
