"""The pods that a function rents, read from its source: what can be read, and what cannot be known beforehand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from rpd.errors import DefinitionError
from rpd.execute.rental_calls import Argument, Rental, Unforeseen, as_gpu, job_of, rentals
from rpd.values.job import Gpu, Job
from tests.nodes import definition

SERVER = Job(image="server")


def plain(provision: Any) -> None:
    with provision():
        pass


def two(provision: Any, gpu: Any) -> None:
    with provision(SERVER, spot=True), provision(gpu=gpu):
        pass


def made(provision: Any) -> None:
    with provision(gpu=Gpu("NVIDIA L4", count=2)):
        pass


def in_a_loop(provision: Any) -> None:
    for _ in range(3):
        provision()


def computed(provision: Any) -> None:
    gpu = "NVIDIA" + " L4"
    provision(gpu=gpu)


def spread(provision: Any) -> None:
    provision(**{"spot": True})  # noqa: PIE804


def handed_on(provision: Any) -> None:
    print(provision)


def asks(request: Any) -> None:
    request.getfixturevalue("provision")


def read(function: Callable[..., Any]) -> list[tuple[object, Mapping[str, object]]]:
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    return [(each.job, each.changes) for each in rentals(definition(function=function, argnames=names))]


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (plain, [(None, {})]),
        (two, [(SERVER, {"spot": True}), (None, {"gpu": Argument("gpu")})]),
        (made, [(None, {"gpu": Gpu("NVIDIA L4", count=2)})]),
    ],
)
def test_calls_that_can_be_read(
    function: Callable[..., Any], expected: list[tuple[object, Mapping[str, object]]]
) -> None:
    assert read(function) == expected


@pytest.mark.parametrize("function", [in_a_loop, computed, spread, handed_on, asks])
def test_calls_that_are_decided_while_they_run(function: Callable[..., Any]) -> None:
    """The price of such a node is unknown beforehand, which is said; a guess would be too low."""
    with pytest.raises(Unforeseen, match=r"deploy_x\.py:1"):
        read(function)


def test_the_job_of_a_rental_has_the_values_that_its_arguments_will_have() -> None:
    own = Job(image="own")
    rental = Rental(holder=None, changes={"gpu": Argument("gpu"), "spot": True})
    job = job_of(rental, own, {"gpu": "NVIDIA L4"}.__getitem__)
    assert (job.image, job.gpu, job.spot) == ("own", Gpu("NVIDIA L4"), True)
    other = Rental(holder=None, job=Argument("server"))
    assert job_of(other, own, {"server": SERVER}.__getitem__) == SERVER
    with pytest.raises(Unforeseen, match="not a job"):
        job_of(other, own, lambda _: "server")
    with pytest.raises(DefinitionError):
        job_of(Rental(holder=None, changes={"gppu": 1}), own, lambda _: None)


def test_what_means_a_gpu() -> None:
    assert (as_gpu(None), as_gpu("NVIDIA L4"), as_gpu(Gpu("NVIDIA L4"))) == (
        None,
        Gpu("NVIDIA L4"),
        Gpu("NVIDIA L4"),
    )
    with pytest.raises(Unforeseen):
        as_gpu(4)
