"""TOML text is that of tomli_w, whatever a document holds."""

import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from rpd.record import toml_text

TEXT = st.text(max_size=4) | st.text('a-_."\\\n\t\x7f é', max_size=4)
VALUES = st.recursive(
    st.one_of(st.booleans(), st.integers(), st.floats(), TEXT, st.dates()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(TEXT, VALUES, max_size=4))
def test_the_text_is_that_of_tomli_w(document: dict[str, object]) -> None:
    """Also where a table has lists of tables in it, keys need quotes, or texts need escapes."""
    assert toml_text.dumps(document) == tomli_w.dumps(document)
