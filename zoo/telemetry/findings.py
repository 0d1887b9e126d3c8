"""What is told of a training: its verdict, and the cures to try."""

import dataclasses


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


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What is wrong with a training, where, and on what evidence.

    Attributes:
        name: one of `zoo.telemetry.verdict.NAMES`; undecided where the evidence is too little to say healthy or sick.
        layer: the layer where it breaks; `None` where no layer is to blame.
        since: the optimizer step at which the evidence begins; 0 is before the first step.
        confidence: in [0, 1]: how often a word on such evidence is right (`benchmarks/verdicts.py`); from 0.95 on the
            verdict is certain enough to stop for. 0 where it is undecided.
        cause: what brings it about, in a few words.
        evidence: the numbers that it rests on.
        sentence: all of it for a reader; of an undecided one, what is missing.
        remedies: overrides of the command line to try, the most promising first.
        cures: the same, and more, as changes to one's own code.
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

    def __str__(self) -> str:
        """The word, the sentence, and below them what to try."""
        tries = [f"  try {cure.name}: {cure.change}. {cure.reason[:1].upper()}{cure.reason[1:]}" for cure in self.cures]
        return "\n".join([f"{self.name}: {self.told}", *tries])

    @property
    def told(self) -> str:
        """The sentence with the confidence; of the undecided there is none."""
        return self.sentence + (f" (confidence {self.confidence:.2f})" if self.confidence else "")
