"""An account on which GraphQL answers 410 from the first request on: all that rpd asks of RunPod goes over REST v2."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rpd.emulator.launch import Launched, launch
from rpd.errors import ImpossibleRequest, TransientError
from rpd.pipeline.whole_account import WholeAccount
from rpd.runpod.rate_limit import Retry, TokenBucket
from rpd.runpod.reconcile import Patience
from rpd.runpod.switch import Lifecycle, SwitchingProvider
from rpd.testing import RpdRun
from rpd.values.job import Gpu, Tier
from rpd.values.pod import PodRequest, PodSpec, PodStatus
from tests.waiting import wait_until

L4 = PodRequest(image="a", gpu=Gpu("NVIDIA L4"))
Make = Callable[..., SwitchingProvider]


@pytest.fixture(scope="module")
def account() -> Iterator[Launched]:
    with launch(boot_seconds=0.0, isolation="plain") as launched:
        launched.inject({"kind": "gone", "match": {"face": "graphql"}})
        yield launched


@pytest.fixture
def make(account: Launched) -> Iterator[Make]:
    made: list[SwitchingProvider] = []

    def make(lifecycle: Lifecycle, said: list[str], url: str | None = None) -> SwitchingProvider:
        bucket = TokenBucket(rate=1000, burst=1000, sleep=lambda _: None)
        provider = SwitchingProvider(
            account.api_key,
            lifecycle=lifecycle,
            notify=said.append,
            retry=Retry(first_wait=0.01),
            patience=Patience(lost=(0.0, 0.02)),
            bucket=bucket,
            url=url or account.base_url,
        )
        made.append(provider)
        return provider

    yield make
    for provider in made:
        provider.close()


@pytest.mark.parametrize(
    "lifecycle", ["sdk", *(pytest.param(name, marks=pytest.mark.exhaustive) for name in ("rest", "auto"))]
)
def test_all_that_is_asked_of_runpod(lifecycle: Lifecycle, make: Make, account: Launched) -> None:
    """From the key to the bill; the losses (spot, the balance) are reported once."""
    said: list[str] = []
    provider = make(lifecycle, said)
    assert provider.account().balance_usd is None
    assert provider.catalogue().gpus["NVIDIA L4"].secure_usd_per_hr == 0.49
    assert provider.may_rent() is True
    spec = PodSpec(name="rpd-a", request=L4, offer=provider.offers(L4)[0], env={"PUBLIC_KEY": "k"})
    with pytest.raises(ImpossibleRequest, match="no spot pods"):
        provider.offers(PodRequest(image="a", gpu=L4.gpu, spot=True))
    pod = provider.create(spec)
    account.inject(
        {"kind": "reset", "when": "after", "times": 1, "match": {"operation": "create", "face": "rest"}}
    )
    lost = provider.create(PodSpec(name="rpd-b", request=L4, offer=spec.offer, env={"PUBLIC_KEY": "k"}))
    assert {each.id for each in WholeAccount(provider).list()} == {pod.id, lost.id}
    provider.stop(pod.id)
    assert (seen := provider.get(pod.id)) is not None
    assert seen.status is PodStatus.EXITED
    provider.resume(pod.id, 1)
    assert provider.logs(pod.id)
    assert isinstance(provider.output(pod.id), tuple)
    assert provider.owners() == {}
    for each in (pod, lost):
        provider.delete(each.id)
        assert provider.get(each.id) is None
    volume = provider.add_volume("data", 10, "EU-RO-1", Tier.HIGH_PERFORMANCE)
    assert [each.tier for each in provider.volumes() or ()] == [Tier.HIGH_PERFORMANCE]
    provider.remove_volume(volume.id)
    auth = provider.add_registry("r", "me", "word")
    assert [each.id for each in provider.registries()] == [auth]
    provider.remove_registry(auth)
    assert "EU-RO-1" in provider.datacenters()
    assert provider.billing(0, 1) is not None
    assert provider.quotas()
    [sentence] = said
    assert "no spot pods and does not report the balance" in sentence


def test_auto_takes_what_answers(make: Make, account: Launched) -> None:
    """GraphQL where it is there, REST v2 where GraphQL is retired or does not answer, and neither is an error."""
    said: list[str] = []
    assert make("auto", said).list() == ()
    assert "has retired this API" in said[0]
    account.clear_faults()
    try:
        assert make("auto", said).account().balance_usd is not None
        account.inject({"kind": "server-error", "match": {"face": "graphql"}})
        assert make("auto", said).list() == ()
        assert len(said) == 2
        assert "temporary RunPod error" in said[1]
        with pytest.raises(TransientError, match="cannot be reached"):
            make("auto", said, "http://127.0.0.1:1").list()
    finally:
        account.clear_faults()
        account.inject({"kind": "gone", "match": {"face": "graphql"}})


DEPLOY = """
import rpd

@rpd.job(gpu=rpd.Gpu("NVIDIA L4"), lifecycle=rpd.Lifecycle(on_success="preserve"))
def keep(pod):
    pod.run("true")
"""


def test_every_command(clean_emulator: Launched, rpd_run: RpdRun, tmp_path: Path) -> None:
    """A run, and the commands for its pod: each reports at most once what is lost, and none needs GraphQL."""
    clean_emulator.inject({"kind": "gone", "match": {"face": "graphql"}})
    (tmp_path / "rpd.toml").write_text('lifecycle = "auto"\n')
    (tmp_path / "deploy_a.py").write_text(DEPLOY)
    run = rpd_run(tmp_path)
    assert run.exit_code == 0, run.out + run.err
    [report] = run.reports
    assert report.pod is not None
    expected = {
        ("ps",): f"{report.pod.id}  keep",
        ("gpus", "L4"): "NVIDIA L4",
        ("estimate",): "deploy_a.py::keep",
        ("doctor", "--skip", "image"): "ok    pods",
        ("gc",): "kept on purpose",
        ("stop", "keep"): "deleted",
    }
    for (name, *words), text in expected.items():
        result = rpd_run(tmp_path, *words, command=name)
        assert result.exit_code == 0, (name, result.out, result.err)
        assert text in result.out, (name, result.out)
        assert (result.out + result.err).count("continues with REST v2") <= 1
    wait_until(lambda: clean_emulator.pods() == [], "the end of the pod")
