"""All changes that can be made to a program, and which of them a finding calls for."""

from zoo.repairing import of_data, of_layers, of_optimizer, of_output, of_own
from zoo.repairing.change import Change
from zoo.repairing.of_own import FACTORS
from zoo.repairing.subject import Subject
from zoo.telemetry.findings import Finding

# What a finding calls for, by its title; of several, what comes first is tried first.
CALLED_FOR = {
    "inputs that are no numbers": ("numbers",),
    "targets that are no numbers": ("numbers",),
    "a validation split of sorted rows": ("redrawn",),
    "inputs of a large scale": ("standardize",),
    "inputs of a small scale": ("standardize",),
    "columns of very different scale": ("standardize",),
    "inputs far from zero": ("standardize",),
    "inputs that learn once they are standardized": ("standardize",),
    "softmax over one unit": ("output",),
    "softmax over the wrong axis": ("output",),
    "one unit for several classes": ("output", "loss"),
    "softmax where several labels hold at once": ("output", "loss"),
    "an output that cannot reach the targets": ("output", "scaled targets"),
    "a last layer that gives no probabilities": ("output",),
    "sigmoids for one class among several": ("output",),
    "softmax for numbers": ("output",),
    "ReLU on the output": ("output",),
    "labels beyond the output's units": ("output", "labels"),
    "class numbers that are no whole numbers": ("labels", "output", "loss"),
    "targets that are no probabilities": ("labels", "output", "loss", "scaled targets"),
    "targets without a class": ("labels",),
    "targets of a large scale": ("scaled targets",),
    "targets that hardly differ beside their size": ("scaled targets",),
    "categorical cross-entropy of one unit": ("loss", "output"),
    "logits given to a loss of probabilities": ("output", "loss"),
    "probabilities given to a loss of logits": ("loss",),
    "a loss of one class for several labels": ("loss", "output"),
    "a loss of classes for numbers": ("loss", "output"),
    "binary cross-entropy for one class among several": ("output", "loss"),
    "a distance for classes": ("output", "loss"),
    "a loss that rewards wrong answers": ("loss",),
    "a loss that perfect answers do not bring down": ("loss",),
    "a loss that is no number at perfect answers": ("loss",),
    "shapes that spread in the loss": ("loss",),
    "nothing trains": ("unfreeze",),
    "a last layer that is frozen": ("unfreeze",),
    "layers that are frozen": ("unfreeze",),
    "layers without a nonlinearity": ("relu",),
    "softmax in a hidden layer": ("relu",),
    "sigmoids in hidden layers": ("relu",),
    "relu in a recurrent layer": ("tanh",),
    "linear in a recurrent layer": ("tanh",),
    "softmax in a recurrent layer": ("tanh",),
    "sigmoid in a recurrent layer": ("tanh",),
    "a hidden layer that is too narrow": ("wider",),
    "units that begin alike": ("initializer",),
    "weights of an unusual size": ("initializer",),
    "layers that hardly tell samples apart": ("initializer", "batch normalization"),
    "dropout that leaves little": ("less dropout",),
    "dropout on the output": ("less dropout",),
    "penalties that drown the loss": ("no penalties",),
    "a penalty that silences its layer": ("no penalties",),
    "a learning rate of 0": ("usual rate",),
    "Adadelta at a low rate": ("adam",),
    "Adagrad at a low rate": ("adam",),
    "Ftrl at a low rate": ("adam",),
    "momentum that hardly forgets": ("adam",),
    "an epsilon that drowns the gradient": ("adam",),
    "clipping that leaves nothing": ("no clipping",),
    "clipping that cuts every step": ("no clipping",),
    "an optimizer of other weights": ("redrawn",),
    "weight decay that eats the weights": ("adam",),
    "a rate that falls too soon": ("constant rate",),
    "a rate that fell too soon": ("constant rate",),
    "a rate that grows": ("constant rate",),
    "a rate that grew": ("constant rate",),
    "a learning rate that is too high": ("lower rate", "much lower rate", "usual rate"),
    "a learning rate that is too low": ("higher rate", "much higher rate", "usual rate"),
    "batch normalization whose averages lag behind": ("faster averages", "more epochs"),
    "too few steps": ("more epochs", "higher rate"),
    "batches as large as the data": ("small batches",),
    "batches of one or two samples": ("small batches",),
    "vanishing gradients": ("relu", "batch normalization", "initializer"),
    "exploding gradients": ("initializer", "batch normalization", "clipping", "lower rate"),
    "dead": (*FACTORS, "initializer", "batch normalization", "lower rate", "redrawn"),
    "saturated": ("standardize", "initializer", "batch normalization", "lower rate", "redrawn", "relu"),
    "stalled": ("loss weights", "adam", "higher rate", "much higher rate", "usual rate"),
    "unstable": (
        "loss weights",
        "lower rate",
        "much lower rate",
        "usual rate",
        "clipping",
        "standardize",
        "scaled targets",
    ),
}
# What helps where nothing that was found does: tried one by one, the first first.
GENERAL = ("adam", "standardize", "lower rate", "higher rate", "batch normalization", "relu", "initializer", "wider")
# What has to fit what is asked.
FITTING = ("labels", "output", "loss", "scaled targets")
# All that makes a program as one would write it today, in the order in which it is put together.
SOUND = (
    "numbers",
    "labels",
    "output",
    "loss",
    "unfreeze",
    "standardize",
    "scaled targets",
    "relu",
    "tanh",
    "initializer",
    "less dropout",
    "no penalties",
    "wider",
    "adam",
)


def possible(subject: Subject, epochs: int, size: int) -> dict[str, Change]:
    """Return the changes that would change something of this program, by their keys.

    Args:
        subject: the program.
        epochs: that it trains for.
        size: of its batches.
    """
    return {
        **dict(of_data.changes(subject)),
        **dict(of_output.changes(subject)),
        **dict(of_layers.changes(subject)),
        **dict(of_own.changes(subject)),
        **dict(of_optimizer.changes(subject)),
        **dict(of_optimizer.of_training(epochs, size)),
    }


def called_for(findings: list[Finding], known: dict[str, Change]) -> list[str]:
    """Return the keys of what the findings call for, most certain finding first, each once."""
    keys = [key for finding in findings for key in CALLED_FOR.get(finding.title, ())]
    return [key for key in dict.fromkeys(keys) if key in known]
