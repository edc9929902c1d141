"""Overrides: flags of a run that take precedence over its jobs."""

from __future__ import annotations

from rpd.values.frozen import frozen, replace
from rpd.values.job import Budget, CloudChoice, Gpu, Job
from rpd.values.pod import PodRequest


@frozen
class Overrides:
    """Flags that overrule every job of a run; None leaves the job's own value. Money in USD, times in seconds."""

    cost_cap_usd: float | None = None
    max_runtime_seconds: float | None = None
    ssh_ready_seconds: float | None = None
    gpu_id: str | None = None
    datacenter_id: str | None = None
    max_gpu_price: float | None = None
    cloud: str | None = None
    fallback_cloud: str | None = None

    def budget(self, budget: Budget) -> Budget:
        """Return the budget of a job under these flags."""
        if not (self.cost_cap_usd or self.max_runtime_seconds or self.ssh_ready_seconds):
            return budget
        return replace(
            budget,
            cost_cap_usd=self.cost_cap_usd or budget.cost_cap_usd,
            max_runtime=self.max_runtime_seconds or budget.max_runtime,
            ssh_ready_timeout=self.ssh_ready_seconds or budget.ssh_ready_timeout,
        )

    def request(self, job: Job, gpu: Gpu | None) -> PodRequest:
        """Return the pod a job asks for, with ``gpu`` as the fixture of that name gave it, under these flags."""
        if gpu is not None and self.gpu_id:
            gpu = Gpu(self.gpu_id, count=gpu.count, max_price_usd=gpu.max_price_usd)
        if gpu is not None and self.max_gpu_price:
            gpu = _with_ceiling(gpu, min(self.max_gpu_price, gpu.max_price_usd or self.max_gpu_price))
        return PodRequest(
            image=job.image,
            gpu=gpu,
            cluster=job.cluster,
            storage=job.storage,
            mount=job.mount,
            datacenters=(self.datacenter_id,) if self.datacenter_id else job.datacenters,
            cloud=CloudChoice(self.cloud) if self.cloud else job.cloud,
            fallback_cloud=CloudChoice(self.fallback_cloud) if self.fallback_cloud else None,
            spot=job.spot,
            container_disk_gb=job.container_disk_gb,
            cpu=job.cpu,
            min_vcpu=job.min_vcpu,
            min_memory_gb=job.min_memory_gb,
            cuda=job.cuda,
            min_cuda=job.min_cuda,
            countries=job.countries,
            compliance=job.compliance,
            global_network=job.global_network,
            ports=job.ports,
            env=job.env,
            docker_args=job.docker_args,
            registry=job.registry,
            ssh=job.ssh,
            template_id=job.template_id,
        )


def _with_ceiling(gpu: Gpu, usd: float) -> Gpu:
    return Gpu(*gpu.ids, count=gpu.count, min_vram_gb=gpu.min_vram_gb, max_price_usd=usd, prefer=gpu.prefer)
