"""The arguments of a create."""

from __future__ import annotations

import inspect

import pytest
from graphql import parse
from hypothesis import given
from hypothesis import strategies as st

from rpd.errors import RequestRejected
from rpd.runpod.graphql.create_arguments import create_arguments, create_mutation
from rpd.values.job import SshSource, Storage
from tests.runpod.conftest import spec

TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc")) | st.sampled_from('\n"\\{}#'))


pytestmark = pytest.mark.usefixtures("the_sdk")


def test_the_sdk_takes_every_argument() -> None:
    """No argument is one the installed SDK does not have, and none it has is left to its default by mistake."""
    import runpod

    known = set(inspect.signature(runpod.create_pod).parameters)
    sent = set(create_arguments(spec()))
    assert sent <= known
    assert known - sent == {"min_download", "min_upload", "instance_id"}


@given(st.dictionaries(st.from_regex(r"[A-Z_][A-Z0-9_]*", fullmatch=True), TEXT), st.none() | TEXT)
def test_any_environment_and_command_make_one_valid_mutation(
    env: dict[str, str], command: str | None
) -> None:
    """Quotes, backslashes, braces and lines in values leave the document whole, by the SDK and for spot pods."""
    from runpod.api.mutations.pods import generate_pod_deployment_mutation

    asked = spec(env=env, docker_args=command, ssh=SshSource.IMAGE)
    arguments = create_arguments(asked)
    by_sdk = generate_pod_deployment_mutation(**{**arguments, "country_code": None})
    for document in (by_sdk, create_mutation(asked)[0]):
        [operation] = parse(document).definitions
        assert operation.kind == "operation_definition"


def test_a_network_volume_excludes_a_volume() -> None:
    """With a network volume no volume of the pod is asked for."""
    arguments = create_arguments(spec(storage=Storage(network_volume="w")), network_volume_id="v1")
    assert (arguments["volume_in_gb"], arguments["network_volume_id"]) == (0, "v1")


def test_port_22_is_there_once() -> None:
    """SSH needs its port whatever the job opens, and a job that names it does not get it twice."""
    assert create_arguments(spec(ports=("8888/http", "22/tcp")))["ports"] == "22/tcp,8888/http"


def test_a_bid_is_per_gpu_and_needs_a_price() -> None:
    """The offer's rate is for the pod; without one there is nothing to bid."""
    asked = spec(spot=True)
    assert "bidPerGpu: 0.4900 " in create_mutation(asked)[0]
    with pytest.raises(RequestRejected, match="price to bid"):
        create_mutation(spec(spot=True, usd=None))
    with pytest.raises(RequestRejected, match="CPU pods cannot be spot"):
        create_mutation(spec(gpu_id=None, spot=True))
