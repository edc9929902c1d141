"""A bill held against rentals: every gap is found, to the cent, and the parts add up to the bill."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpd.audit.explain_bill import Audit, Part, in_cents, reconcile
from rpd.audit.groups import BY, grouped
from rpd.audit.rentals import Rental, User
from rpd.values.billing import HOUR, Billing, PodBill, VolumeBill

NOON = 1_764_331_200.0
"""A whole hour."""
LATER = NOON + 100 * HOUR


def rental(pod: str = "a", *, begin: float = 0.0, hours: float | None = 1.0, usd: float = 2.0, state: str = "deleted",
           run: str = "run1", users: Sequence[User] = (), rate: float = 2.0) -> Rental:  # fmt: skip
    """A rental that began ``begin`` hours after noon; with ``hours=None`` it has not ended."""
    began = NOON + begin * HOUR
    return Rental(
        pod_id=pod,
        pod_name=f"rpd-{run}-{pod}",
        run=run,
        node=f"deploy_a.py::fit[{pod}]",
        owner="anna@laptop",
        began=began,
        ended=None if hours is None else began + hours * HOUR,
        usd=0.0 if hours is None else usd,
        usd_per_hr=rate,
        final_state="" if hours is None else state,
        users=tuple(users),
    )


def line(pod: str = "a", hour: float = 0, gpu: float = 0.0, disk: float = 0.0) -> PodBill:
    return PodBill(pod_id=pod, start=NOON + hour * HOUR, compute_usd=gpu, disk_usd=disk)


def audit(
    lines: Sequence[PodBill], rentals: Sequence[Rental], *, now: float = LATER, **more: object
) -> Audit:
    bill = Billing(since=NOON - 24 * HOUR, until=LATER, pods=tuple(lines), **more)  # type: ignore[arg-type]
    return reconcile(bill, rentals, now=now)


def parts(found: Audit) -> dict[Part, float]:
    return {part: round(usd, 2) for part, usd in found.parts.items() if round(usd, 2)}


def test_a_pod_that_cost_what_its_run_thinks() -> None:
    found = audit([line(gpu=1.9, disk=0.1)], [rental()])
    assert parts(found) == {Part.AS_ESTIMATED: 2.0}
    assert found.is_explained


@pytest.mark.parametrize(
    ("lines", "rentals", "expected", "missing"),
    [
        pytest.param([line(gpu=2.37)], [rental()], {Part.AS_ESTIMATED: 2.0, Part.MORE: 0.37}, 0.0, id="more"),
        pytest.param([line(gpu=1.58)], [rental()], {Part.AS_ESTIMATED: 1.58}, 0.42, id="less"),
        pytest.param([], [rental()], {}, 2.0, id="nothing-billed"),
        pytest.param(
            [line(gpu=2.0), line(hour=1, disk=0.03), line(hour=30, disk=0.03)], [rental(state="stopped")],
            {Part.AS_ESTIMATED: 2.0, Part.STOPPED: 0.06}, 0.0, id="disk-of-a-stopped-pod",
        ),
        pytest.param(
            [line(gpu=1.0, disk=0.04)], [rental(hours=0.5, usd=1.0, state="stopped")],
            {Part.AS_ESTIMATED: 1.0, Part.STOPPED: 0.04}, 0.0, id="stopped-within-the-hour",
        ),
        pytest.param(
            [line(gpu=2.0), line(hour=1, gpu=2.0), line(hour=2, gpu=0.5)], [rental(state="running")],
            {Part.AS_ESTIMATED: 2.0, Part.KEPT: 2.5}, 0.0, id="kept",
        ),
        pytest.param(
            [line(gpu=2.0), line(hour=5, gpu=2.0)], [rental()],
            {Part.AS_ESTIMATED: 2.0, Part.AFTER: 2.0}, 0.0, id="billed-after-its-deletion",
        ),
        pytest.param(
            [line(gpu=2.0), line(hour=5, gpu=2.0)], [rental(state="stopped")],
            {Part.AS_ESTIMATED: 2.0, Part.AFTER: 2.0}, 0.0, id="a-stopped-pod-bills-its-gpu",
        ),
        pytest.param(
            [line(gpu=2.0), line(hour=1, disk=0.03), line(hour=2, gpu=4.0)],
            [rental(state="stopped"), rental(begin=2, usd=3.5, run="run2")],
            {Part.AS_ESTIMATED: 5.5, Part.MORE: 0.5, Part.STOPPED: 0.03}, 0.0, id="a-recycled-pod",
        ),
        pytest.param([line("x", gpu=0.99)], [rental()], {Part.UNKNOWN: 0.99}, 2.0, id="a-pod-of-nobody"),
        pytest.param(
            [line(hour=1, gpu=2.0), line(hour=2, gpu=1.0)], [rental(begin=1, hours=1.5, usd=3.0)],
            {Part.AS_ESTIMATED: 3.0}, 0.0, id="over-two-hours",
        ),
    ],
)  # fmt: skip
def test_every_gap_is_found_to_the_cent(
    lines: list[PodBill], rentals: list[Rental], expected: dict[Part, float], missing: float
) -> None:
    found = audit(lines, rentals)
    assert parts(found) == expected
    assert found.missing_usd == pytest.approx(missing)
    assert found.pending_usd == 0
    assert found.is_explained is not any(part in expected for part in (Part.MORE, Part.AFTER, Part.UNKNOWN))


def test_the_bill_may_be_late() -> None:
    """A shortfall of the last hours does not count yet, whether the pod is gone or still there."""
    gone = audit([line(gpu=0.4)], [rental(hours=0.5, usd=1.0)], now=NOON + 0.6 * HOUR)
    assert (gone.missing_usd, gone.pending_usd) == (0, pytest.approx(0.6))
    there = audit([line(gpu=2.0)], [rental(hours=None)], now=NOON + 1.25 * HOUR)
    assert (there.missing_usd, there.pending_usd) == (0, pytest.approx(0.5))
    later = audit([line(gpu=0.4)], [rental(hours=0.5, usd=1.0)], now=NOON + 3 * HOUR)
    assert (later.missing_usd, later.pending_usd) == (pytest.approx(0.6), 0)


def test_a_window_cuts_a_rental() -> None:
    """Of a pod that ran before the window, only the hours in it are compared."""
    found = audit([line(hour=-24, gpu=2.0)], [rental(begin=-26, hours=3, usd=6.0)])
    assert parts(found) == {Part.AS_ESTIMATED: 2.0}
    assert found.missing_usd == pytest.approx(0)


def test_volumes_and_other_products_have_parts_of_their_own() -> None:
    volumes = (
        VolumeBill(volume_id="v", start=NOON, usd=0.25),
        VolumeBill(volume_id="v", start=NOON + HOUR, usd=0.25),
    )
    found = audit([], [], volumes=volumes, others={"serverless": 1.5})
    assert parts(found) == {Part.VOLUMES: 0.5, Part.OTHERS: 1.5}
    assert [(each.volume_id, each.usd) for each in found.volumes] == [("v", 0.5)]


def test_the_bill_of_a_shared_pod_is_divided_among_its_users() -> None:
    users = [
        User(node="deploy_a.py::fit[1]", job="fit", author="Anna <a@b>", usd=0.5),
        User(node="deploy_a.py::score", job="score", usd=1.5),
    ]
    found = audit([line(gpu=4.0), line("x", hour=1, gpu=1.0)], [rental(users=users)])
    by_job = {group.name: (group.billed_usd, group.pods) for group in grouped(found, "job", {})}
    assert by_job == {"fit": (1.0, 1), "score": (3.0, 1), "(pods that no run here knows)": (1.0, 0)}
    assert {group.name for group in grouped(found, "owner", {"x": "ben@ci"})} == {"anna@laptop", "ben@ci"}
    assert {group.name for group in grouped(found, "author", {})} > {"(unknown)", "Anna <a@b>"}


AMOUNTS = st.floats(0, 50, allow_nan=False)
LINES = st.lists(
    st.builds(line, st.sampled_from("abcx"), st.integers(-24, 99), AMOUNTS, AMOUNTS), max_size=12
)
RENTALS = st.lists(
    st.builds(
        rental, st.sampled_from("abc"), begin=st.floats(-30, 90), hours=st.none() | st.floats(0, 20), usd=AMOUNTS,
        state=st.sampled_from(["deleted", "stopped", "running"]),
    ),
    max_size=8,
)  # fmt: skip


@given(lines=LINES, rentals=RENTALS, now=st.floats(90, 120))
def test_the_parts_are_the_whole_bill(lines: list[PodBill], rentals: list[Rental], now: float) -> None:
    """Whatever was billed and rented: no cent is lost, none counts twice, none is negative, in any grouping."""
    found = audit(lines, rentals, now=NOON + now * HOUR)
    billed = sum(each.usd for each in lines)
    assert found.billed_usd == pytest.approx(billed)
    assert all(usd >= 0 for usd in found.parts.values())
    assert found.missing_usd >= 0
    assert found.pending_usd >= 0
    assert sum(in_cents(list(found.parts.values()), found.billed_usd)) == round(found.billed_usd * 100)
    for by in BY:
        assert sum(group.billed_usd for group in grouped(found, by, {})) == pytest.approx(billed)
