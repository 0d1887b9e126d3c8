"""`python -m zoo.tracking resend`: bring the tracking store up to what the run folders know."""

import argparse
from pathlib import Path

from zoo.config import home
from zoo.errors import reported
from zoo.tracking.resend import resend


def main() -> None:
    """Send what stores missed, and mark runs whose process is gone as KILLED."""
    parser = argparse.ArgumentParser(prog="python -m zoo.tracking", description="Look after the tracking store.")
    command = parser.add_subparsers(required=True, metavar="resend").add_parser(
        "resend", help="send what the store missed, and mark runs whose process is gone as KILLED"
    )
    command.add_argument("folders", nargs="*", type=Path, help="run or sweep folders; all under mlruns/ without")
    command.add_argument("--quiet", action="store_true", help="say nothing if there was nothing to do")
    arguments = parser.parse_args()
    with reported():
        sent, killed = resend(home(), arguments.folders)
        if sent or killed or not arguments.quiet:
            marked = f", {killed} of them marked as KILLED: the process is gone" if killed else ""
            print(f"{sent} {'run' if sent == 1 else 'runs'} sent to the store{marked}")


if __name__ == "__main__":
    main()
