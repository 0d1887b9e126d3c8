"""Every sentence of the code has its translation, with the same values in it, and no translation is of none."""

import ast
import re
import string
from collections import Counter

import pytest
from conftest import ROOT

import zoo
from zoo.archive.summary import Status
from zoo.checkup.doctor import FORETOLD
from zoo.keys import KEYS
from zoo.repairing.changes import CALLED_FOR
from zoo.telemetry import language
from zoo.telemetry.findings import CAUSES, Cure, Finding, Verdict
from zoo.telemetry.page.bilingual import SPOKEN
from zoo.telemetry.verdict import NAMES

PAGE = ROOT / "docs" / "checkup.zh.md"
# What is said where it is shown, by the places of the arguments; `Cure` has code in its second one, or words.
SHOWN = {"suspect": (1,), "Cure": (0, 1, 2), "of_rate": (1,), "_biases": (1,)}
PROPER = {"Adadelta", "Adam", "ReLU", "epsilon", "glorot uniform", "he normal", "sigmoid", "softmax", "tanh", "dropout"}
WORDS = {*NAMES, "faulty", *CAUSES, "input", "target", "FAILED", "KILLED"}
TITLES = {*FORETOLD, *CALLED_FOR}


@pytest.fixture(autouse=True)
def english_again():
    yield
    zoo.use_language("en")


def calls(*names: str) -> list[ast.Call]:
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in sorted((ROOT / "zoo").rglob("*.py"))]
    nodes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [node for node in nodes if isinstance(node.func, ast.Name) and node.func.id in names]


def literals(node: ast.expr) -> list[str]:
    """Return the strings that an argument may be, where they stand in it."""
    if isinstance(node, ast.IfExp):
        return literals(node.body) + literals(node.orelse)
    return [node.value] if isinstance(node, ast.Constant) and isinstance(node.value, str) else []


def is_code(text: str) -> bool:
    """Whether it is Keras code, the same in every language: a statement, or arguments of a call."""
    for program in (text, f"f({text})"):
        try:
            ast.parse(program)
            return True
        except SyntaxError:
            continue
    return False


def templates() -> set[str]:
    scripts = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "zoo").rglob("*.js"))]
    spoken = {text for script in scripts for text in SPOKEN.findall(script)}
    return spoken | {text for call in calls("say", "label", "both") for text in literals(call.args[0])}


def shown() -> set[str]:
    found = set()
    for name, places in SHOWN.items():
        for call in calls(name):
            for place, argument in enumerate(call.args):
                changes = name == "Cure" and place == 1
                found |= {t for t in literals(argument) if place in places and t and not (changes and is_code(t))}
    return found - PROPER


def on_the_page() -> dict[str, str]:
    """The titles that `docs/checkup.zh.md` translates, each by itself."""
    rows = re.findall(r"^\| (?:\*\*([^*`]+)\*\*|`([^*`]+)`)(?: \*)?（(.+?)） \|", PAGE.read_text("utf-8"), re.MULTILINE)
    return {bold or code: means for bold, code, means in rows}


def values_of(template: str) -> Counter[str]:
    return Counter(name for _, name, _, _ in string.Formatter().parse(template) if name)


def test_every_sentence_is_translated_and_no_other():
    table, wanted = set(language.texts("zh")), templates() | shown() | WORDS | TITLES | set(on_the_page())
    code = {text for text in table if text == "keras.layers.LSTM or GRU"}  # words, which happen to be an expression
    pairs = {"labels that are all the same", "targets that are all the same"}  # of an f-string, told together there

    assert len(wanted) > 500
    assert not sorted(wanted - table)
    assert not sorted(table - wanted - code - pairs)


def test_a_translation_has_the_values_of_its_sentence():
    assert not {text for text, said in language.texts("zh").items() if values_of(text) != values_of(said)}


def test_no_sentence_is_in_two_files():
    lines = [line for path in (language.TEXTS / "zh").glob("*.toml") for line in path.read_text("utf-8").splitlines()]
    keys = Counter(line.split(" = ")[0] for line in lines if line[:1] in "\"'" and line)

    assert len(keys) == len(language.texts("zh")) and set(keys.values()) == {1}


def test_what_is_said_stands_in_the_code_word_by_word():
    """An f-string has its values before it can be looked up."""
    given = [call.args[0] for call in calls("say", "label", "both")]
    given += [call.args[2] for name in ("suspect", "Cure") for call in calls(name) if len(call.args) > 2]
    assert not [ast.unparse(node) for node in given if isinstance(node, ast.JoinedStr)]
    sentences = [call.args[2] for call in calls("suspect")]
    assert not [ast.unparse(node) for node in sentences if isinstance(node, ast.Constant)]


def test_titles_are_those_of_the_page():
    table, page = language.texts("zh"), on_the_page()

    assert len(page) > 60
    assert {title: table[title] for title in page} == page


def test_chinese_is_said_without_gaps_and_english_as_it_stands():
    assert language.say("the model is large.") == "the model is large."
    assert language.named("dead") == "dead" and language.label("try") == "try       "
    zoo.use_language("zh")
    assert language.say("try {change}", change="更多 epoch") == "试试更多 epoch"
    assert language.say("try {change}", change="momentum=0.9") == "试试 momentum=0.9"
    assert language.named("dead") == "dead（神经元死亡）" and language.named("-") == "-"
    assert language.label("try") == "试试      "  # as wide: a Chinese character takes two columns
    assert language.say("what no table has") == "what no table has"


def test_a_verdict_is_told_in_the_language_and_keeps_its_words():
    cure = Cure(
        "batch normalization", "keras.layers.BatchNormalization()", "it spreads samples.", "normalization=batch"
    )
    finding = Finding("rate", "a learning rate of 0", language.say("the model is large."), 0.9, cures=[cure])
    verdict = Verdict("dead", "dense", 0, 0.9, sentence="…", cures=[cure], findings=[finding])
    english = str(verdict), str(finding)
    zoo.use_language("zh")

    told = f"{verdict}\n{finding}"

    assert "dead（神经元死亡）：…（置信度 0.90）" in told
    assert "试试批量归一化：keras.layers.BatchNormalization()。它拉开样本之间的差别。" in told
    assert "rate（学习率），学习率为 0：" in told
    assert (finding.title, finding.cause, verdict.name) == ("a learning rate of 0", "rate", "dead")
    zoo.use_language("en")
    assert (str(verdict), str(finding)) == english


def test_another_language_is_refused_and_the_environment_chooses(monkeypatch):
    assert KEYS["language"].choices == language.LANGUAGES
    with pytest.raises(ValueError, match="language 'fr': choose one of en, zh"):
        zoo.use_language("fr")
    monkeypatch.setattr(language, "_chosen", None)
    monkeypatch.setenv(language.VARIABLE, "zh")
    assert language.say("nothing found") == "没有发现问题"


def test_statuses_are_words():
    assert {str(status) for status in Status} - WORDS == {"FINISHED"}  # of which the verdict is told
