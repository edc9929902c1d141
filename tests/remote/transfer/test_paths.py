"""Names that come from a pod."""

import pytest

from rpd.errors import TransferError
from rpd.remote.transfer.paths import check_names


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", ".."])
def test_names_that_lead_out_are_refused(name: str) -> None:
    """A pod cannot name a file outside the folder it is pulled into."""
    with pytest.raises(TransferError, match="cannot be stored here"):
        check_names([name])
