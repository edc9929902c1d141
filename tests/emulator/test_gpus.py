"""The table of GPU types of the emulator."""

from rpd.emulator.gpus import GPU_TYPES
from rpd.values.frozen import field_names
from rpd.values.gpus import KNOWN_GPU_TYPES


def test_the_emulator_rents_what_rpd_knows() -> None:
    """The emulator has every GPU type that rpd knows a price of, with the same memory, prices and limits."""
    rented = {
        row.id: {name: getattr(row, name) for name in field_names(type(row))}
        for row in KNOWN_GPU_TYPES.values()
        if row.secure_usd_per_hr is not None or row.community_usd_per_hr is not None
    }
    assert {
        row.id: {name: getattr(row, name) for name in rented[row.id]} for row in GPU_TYPES.values()
    } == rented
