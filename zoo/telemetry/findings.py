"""What is told of a training: its verdict, and the cures to try."""

import dataclasses

from zoo.telemetry.language import named, say

FAULT = 0.5  # confidence above which a finding is a fault; below, a note

# What can be at fault, in the words of `Finding.cause` and `Verdict.cause`.
CAUSES = {
    "activation": "hidden activations: missing, misplaced, or unfit for the depth",
    "output": "the last layer: its units or its activation do not fit the targets or the loss",
    "loss": "the loss: not one for this task, given logits for probabilities or the reverse, or wrong in its formula",
    "metric": "what is measured says nothing of the task",
    "labels": "how classes are coded: their numbers, range, shape or type",
    "inputs": "scale, offset, coding or shape of the inputs",
    "targets": "scale or offset of the numbers to be predicted",
    "data": "the rows: values that are no numbers, order, duplicates, splits, labels that no feature tells",
    "rate": "the learning rate is too high or too low",
    "schedule": "the learning rate's course: it falls or rises too soon, or too far",
    "optimizer": "the optimizer: its kind, its other numbers, its clipping, or whose weights it trains",
    "initializer": "the weights that training begins with",
    "depth": "more layers than a gradient passes, as they are built",
    "capacity": "too few units for what is to be learned",
    "regularization": "dropout, penalties or weight decay that leave too little",
    "normalization": "normalization whose batch is too small, or whose averages lag behind",
    "frozen": "layers that do not train",
    "steps": "too few steps",
    "batch": "the size of the batches",
    "code": "a program of one's own: a layer, a loss or a step that does not do what it should",
}


@dataclasses.dataclass(frozen=True)
class Cure:
    """One change that may cure.

    Attributes:
        name: of the change, in a word or two.
        change: to the program, as Keras code.
        reason: why it may help, in a sentence.
        override: the same on gradient-zoo's command line; "" where there is no such choice.
    """

    name: str
    change: str
    reason: str = ""
    override: str = ""

    @property
    def told(self) -> str:
        """What to change, and why."""
        reason = say(self.reason)
        return say("{short}. {reason}", short=self.short, reason=reason[:1].upper() + reason[1:])

    @property
    def short(self) -> str:
        """What to change."""
        return say("{name}: {change}", name=say(self.name), change=say(self.change))


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or worth a note.

    Attributes:
        cause: one of `CAUSES`.
        title: what, in a few words.
        sentence: what, where, and on what evidence, for a reader.
        confidence: in [0, 1], that this keeps the program from what it could learn; a fault above `FAULT`, else a note.
        evidence: the numbers that it rests on.
        layer: where; `None` where no layer is to blame.
        cures: changes to the program, the most promising first.
    """

    cause: str
    title: str
    sentence: str
    confidence: float
    evidence: dict[str, float] = dataclasses.field(default_factory=dict)
    layer: str | None = None
    cures: list[Cure] = dataclasses.field(default_factory=list)

    @property
    def fault(self) -> bool:
        """Whether it is certain enough to be told as a fault."""
        return self.confidence > FAULT

    def __str__(self) -> str:
        """What, where, and below it what to do."""
        tries = [say("try {change}", change=say(cure.change)) for cure in self.cures[:1]]
        return "\n  ".join([self.told, *tries])

    @property
    def told(self) -> str:
        """Cause, title and sentence with the confidence."""
        return say(
            "{cause}, {title}: {sentence} (confidence {confidence:.2f})",
            cause=named(self.cause),
            title=say(self.title),
            sentence=self.sentence,
            confidence=self.confidence,
        )


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What is wrong with a training, where, and on what evidence.

    Attributes:
        name: one of `zoo.telemetry.verdict.NAMES`; undecided where the evidence is too little to say healthy or sick.
            `zoo.Doctor` has one more: faulty, where no gradient is to blame.
        layer: the layer where it breaks; `None` where no layer is to blame.
        since: the optimizer step at which the evidence begins; 0 is before the first step.
        confidence: in [0, 1]: how often a word on such evidence is right (`benchmarks/verdicts.py`); from 0.95 on the
            verdict is certain enough to stop for. 0 where it is undecided.
        cause: what brings it about, one of `CAUSES`; "" where nothing does, or nothing is known.
        evidence: the numbers that it rests on.
        sentence: all of it for a reader; of an undecided one, what is missing.
        remedies: overrides of the command line to try, the most promising first.
        cures: the same, and more, as changes to one's own code.
        findings: all that was found, most certain first, where a check-up was made (`zoo.Doctor`).
    """

    name: str
    layer: str | None = None
    since: int = 0
    confidence: float = 0.0
    cause: str = ""
    evidence: dict[str, float] = dataclasses.field(default_factory=dict)
    sentence: str = ""
    remedies: list[str] = dataclasses.field(default_factory=list)
    cures: list[Cure] = dataclasses.field(default_factory=list)
    findings: list[Finding] = dataclasses.field(default_factory=list)

    @property
    def sick(self) -> bool:
        """Whether something is wrong, and known."""
        return self.name not in ("healthy", "undecided")

    @property
    def further(self) -> list[Finding]:
        """The findings that the sentence does not tell itself."""
        return [finding for finding in self.findings if finding.sentence != self.sentence]

    def __str__(self) -> str:
        """The word, the sentence, and below them what to try."""
        return "\n  ".join([self.headline, *(say("try {change}", change=cure.told) for cure in self.cures)])

    def _repr_html_(self) -> str:
        """What a notebook shows: the word, the sentence, what to try, the evidence, and what else was found."""
        from zoo.telemetry.page.notebook import verdict_shown

        return verdict_shown(self)

    @property
    def headline(self) -> str:
        """The word and the sentence."""
        return say("{name}: {told}", name=named(self.name), told=self.told)

    @property
    def told(self) -> str:
        """The sentence with the confidence; of the undecided there is none."""
        if not self.confidence:
            return self.sentence
        return say("{sentence} (confidence {confidence:.2f})", sentence=self.sentence, confidence=self.confidence)
