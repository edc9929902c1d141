"""Resolvers: which function answers which field of the schema."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from rpd.emulator import catalogue, orders, views
from rpd.emulator.account import Account
from rpd.emulator.gpus import GpuType
from rpd.emulator.model import Template, new_id
from rpd.emulator.orders import Input
from rpd.emulator.refusals import HICCUP, Refusal
from rpd.emulator.stock import places
from rpd.emulator.views import View

Resolver = Callable[..., Any]


def _from_input(function: Callable[[Input], Any]) -> Resolver:
    """Return a resolver that hands its ``input`` to ``function``."""
    return lambda _source, _info, **arguments: function(arguments.get("input") or {})


def _nested(function: Callable[[View, Input], Any]) -> Resolver:
    """Return a resolver that hands the view it is a field of, and its ``input``, to ``function``."""
    return lambda source, _info, **arguments: function(source, arguments.get("input") or {})


class Resolvers:
    """The functions behind the schema.

    ``when_volume_deleted`` is called with the id of a network volume whose files may be deleted.
    """

    def __init__(
        self, account: Account, clock: Callable[[], float], when_volume_deleted: Callable[[str], None]
    ) -> None:
        self._account = account
        self._clock = clock
        self._when_volume_deleted = when_volume_deleted

    def table(self) -> dict[str, dict[str, Resolver]]:
        """Return type name -> field name -> resolver."""
        return {
            "Query": {**self._queries(), "myself": self._myself},
            "Mutation": {**self._pod_mutations(), **self._account_mutations()},
            "GpuType": {"lowestPrice": _nested(self._lowest_price)},
            "DataCenter": {"gpuAvailability": _nested(self._gpu_availability)},
            "CpuFlavor": {"specifics": _nested(_specifics)},
            "User": {"pod": _nested(lambda _, fields: self._pod_or_none(fields))},
        }

    def _queries(self) -> dict[str, Resolver]:
        return {
            "pod": _from_input(self._pod_or_none),
            "gpuTypes": _from_input(self._gpu_types),
            "dataCenters": _from_input(
                lambda _: list(map(views.data_center, catalogue.DATA_CENTERS.values()))
            ),
            "countryCodes": _from_input(lambda _: [*catalogue.COMMUNITY_COUNTRIES, None]),
            "cpuFlavors": _from_input(_cpu_flavors),
            "cpuTypes": _from_input(lambda _: []),
        }

    def _pod_mutations(self) -> dict[str, Resolver]:
        account = self._account
        actions: dict[str, Callable[[Input], Any]] = {
            "podFindAndDeployOnDemand": lambda fields: account.create(orders.gpu_order(fields)),
            "podRentInterruptable": lambda fields: account.create(orders.gpu_order(fields)),
            "deployCpuPod": lambda fields: account.create(orders.cpu_order(fields)),
            "podStop": lambda fields: account.stop(fields["podId"]),
            "podResume": lambda fields: account.resume(fields["podId"], count=fields.get("gpuCount")),
            "podBidResume": lambda fields: account.resume(fields["podId"], count=fields.get("gpuCount")),
            "podResumeZeroGpu": lambda fields: account.resume(fields["podId"], zero_gpu=True),
            "podReset": lambda fields: account.reset(fields["podId"]),
            "podEditJob": lambda fields: account.reset(fields["podId"], orders.changes(fields)),
        }
        return {
            **{name: _from_input(self._showing(action)) for name, action in actions.items()},
            "podTerminate": _from_input(lambda fields: account.terminate(fields["podId"])),
        }

    def _showing(self, action: Callable[[Input], Any]) -> Callable[[Input], View]:
        """Return ``action`` with the pod it answers as a view."""
        return lambda fields: views.pod(action(fields), self._clock())

    def _account_mutations(self) -> dict[str, Resolver]:
        account = self._account
        return {
            "updateUserSettings": _from_input(self._update_user),
            "createNetworkVolume": _from_input(
                lambda fields: views.volume(
                    account.create_volume(fields["name"], fields["size"], fields["dataCenterId"])
                )
            ),
            "updateNetworkVolume": _from_input(
                lambda fields: views.volume(
                    account.update_volume(fields["id"], fields.get("name"), fields.get("size"))
                )
            ),
            "deleteNetworkVolume": _from_input(self._delete_volume),
            "saveTemplate": _from_input(self._save_template),
            "deleteTemplate": lambda _source, _info, **arguments: self._delete_template(**arguments),
            "saveRegistryAuth": _from_input(
                lambda fields: views.registry(
                    account.add_registry(fields["name"], fields["username"], fields["password"])
                )
            ),
            "deleteRegistryAuth": lambda _source, _info, **arguments: account.delete_registry(
                arguments.get("registryAuthId") or ""
            ),
            "secretCreate": _from_input(self._create_secret),
            "secretDelete": lambda _source, _info, **arguments: self._delete_secret(arguments["id"]),
        }

    # --- the account ------------------------------------------------------------------------------------------------

    def _myself(self, _source: Any, info: Any) -> View | None:
        """Return the user; null, not an error, for a call without a key, as on the real platform."""
        return None if info.context.anonymous else views.user(self._account, self._clock())

    def _pod_or_none(self, fields: Input) -> View | None:
        pod = self._account.pods.get(fields.get("podId") or "")
        return None if pod is None else views.pod(pod, self._clock())

    def _delete_volume(self, fields: Input) -> None:
        self._account.delete_volume(fields["id"])
        self._when_volume_deleted(fields["id"])

    def _update_user(self, fields: Input) -> View:
        self._account.pub_key = fields.get("pubKey") or ""
        return views.user(self._account, self._clock())

    def _create_secret(self, fields: Input) -> View:
        self._account.secrets[fields["name"]] = fields["value"]
        return {"id": fields["name"], "name": fields["name"]}

    def _delete_secret(self, name: str) -> None:
        self._account.secrets.pop(name, None)

    def _save_template(self, fields: Input) -> View:
        present = self._account.templates.get(fields.get("id") or "")
        base = present or Template(id=new_id(10), name="", image="")
        changes: dict[str, Any] = {
            "name": fields.get("name"),
            "image": fields.get("imageName"),
            "docker_args": fields.get("dockerArgs"),
            "container_disk_gb": fields.get("containerDiskInGb"),
            "volume_gb": fields.get("volumeInGb"),
            "mount": fields.get("volumeMountPath"),
            "ports": fields.get("ports"),
            "env": orders.variables(fields.get("env")),
        }
        template = replace(base, **{key: value for key, value in changes.items() if value is not None})
        self._account.templates[template.id] = template
        return views.template(template)

    def _delete_template(self, **arguments: Any) -> None:
        for template in tuple(self._account.templates.values()):
            if template.name == arguments.get("templateName"):
                del self._account.templates[template.id]

    # --- the catalogue ----------------------------------------------------------------------------------------------

    def _gpu_types(self, fields: Input) -> list[View]:
        ids = fields.get("ids") or ([fields["id"]] if fields.get("id") else None)
        secure = places("secure")
        rows = catalogue.gpu_types().values()
        return [views.gpu_type(row, secure) for row in rows if ids is None or row.id in ids]

    def _lowest_price(self, gpu: View, fields: Input) -> View:
        """Return the price for the whole ``gpuCount``; on a sold-out row the object is there and its fields null."""
        count, secure = fields.get("gpuCount"), fields.get("secureCloud")
        if not count:
            raise Refusal(HICCUP, "INTERNAL_SERVER_ERROR")
        clouds = ("secure", "community") if secure is None else ("secure",) if secure else ("community",)
        places = fields["dataCenterId"].split(",") if fields.get("dataCenterId") else None
        prices = (
            views.lowest_price(gpu["row"], cloud, count, self._most_free(gpu["row"], cloud, places))
            for cloud in clouds
        )
        return next((view for view in prices if view is not None), {})

    def _most_free(self, gpu: GpuType, cloud: str, asked: list[str] | None) -> int:
        """Return the free GPUs where most of them are."""
        in_cloud = places(cloud)
        chosen = in_cloud if asked is None else [place for place in asked if place in in_cloud]
        return max((self._account.stock.free(gpu.id, place, cloud) for place in chosen), default=0)

    def _gpu_availability(self, place: View, fields: Input) -> list[View]:
        count = fields.get("gpuCount") or 1
        open_here = place["listed"] and fields.get("secureCloud") is not False
        return [
            self._availability(place, gpu, count if open_here else 0)
            for gpu in catalogue.gpu_types().values()
        ]

    def _availability(self, place: View, gpu: GpuType, count: int) -> View:
        rented = gpu.secure_usd_per_hr is not None and 1 <= count <= gpu.max_count_secure
        free = self._account.stock.free(gpu.id, place["id"], "secure") if rented else 0
        word, name = catalogue.stock_word(free, count), catalogue.display_name(gpu.id)
        return {
            "id": f"{place['id']}-{gpu.id}",
            "gpuTypeId": gpu.id,
            "displayName": name,
            "gpuTypeDisplayName": name,
            "available": word is not None,
            "stockStatus": word,
            "gpuType": lambda _: views.gpu_type(gpu, places("secure")),
        }


def _cpu_flavors(fields: Input) -> list[View]:
    rows = catalogue.CPU_FLAVORS.values()
    return [views.cpu_flavor(row) for row in rows if fields.get("id") in (None, row.id)]


def _specifics(flavor: View, fields: Input) -> View:
    """Return stock and price of a flavour: of the smallest instance unless one is named."""
    row: catalogue.CpuFlavor = flavor["row"]
    words = (fields.get("instanceId") or "").split("-")
    vcpu = int(words[1]) if len(words) == 3 and words[1].isdigit() else row.min_vcpu
    return {"stockStatus": "High", "securePrice": round(vcpu * row.usd_per_vcpu_hr, 4)}
