"""Mistakes that a type checker must refuse, each line with the code of its error."""

from __future__ import annotations

import rpd
from rpd import Budget, Gpu, Lifecycle, Secret, Storage

rpd.joob  # E: attr-defined
rpd.Pdo  # E: attr-defined
rpd.job(image=3)  # E: call-overload
rpd.job(gppu=None)  # E: call-overload
rpd.job(gpu="NVIDIA L4")  # E: call-overload
rpd.job(cloud="private")  # E: call-overload
rpd.job(secrets=[1])  # E: list-item
train = rpd.job()
train(budget=5)  # E: call-overload
train.derive(spott=True)  # E: call-arg
train.image = "x"  # E: misc
train.immage  # E: attr-defined
rpd.Job(mount=1)  # E: arg-type
Gpu("NVIDIA L4", count="2")  # E: arg-type
Gpu(80)  # E: arg-type
Gpu("NVIDIA L4", prefer="fastest")  # E: arg-type
Budget(cost_cap="5")  # E: call-arg
Lifecycle(on_success="keep")  # E: arg-type
Storage(volume_gb="20")  # E: arg-type
Secret(name=None)  # E: arg-type
rpd.mark.parametrize("seed")  # E: call-arg
rpd.mark.parametrize("seed", 3)  # E: arg-type
rpd.mark.retry(infra="often")  # E: arg-type
rpd.mark.retry(infraa=1)  # E: call-arg
rpd.mark.timeout(jobb=1)  # E: call-arg
rpd.mark.gpu(min_vram_gb="24")  # E: call-overload
rpd.mark.xfail(raise_=ValueError)  # E: call-overload
rpd.fixture(scope=3)  # E: call-overload


@rpd.job
def train_it(pod: rpd.Pod) -> None:
    pod.run(["python", "train.py"])  # E: arg-type
    pod.run("true", cdw="/")  # E: call-arg
    pod.rnu("true")  # E: attr-defined
    pod.run("true").exit_cod  # E: attr-defined


def rpd_node_report(report: rpd.NodeReport) -> None:
    report.result.outcom  # E: attr-defined


def wrong_skip() -> None:
    rpd.skip()  # E: call-arg


def program() -> None:
    rpd.run("sweeps/", widht=3)  # E: call-overload
    rpd.run("sweeps/", local="yes")  # E: call-overload
    rpd.run(3)  # E: call-overload
    rpd.start("sweeps/", maxfail_action="stop")  # E: call-overload
    rpd.nodes("sweeps/", cost_cap_usd=2)  # E: call-overload
    rpd.forecast("sweeps/", width=2)  # E: call-overload
    rpd.prices(cuont=2)  # E: call-arg
    rpd.run("sweeps/").exit_cod  # E: attr-defined
    rpd.start("sweeps/").stop("now")  # E: arg-type
    rpd.reports(outcome=3)  # E: arg-type
    rpd.runs(locl=True)  # E: call-arg
    rpd.reports()[0].result.outcom  # E: attr-defined
    rpd.verify("20260101")  # E: arg-type
    rpd.pods()[0].relase()  # E: attr-defined
