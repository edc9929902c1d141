"""-k, -m and --deselect."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpd.errors import UsageError
from rpd.select import compile_expression, select, untypable
from rpd.values.fixture import Closure
from rpd.values.job import Job
from rpd.values.mark import Mark
from rpd.values.node import Definition, Node


def node(
    name: str, *, file: str = "exp/deploy_llm.py", marks: tuple[Mark, ...] = (), words: tuple[str, ...] = ()
) -> Node:
    function, _, case = name.partition("[")
    definition = Definition(
        name=function,
        file=file,
        line=1,
        function=lambda: None,
        job=Job(),
        argnames=(),
        closure=Closure(),
        keywords=frozenset(word.lower() for word in (*file.split("/"), function, *words)),
        module=SimpleNamespace(),
    )
    return Node(definition=definition, id=f"{file}::{name}", case=case.removesuffix("]"), marks=marks)


NODES = (
    node(
        "finetune[deberta-seed42]",
        marks=(Mark("slow", (), {"phase": 1, "name": "a", "on": True}), Mark("gpu")),
    ),
    node("finetune[roberta-seed43]", marks=(Mark("slow"), Mark("Slower"))),
    node("evaluate[lr1e-05]", file="deploy_eval.py", words=("Owner",)),
)


def names(**how) -> list[str]:
    return [each.name for each in select(NODES, **how).selected]


@pytest.mark.parametrize(
    ("keyword", "expected"),
    [
        ("", "012"),
        ("   ", "012"),
        ("seed42", "0"),
        ("SEED42", "0"),
        ("finetune and not roberta", "0"),
        ("seed42 or seed43", "01"),
        ("not seed42 and not seed43", "2"),
        ("not (seed42 or seed43)", "2"),
        ("seed42 or seed43 and roberta", "01"),
        ("(seed42 or seed43) and roberta", "1"),
        ("not not seed42", "0"),
        ("exp", "01"),
        ("deploy_llm", "01"),
        ("deploy_llm.py", "01"),
        ("deploy", "012"),
        ("gpu", "0"),
        ("slower", "1"),
        ("owner", "2"),
        ("1e-05", "2"),
        ("[deberta", "0"),
        ("finetune[deberta-seed42]", "0"),
        ("exp/deploy_llm.py", ""),
        ("deploy_llm.py::finetune", ""),
        ("nothing", ""),
        ("None", ""),
    ],
)
def test_keywords_match_parts_of_names(keyword, expected):
    """``-k`` finds parts of the names of node, function, file, folders, marks and attributes, whatever the case."""
    assert names(keyword=keyword) == [NODES[int(index)].name for index in expected]


@pytest.mark.parametrize(
    ("markexpr", "expected"),
    [
        ("", "012"),
        ("slow", "01"),
        ("slo", ""),
        ("SLOW", ""),
        ("slow and not gpu", "1"),
        ("slow(phase=1)", "0"),
        ("slow(phase=2)", ""),
        ("slow(phase=1, name='a')", "0"),
        ('slow(name="a", on=True)', "0"),
        ("slow(on=False)", ""),
        ("slow(absent=None)", ""),
        ("not slow(phase=-1)", "012"),
    ],
)
def test_mark_expressions_match_whole_names_and_keywords(markexpr, expected):
    """``-m`` compares whole names, with keywords if given."""
    assert names(markexpr=markexpr) == [NODES[int(index)].name for index in expected]


def test_deselect_drops_by_the_beginning_of_the_id():
    """``--deselect`` takes prefixes; deselected nodes are kept apart, in order."""
    selection = select(
        NODES, keyword="", markexpr="", deselect=["exp/deploy_llm.py::finetune[de", "deploy_eval.py"]
    )
    assert [each.name for each in selection.selected] == ["finetune[roberta-seed43]"]
    assert selection.deselected == (NODES[0], NODES[2])


def test_all_filters_apply_together():
    """A node must pass ``-k``, ``-m`` and ``--deselect``."""
    assert names(keyword="finetune", markexpr="slow", deselect=["exp/deploy_llm.py::finetune[rob"]) == [
        NODES[0].name
    ]


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("(", 2, "expected not OR left parenthesis OR identifier; got end of input"),
        (" (", 3, "expected not OR left parenthesis OR identifier; got end of input"),
        (")", 1, "expected not OR left parenthesis OR identifier; got right parenthesis"),
        (") ", 1, "expected not OR left parenthesis OR identifier; got right parenthesis"),
        ("not", 4, "expected not OR left parenthesis OR identifier; got end of input"),
        ("not not", 8, "expected not OR left parenthesis OR identifier; got end of input"),
        ("(not)", 5, "expected not OR left parenthesis OR identifier; got right parenthesis"),
        ("and", 1, "expected not OR left parenthesis OR identifier; got and"),
        ("a and", 6, "expected not OR left parenthesis OR identifier; got end of input"),
        ("a or or b", 6, "expected not OR left parenthesis OR identifier; got or"),
        ("a b", 3, "expected end of input; got identifier"),
        ("a not", 3, "expected end of input; got not"),
        ("(a", 3, "expected right parenthesis; got end of input"),
        ("(a and b))", 10, "expected end of input; got right parenthesis"),
        ("a & b", 3, 'unexpected character "&"'),
        ("a == 1", 3, "expected end of input; got ="),
        ("a, b", 2, "expected end of input; got ,"),
        ("a b &", 3, "expected end of input; got identifier"),
        ("a 'b", 3, 'closing quote "\'" is missing'),
        ("m(1=2)", 3, "not a valid python identifier 1"),
        ("m(is=2)", 3, "unexpected reserved python keyword `is`"),
        ("m(a=b)", 5, 'unexpected character/s "b"'),
        ("m(a=1.5)", 5, 'unexpected character/s "1.5"'),
        ("m(a)", 4, "expected =; got right parenthesis"),
        ("m()", 3, "expected identifier; got right parenthesis"),
        ("m(a=)", 5, "expected identifier; got right parenthesis"),
        ("m(a=1", 6, "expected right parenthesis; got end of input"),
        ("m(a='x\\y')", 7, 'escaping with "\\" not supported in marker expression'),
    ],
)
def test_a_wrong_expression_names_the_column(text, column, message):
    """The mistake, its place, and the expected token."""
    for flag, keywords in (("-k", {"keyword": text}), ("-m", {"markexpr": text})):
        with pytest.raises(UsageError) as caught:
            select(NODES, **keywords)
        stripped = len(text) - len(text.lstrip())
        assert str(caught.value) == (
            f"Wrong expression passed to '{flag}': {text.strip()}: at column {column - stripped}: {message}"
        )


def test_keywords_take_no_arguments():
    """``-k slow(phase=1)`` means nothing."""
    with pytest.raises(UsageError, match=r"Keyword expressions do not support call parameters\."):
        select(NODES, keyword="slow(phase=1)")


def test_unknown_marks_are_rejected_where_the_known_ones_are_given():
    """A typo in ``-m`` would select the wrong nodes."""
    assert names(markexpr="slow", known_marks=["slow"]) == [NODES[0].name, NODES[1].name]
    with pytest.raises(
        UsageError, match=r"Unknown marker\(s\) in '-m' expression: slwo\. Did you mean 'slow'\?"
    ):
        select(NODES, markexpr="slwo", known_marks=["slow"])


def test_an_empty_expression_is_false():
    """The grammar's empty expression matches nothing (``-k ''`` is no expression)."""
    assert compile_expression("").matches(lambda name, arguments: True) is False


def test_ids_that_no_expression_can_name_are_found():
    """Spaces, commas and the words of the grammar itself cannot be typed as one name."""
    odd = [node("train[a b]"), node("train[a,b]"), node("train[not]")]
    assert list(untypable([*NODES, node("train"), *odd])) == odd


def test_long_expressions_are_fine_and_absurdly_deep_ones_are_told():
    """A thousand alternatives are a list; a thousand parentheses are a mistake."""
    assert names(keyword=" or ".join(["nothing"] * 3000 + ["seed42"])) == [NODES[0].name]
    with pytest.raises(UsageError, match="too many parentheses"):
        select(NODES, keyword="(" * 5000 + "a" + ")" * 5000)


# --- any expression -------------------------------------------------------------------------------------------------

WORDS = ["a", "b", "seed42", "1e-05", "x[y]", "or_", "nota", "ä"]


@st.composite
def expressions(draw, depth: int = 4):
    """Return a text, and its meaning as Python: (text, function of the set of true names)."""
    kind = draw(st.sampled_from(["name", "not", "and", "or", "group"] if depth else ["name"]))
    if kind == "name":
        word = draw(st.sampled_from(WORDS))
        return word, 3, lambda true: word in true
    if kind == "group":
        text, _, meaning = draw(expressions(depth=depth - 1))
        return f"({text})", 3, meaning
    if kind == "not":
        text, level, meaning = draw(expressions(depth=depth - 1))
        return f"not {text if level >= 2 else f'({text})'}", 2, lambda true: not meaning(true)
    left, left_level, first = draw(expressions(depth=depth - 1))
    right, right_level, second = draw(expressions(depth=depth - 1))
    level = 1 if kind == "and" else 0
    space = draw(st.sampled_from([" ", "  ", "\t"]))
    parts = [
        text if own >= level else f"({text})" for text, own in ((left, left_level), (right, right_level))
    ]
    text = f"{parts[0]}{space}{kind}{space}{parts[1]}"
    if kind == "and":
        return text, level, lambda true: first(true) and second(true)
    return text, level, lambda true: first(true) or second(true)


@given(expressions(), st.sets(st.sampled_from(WORDS)))
def test_any_expression_means_what_python_means(expression, true):
    """``or`` binds weaker than ``and``, that weaker than ``not``; parentheses group."""
    text, _, meaning = expression
    compiled = compile_expression(text)
    assert compiled.matches(lambda name, arguments: name in true) is meaning(true)
    assert compiled.names <= set(WORDS)


@given(st.text(alphabet="ab ()=,'\"not&\\r1", max_size=20))
def test_any_text_is_an_expression_or_a_usage_error(text):
    """No text makes the parser fail otherwise, and a column lies in the text or just behind it."""
    try:
        select(NODES, markexpr=text)
    except UsageError as error:
        column = int(str(error).rpartition(": at column ")[2].partition(":")[0])
        assert 1 <= column <= len(text.strip()) + 1
