"""Bring the tracking store up to what the run folders know.

python -m zoo.tracking resend     # send what a store missed, mark runs whose process is gone as KILLED
python -m zoo.tracking restore    # bring in recorded runs that the store does not have: it was emptied or deleted
"""

import argparse
import sys
from pathlib import Path

from zoo.config import home
from zoo.errors import reported


def main() -> None:
    """Look after the tracking store; exit with 1 if anything stood in the way."""
    parser = argparse.ArgumentParser(prog="python -m zoo.tracking", description="Look after the tracking store.")
    commands = parser.add_subparsers(required=True, metavar="resend | restore")
    for do, told in (
        (_resend, "send what the store missed, and mark runs whose process is gone as KILLED"),
        (_restore, "bring in recorded runs that the store does not have: it was emptied or deleted"),
    ):
        command = commands.add_parser(do.__name__.strip("_"), help=told, description=told)
        command.add_argument("folders", nargs="*", type=Path, help="run or sweep folders; all under mlruns/ without")
        command.add_argument("--quiet", action="store_true", help="say nothing if there was nothing to do")
        command.set_defaults(do=do)
    arguments = parser.parse_args()
    with reported():
        problems = arguments.do(arguments.folders, arguments.quiet)
        for problem in problems:
            print(f"error: {problem}", file=sys.stderr)
        if problems:
            raise SystemExit(1)


def _resend(folders: list[Path], quiet: bool) -> list[str]:
    from zoo.tracking.resend import resend

    sent = resend(home(), folders)
    if sent.runs or sent.killed or not quiet:
        marked = f", {sent.killed} of them marked as KILLED: the process is gone" if sent.killed else ""
        print(f"{_runs(sent.runs)} sent to the store{marked}")
    return sent.problems


def _restore(folders: list[Path], quiet: bool) -> list[str]:
    from zoo.tracking.restore import restore

    restored, problems = restore(home(), folders)
    if restored or not quiet:
        print(f"{_runs(restored)} brought in that the store did not have")
    return problems


def _runs(count: int) -> str:
    return f"{count} run" if count == 1 else f"{count} runs"


if __name__ == "__main__":
    main()
