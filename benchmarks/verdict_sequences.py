"""Labelled runs of recurrent, attention and generative nets, for `verdicts.py`; their labels confirmed by training.

    python benchmarks/verdict_sequences.py --cache DIR                # train all, print which labels hold
    python benchmarks/verdict_sequences.py --cache DIR --only vae     # those with "vae" in their name

A label comes from how the run was made and never from the rules under test. `score` is the share of what the best
constant costs that is left at the end of training, on 512 of its samples: cross-entropy over the entropy of the
targets, squared error over their variance, a VAE's error of reconstruction over the variance of x, and of a GAN the
energy distance of its samples to the data over that of its untrained samples.

- healthy: the score is at most 0.6.
- Sick: it is at least 0.8, or not finite, and the same run without its fault comes to at most 0.6.
- vanishing fails with ten times the rate too (or it would be stalled), exploding with a hundredth (or unstable).
- dead: what should live is counted, and is 0 with the fault and more without: latent units that vary by more than 0.01
  with x (Burda et al. 2015), rows of the embedding that training changed beside that of the unknown word, samples that
  the router sends to the expert. A net may do without an expert: there the score is the share of the expert's fair
  share of samples that it lacks, and the count is 0 only if training left the expert's kernel as it was, to the bit.
"""

# ruff: noqa: E501

import argparse
import dataclasses
import functools
import hashlib
import json
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from verdict_nets import (
    Made,
    autoencoder,
    bag_of_words,
    experts,
    gan,
    keras,
    recurrent,
    tf,
    transformer,
    translator,
    vae,
)
from verdict_record import FAILS, PROBE_SAMPLES, TRAINS

VERSION = 1


@dataclasses.dataclass(frozen=True)
class Run:
    """One labelled run.

    Attributes:
        where: the layer with the fault; `None` where no layer is to blame.
        make: makes it of `options`; of options | cure, with its fault taken away.
    """

    name: str
    label: str
    where: str | None
    make: Callable
    options: dict
    cure: dict | None = None

    @property
    def seed(self) -> int:
        return zlib.crc32(self.name.encode()) % 10000

    @property
    def parts(self) -> dict[str, dict]:
        """The options of each training that the label rests on."""
        parts = {"fault": self.options}
        if self.cure is not None:
            parts["cure"] = self.options | self.cure
        if factor := {"vanishing": 10, "exploding": 0.01}.get(self.label):
            parts["other"] = self.options | {"rate": self.options["rate"] * factor}
        return parts

    def key(self, which: str) -> str:
        """Name of a training's folder in the cache."""
        told = json.dumps([self.name, which, VERSION, self.parts[which]], sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()[:16]

    def build(self, which: str = "fault") -> Made:
        keras.backend.clear_session()
        keras.utils.set_random_seed(self.seed)
        return self.make(**self.parts[which])


# The runs.


def _run(label: str, name: str, make: Callable, where: str | None = None, cure: dict | None = None, **options) -> Run:
    return Run(f"{label}: {name}", label, where, make, options, cure)


healthy, dead, stalled, unstable = (
    functools.partial(_run, label) for label in ("healthy", "dead", "stalled", "unstable")
)
vanishing, exploding = (functools.partial(_run, label, rate=2e-3) for label in ("vanishing", "exploding"))
ROWS = {"data": "rows", "steps": 8}
COUNTING = {"data": "counting", "steps": 12, "rate": 3e-3}
PATCHES = {"data": "patches", "steps": 16}
RELU = {"activation": "relu", "start": "identity"}

# fmt: off
RUNS = [
    healthy("lstm rows", recurrent, cell="LSTM", **ROWS),
    healthy("gru symbols 20", recurrent, cell="GRU", data="symbols", steps=20, rate=1e-2, epochs=8),
    healthy("bidirectional lstm rows", recurrent, cell="LSTM", both_ways=True, width=16, **ROWS, rate=5e-3),
    healthy("lstm adding 16", recurrent, cell="LSTM", data="adding", steps=16, rate=1e-2, epochs=10),
    healthy("gru 2 rows rmsprop", recurrent, cell="GRU", depth=2, optimizer="rmsprop", epochs=5, **ROWS),
    healthy("rnn rows momentum", recurrent, optimizer="sgd", momentum=0.9, **ROWS, rate=0.02),
    healthy("rnn recall 40", recurrent, steps=40),
    healthy("rnn relu recall 50, large first losses", recurrent, steps=50, factor=1.5, **RELU),
    healthy("bidirectional gru words", recurrent, cell="GRU", both_ways=True, data="words", steps=16, rate=5e-3, epochs=4),
    healthy("encoder 2 words", transformer, depth=2),
    healthy("encoder post-LN words", transformer, norm="post"),
    healthy("gpt letters", transformer, data="letters", steps=24, width=48, rate=5e-3, epochs=10),
    healthy("gpt counting", transformer, **COUNTING),
    healthy("vit", transformer, **PATCHES),
    healthy("bag of words", bag_of_words),
    healthy("translator", translator),
    healthy("vae of keras.io", vae),
    healthy("vae with add_loss", vae, own_step=False),
    healthy("experts 4", experts),
    healthy("experts 3 wide", experts, number=3, width=64, rate=1e-3, epochs=10),
    healthy("gan ring", gan),
    healthy("gan digits", gan, data="digits", width=64),
    healthy("autoencoder", autoencoder),
    healthy("u-net", autoencoder, net="unet", width=8),

    vanishing("rnn recall 50 momentum", recurrent, "rnn_1", {"factor": 1.0}, factor=0.02, optimizer="sgd", momentum=0.9, rate=0.02, clip=1.0),
    vanishing("rnn recall 100 glorot", recurrent, "rnn_1", {"start": "orthogonal", "factor": 1.0}, steps=100, start="glorot", factor=0.5, width=24),
    vanishing("rnn late rows", recurrent, "rnn_1", {"factor": 1.0}, data="late", steps=40, factor=0.1),
    vanishing("rnn relu recall 60", recurrent, "rnn_1", {"factor": 1.0}, steps=60, factor=0.1, **RELU),
    vanishing("rnn recall 80 rmsprop", recurrent, "rnn_1", {"factor": 1.0}, steps=80, factor=0.02, width=48, optimizer="rmsprop", rate=5e-4),
    vanishing("rnn adding 60, gru cures", recurrent, "rnn_1", {"cell": "GRU", "factor": 1.0}, data="adding", steps=60, factor=0.02, rate=1e-2),
    vanishing("gan digits, discriminator wins", gan, "g_1", {"minimax": False, "d_rate": 1e-3, "optimizer": "adam", "rate": 1e-3}, data="digits", width=64, minimax=True, d_rate=0.05, optimizer="sgd", rate=1e-3),
    vanishing("gan digits narrow, discriminator wins", gan, "g_1", {"minimax": False, "d_rate": 1e-3, "optimizer": "adam", "rate": 2e-3}, data="digits", minimax=True, d_rate=0.1, optimizer="sgd", rate=2e-3, epochs=8),

    exploding("rnn linear recall 50", recurrent, "rnn_1", {"factor": 1.0}, activation="linear", factor=3.0),
    exploding("rnn relu recall 60 rmsprop", recurrent, "rnn_1", {"factor": 1.0}, steps=60, factor=2.5, optimizer="rmsprop", **RELU),
    exploding("rnn relu late rows", recurrent, "rnn_1", {"factor": 1.0, "clip": 1.0}, data="late", steps=30, factor=3.0, **RELU),
    exploding("rnn tanh recall 50", recurrent, "rnn_1", {"factor": 1.0}, factor=3.0),
    exploding("rnn linear late rows", recurrent, "rnn_1", {"factor": 1.0, "clip": 1.0}, data="late", steps=40, activation="linear", factor=2.0, optimizer="sgd", momentum=0.9, rate=0.02, epochs=5),

    dead("vae collapsed", vae, "z_mean", {"weight": 0.1}, weight=20.0),
    dead("vae collapsed, add_loss", vae, "z_mean", {"weight": 0.1}, own_step=False, weight=20.0),
    dead("vae collapsed, 8 latent", vae, "z_mean", {"weight": 0.1}, latent=8, width=32, weight=10.0, optimizer="rmsprop", rate=2e-3),
    dead("expert 1 of 4", experts, "expert_1", {"bias": 0.0}, shut=1),
    dead("expert 0 of 3, sgd", experts, "expert_0", {"bias": 0.0}, number=3, shut=0, width=48, bias=-30.0, optimizer="sgd", momentum=0.9, rate=0.05),
    dead("bag of words, all unknown", bag_of_words, "embedding", {"unknown": False}, unknown=True),
    dead("lstm words, all unknown", recurrent, "embedding", {"unknown": False}, cell="LSTM", data="words", steps=16, rate=5e-3, unknown=True),
    dead("encoder words, all unknown", transformer, "embedding", {"unknown": False}, unknown=True),

    stalled("encoder words", transformer, None, {"rate": 1e-3}, rate=1e-7),
    stalled("gpt counting", transformer, None, {"rate": 3e-3}, **COUNTING | {"rate": 1e-6}),
    stalled("vae of keras.io", vae, None, {"rate": 3e-3}, rate=1e-6, epochs=6),
    stalled("gru rows sgd", recurrent, None, {"rate": 0.1}, cell="GRU", optimizer="sgd", momentum=0.9, **ROWS, rate=1e-5),

    unstable("post-LN gpt counting", transformer, None, {"rate": 3e-3}, norm="post", **COUNTING | {"rate": 0.5}),
    unstable("post-LN encoder 2 patches", transformer, None, {"rate": 1e-3}, norm="post", depth=2, **PATCHES, rate=0.1, epochs=4),
    unstable("gpt counting", transformer, None, {"rate": 3e-3}, **COUNTING | {"rate": 1.0}),
    unstable("vit rmsprop", transformer, None, {"rate": 1e-3}, optimizer="rmsprop", **PATCHES, rate=0.5),
    unstable("lstm rows", recurrent, None, {"rate": 2e-3}, cell="LSTM", **ROWS, rate=3.0),
    unstable("vae of keras.io", vae, None, {"rate": 3e-3}, rate=1.0),
]
# fmt: on


# Training.


def record(run: Run, cache: Path) -> None:
    """Train what the cache lacks of a run; the fault and the cure with all that a verdict may see."""
    for which in run.parts:
        if not (cache / run.key(which) / "result.json").exists():
            train(run, which, cache)


def train(run: Run, which: str, cache: Path) -> None:
    from zoo.telemetry.gradients import GradientNorms
    from zoo.telemetry.probe import Probes
    from zoo.telemetry.probes_file import save_probes

    model, x, y, fit, score, baseline, count = run.build(which)
    norms, probes = (
        GradientNorms(updates=True),
        Probes(keras.tree.map_structure(lambda a: a[:PROBE_SAMPLES], x), y if y is None else y[:PROBE_SAMPLES]),
    )
    recorded = which != "other"
    began = time.perf_counter()
    log = model.fit(x, y, **fit, verbose=0, callbacks=[norms, probes] if recorded else []).history
    result = {
        "run": run.name,
        "which": which,
        "options": run.parts[which],
        "baseline": baseline,
        "losses": log.get("loss", []),
        "logs": log,
        "score": score(model),
        "count": count and count(model),
        "seconds": time.perf_counter() - began,
    }
    folder = cache / run.key(which)
    folder.mkdir(parents=True, exist_ok=True)
    if recorded:
        norms.history.save(folder / "history.npz")
        save_probes(folder / "probes.npz", probes.results)
    (folder / "result.json").write_text(json.dumps(result))


def result(run: Run, which: str, cache: Path) -> dict:
    return json.loads((cache / run.key(which) / "result.json").read_text())


def refuted(run: Run, cache: Path) -> str:
    """Return why the label does not hold, "" if it does."""
    ended = {which: result(run, which, cache) for which in run.parts}
    scores = {which: end["score"] for which, end in ended.items()}
    if run.label == "healthy":
        return "" if scores["fault"] <= TRAINS else "does not train"
    if scores["fault"] < FAILS:
        return "does not fail"
    if not scores["cure"] <= TRAINS:
        return "its cure does not train"
    if scores.get("other", np.inf) < FAILS:
        return "another rate does not fail"
    if run.label == "dead" and ended["fault"]["count"]:
        return "not dead"
    if run.label == "dead" and not ended["cure"]["count"]:
        return "dead with its cure too"
    return ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, required=True, help="folder of the recorded runs")
    parser.add_argument("--only", default="", help="part of a name")
    args = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    print("| name | score | cure | other rate | alive | s | confirmed |\n| --- | --- | --- | --- | --- | --- | --- |")
    for run in (run for run in RUNS if args.only in run.name):
        record(run, args.cache)
        ended = {which: result(run, which, args.cache) for which in run.parts}
        shown = [f"{ended[which]['score']:.3g}" if which in ended else "" for which in ("fault", "cure", "other")]
        alive = ", ".join(str(end["count"]) for end in ended.values() if end["count"] is not None)
        seconds = max(end["seconds"] for end in ended.values())
        why = refuted(run, args.cache) or "yes"
        print(f"| {run.name} | {' | '.join(shown)} | {alive} | {seconds:.0f} | {why} |", flush=True)


if __name__ == "__main__":
    main()
