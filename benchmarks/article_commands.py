"""Run every command of docs/articles.md and its Chinese page as they stand there, from a fresh clone.

python benchmarks/article_commands.py                                # as printed: hours
python benchmarks/article_commands.py --quick --cifar10 FILE.npz     # two epochs each
"""

import argparse
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("docs/articles.md", "docs/articles.zh.md")


def commands(page: str) -> list[str]:
    """Return the words of each `python train.py` in a page, without what its tables repeat."""
    found = re.findall(r"`python\s+train\.py\s([^`]*)`", page)
    return [re.sub(r"\s+", " ", command).strip() for command in found if "{" not in command]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two epochs each")
    parser.add_argument("--cifar10", help="an .npz file of CIFAR-10 in place of Keras' download")
    args = parser.parse_args()
    both = [commands((ROOT / page).read_text()) for page in PAGES]
    assert sorted(set(both[0])) == sorted(set(both[1])), "the pages do not give the same commands"
    failed, begun = [], time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder, "clone")
        subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
        environment = {**os.environ, "GRADIENT_ZOO_HOME": folder, "PYTHONPATH": str(clone)}
        for command in dict.fromkeys(both[0]):
            words = [*shlex.split(command), *(["epochs=2"] if args.quick and "gentler" not in command else [])]
            if "architectures" in command and args.cifar10:
                words.append(f"data.path={args.cifar10}")
            done = subprocess.run(
                [sys.executable, "train.py", *words], cwd=clone, env=environment, capture_output=True, text=True
            )
            failed += [command] if done.returncode else []
            print(f"{'failed' if done.returncode else 'done  '}  python train.py {command}", flush=True)
            if done.returncode:
                print(done.stderr[-500:])
    count = len(dict.fromkeys(both[0]))
    print(f"{count - len(failed)} of {count} commands ran, in {(time.perf_counter() - begun) / 60:.0f} min")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
