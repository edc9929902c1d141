"""Columns on screens of any width: numbers stay whole, and texts keep their distinguishing parts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rpd.values.columns import Column, cells, cut_middle, fitted, lines

IDS = tuple(f"experiments/deploy_x.py::finetune[deberta-v3-large-seed{seed}]" for seed in (41, 42, 43))


def test_what_all_texts_begin_with_is_cut_first() -> None:
    """Of ids that differ at their ends, the ends are left."""
    [column], dropped = fitted([Column(title="NODE", cells=IDS, least=10)], 30)
    assert dropped == []
    assert [len(text) for text in column.cells] == [30, 30, 30]
    assert column.cells[1] == "…tune[deberta-v3-large-seed42]"


def test_numbers_are_left_out_but_never_cut() -> None:
    """A column goes whole, in the order of ranks; columns that say little go before any text is cut."""
    columns = [
        Column(title="same", cells=("x" * 10,) * 3, least=4, rank=1, says_little=True),
        Column(title="NODE", cells=IDS, least=12),
        Column(title="loss", cells=("0.125", "0.25", "12345678"), right=True, rank=1),
        Column(title="$", cells=("1.00", "2.00", "3.00"), right=True),
    ]
    kept, dropped = fitted(columns, 85)
    assert dropped == ["same"]
    assert kept[0].cells == IDS
    kept, dropped = fitted(columns, 40)
    assert dropped == ["same"]
    assert kept[1].cells[2] == "12345678"
    kept, dropped = fitted(columns, 20)
    assert dropped == ["same", "loss"]
    assert all(cells(line) <= 20 for line in lines(kept))


@given(st.lists(st.text("ab日é", max_size=20), min_size=1, max_size=5), st.integers(6, 40))
def test_no_line_is_wider_than_the_screen(texts: list[str], width: int) -> None:
    """Wide characters count as two; every row and the titles fit."""
    columns = [
        Column(title="T", cells=tuple(texts), least=3),
        Column(title="U", cells=tuple(texts), least=1, rank=1),
    ]
    kept, _ = fitted(columns, width)
    assert all(cells(line) <= width for line in lines(kept))


@given(st.text("ab日é", max_size=20), st.integers(1, 20))
def test_a_cut_text_fits(text: str, width: int) -> None:
    """It is whole where it fits, and else begins and ends as it did."""
    cut = cut_middle(text, width)
    assert cells(cut) <= width
    begin, dots, end = cut.partition("…")
    assert cut == text if not dots else text.startswith(begin) and text.endswith(end)


def test_a_table_is_measured_once() -> None:
    """Thousands of rows are looked at a fixed number of times: a column is not measured for each of its cells."""
    looks = 0

    class Watched(str):
        def isascii(self) -> bool:
            nonlocal looks
            looks += 1
            return True

    def count(rows: int) -> int:
        nonlocal looks
        looks = 0
        columns = [
            Column(title=Watched(str(n)), cells=tuple(Watched("x" * 9) for _ in range(rows)), least=4)
            for n in range(6)
        ]
        kept, _ = fitted(columns, 50)
        list(lines(kept))
        return looks

    assert count(200) < 2.5 * count(100)
