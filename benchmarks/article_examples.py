"""What `articles.py` measures: a table for each example of the five articles, and the cures laid over four networks."""

import dataclasses

SEEDS = 5


@dataclasses.dataclass(frozen=True)
class Example:
    """One table of docs/articles.md.

    Attributes:
        name: of the table, as its marker in the pages has it.
        experiments: of `conf/experiment`, whose sweeps are its rows.
        metrics: its columns: metrics of the run, or
            train_accuracy, train_rmse, train_loss: of the whole training part after the last step, in inference;
            start: share of the last layer's delta that reaches the first before training;
            output: mean length of one sample's gradient at the logits before training.
        by: the metric in which rows are compared with the first; "" compares none.
    """

    name: str
    experiments: tuple[str, ...]
    metrics: tuple[str, ...]
    by: str = ""


EXAMPLES = [
    # 000
    Example("simple_net", ("simple_net",), ("loss", "train_accuracy", "test_accuracy", "start")),
    Example("activations_of_simple_net", ("simple_net_activations",), ("train_accuracy", "start"), "train_accuracy"),
    Example(
        "residual_simple_net",
        ("simple_net", "two_branches", "skip_connection"),
        ("train_accuracy", "test_accuracy", "start"),
        "train_accuracy",
    ),
    Example("l2_penalty", ("l2_penalty",), ("train_accuracy", "test_accuracy", "start"), "train_accuracy"),
    Example("overfitting", ("overfitting",), ("train_accuracy", "test_accuracy"), "test_accuracy"),
    Example("decay_of_simple_net", ("simple_net", "inverse_time_decay"), ("loss", "train_accuracy"), "loss"),
    Example("deeper_net", ("deeper_net",), ("start", "train_accuracy"), "train_accuracy"),
    # 001
    Example("sample_by_sample", ("sample_by_sample",), ("train_rmse", "test_rmse")),
    Example("optimizers_sample_by_sample", ("sample_by_sample_optimizers",), ("train_rmse", "test_rmse"), "train_rmse"),
    Example("rate_by_grid", ("rate_by_grid",), ("val_accuracy",)),
    Example("rate_by_folds", ("rate_by_folds",), ("val_accuracy",)),
    # 002
    Example(
        "residual_connection",
        ("residual_connection", "printed_residual"),
        ("test_accuracy", "start"),
        "test_accuracy",
    ),
    Example("batch_normalization", ("batch_normalization",), ("test_accuracy", "start"), "test_accuracy"),
    Example("decays", ("decays", "printed_cosine"), ("test_accuracy",), "test_accuracy"),
    Example("repeated_splits", ("repeated_splits",), ("val_rmse", "test_rmse")),
    Example("shrinking_splits", ("shrinking_splits",), ("test_rmse",), "test_rmse"),
    # 003
    Example("initializers", ("initializers",), ("test_accuracy", "start"), "test_accuracy"),
    Example("activations", ("activations",), ("test_accuracy", "start"), "test_accuracy"),
    Example("architectures", ("architectures",), ("test_accuracy", "start"), "test_accuracy"),
    Example("dropout_norm_l2", ("dropout_norm_l2",), ("test_accuracy",), "test_accuracy"),
    Example("optimizers", ("optimizers",), ("test_accuracy",), "test_accuracy"),
    Example("losses", ("losses",), ("test_accuracy",), "test_accuracy"),
    Example("softmax_gradient", ("softmax_gradient",), ("output",)),
    # 004
    Example("ridge", ("ridge",), ("train_rmse", "test_rmse")),
    Example("inverse_scaling", ("inverse_scaling",), ("train_rmse", "test_rmse")),
    Example(
        "activation_network", ("activated_output", "hidden_relu"), ("train_rmse", "test_rmse", "start"), "train_rmse"
    ),
    Example(
        "residual_network",
        ("residual_without_skip", "residual_with_skip"),
        ("train_rmse", "test_rmse", "start"),
        "train_rmse",
    ),
    Example("gradient_clipping", ("gradient_clipping",), ("train_rmse", "test_rmse"), "train_rmse"),
    Example("l2_network", ("residual_without_skip", "l2_net"), ("train_rmse", "test_rmse"), "train_rmse"),
]

SETTINGS = {
    "sigmoid_30": {"en": "30 sigmoid layers", "zh": "30 层 sigmoid"},
    "relu_50": {"en": "50 plain ReLU layers", "zh": "50 层普通 ReLU"},
    "large_weights": {"en": "large weights", "zh": "权重过大"},
    "large_rate": {"en": "large rate", "zh": "学习率过大"},
}
VANISHING, EXPLODING = ("sigmoid_30", "relu_50"), ("large_weights", "large_rate")
EVERYWHERE = tuple(SETTINGS)

# (words for train.py, which articles name it, where it can be tried, English, Chinese). Where an article prints a
# number (Adam 0.001, lambda 0.01, global norm 1), it is that one.
CURES = [
    ("", "", EVERYWHERE, "none", "无"),
    ("activation=relu", "000 003 004", ("sigmoid_30",), "activation: ReLU", "激活函数：ReLU"),
    ("activation=leaky_relu", "000", EVERYWHERE, "activation: leaky ReLU", "激活函数：Leaky ReLU"),
    ("activation=elu", "000", EVERYWHERE, "activation: ELU", "激活函数：ELU"),
    ("model.residual=2", "000 002 003 004", EVERYWHERE, "residual connections", "残差连接"),
    ("normalization=batch", "002 003", EVERYWHERE, "batch normalization", "批量归一化"),
    (
        "regularizer=l2 regularizer.l2=0.005 regularizer.biases=true",
        "000 003 004",
        EVERYWHERE,
        "L2 penalty of all parameters",
        "所有参数的 L2 惩罚",
    ),
    ("constraint=max_norm", "003", EVERYWHERE, "constraint: max-norm", "约束：最大范数"),
    ("schedule=inverse_time", "000 002 004", EVERYWHERE, "learning-rate decay", "学习率衰减"),
    ("model.depth=60", "000", ("sigmoid_30", "large_weights"), "twice as deep", "层数加倍"),
    ("model.depth=100", "000", ("relu_50",), "twice as deep", "层数加倍"),
    ("model.depth=20", "000", ("large_rate",), "twice as deep", "层数加倍"),
    ("clipping=global_norm", "004", EVERYWHERE, "clipping to global norm 1", "按全局范数 1 裁剪"),
    ("clipping=whole_gradient", "004", EVERYWHERE, "division by the norm", "除以范数"),
    ("optimizer=ema_momentum", "001", EVERYWHERE, "momentum, as printed", "动量（原文公式）"),
    ("optimizer=momentum", "001 003", EVERYWHERE, "momentum, as usual", "动量（通常公式）"),
    ("optimizer=rmsprop optimizer.learning_rate=0.001", "001 003", EVERYWHERE, "RMSprop", "RMSprop"),
    ("optimizer=adam optimizer.learning_rate=0.001", "001 003", EVERYWHERE, "Adam", "Adam"),
    ("initializer=glorot_uniform", "003", EXPLODING, "initialization: Xavier", "初始化：Xavier"),
    ("initializer=he_normal", "003", (*VANISHING, "large_weights"), "initialization: He", "初始化：He"),
    ("initializer=lsuv", "003", EVERYWHERE, "initialization by the data: LSUV", "由数据初始化：LSUV"),
    ("dropout.rate=0.2", "003", EVERYWHERE, "dropout 0.2", "Dropout 0.2"),
    ("rate_factor=10", "001", VANISHING, "rate × 10", "学习率 × 10"),
    ("rate_factor=0.1", "001", ("large_weights",), "rate ÷ 10", "学习率 ÷ 10"),
    ("rate_factor=3", "001", ("large_rate",), "rate ÷ 10", "学习率 ÷ 10"),
    (
        "model.residual=2 normalization=batch",
        "003",
        VANISHING,
        "residual connections and batch normalization",
        "残差连接加批量归一化",
    ),
    ("model.depth=5", "", EVERYWHERE, "(for comparison: 5 layers)", "（对照：5 层）"),
    ("activation=relu initializer=he_normal", "003", ("sigmoid_30",), "ReLU and He", "ReLU 加 He"),
]
