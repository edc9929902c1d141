"""Resolvers: which function answers which field of the schema."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from rpd.emulator import catalogue, orders, views
from rpd.emulator.account import Account
from rpd.emulator.gpus import GpuType
from rpd.emulator.model import Template, new_id
from rpd.emulator.orders import Given
from rpd.emulator.refusals import HICCUP, Refusal
from rpd.emulator.stock import places
from rpd.emulator.views import View

Resolver = Callable[..., Any]


def _given(function: Callable[[Given], Any]) -> Resolver:
    """Return a resolver that hands its ``input`` to ``function``."""
    return lambda _source, _info, **arguments: function(arguments.get("input") or {})


def _nested(function: Callable[[View, Given], Any]) -> Resolver:
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
            "User": {"pod": _nested(lambda _, given: self._pod_or_none(given))},
        }

    def _queries(self) -> dict[str, Resolver]:
        return {
            "pod": _given(self._pod_or_none),
            "gpuTypes": _given(self._gpu_types),
            "dataCenters": _given(lambda _: list(map(views.data_center, catalogue.DATA_CENTERS.values()))),
            "countryCodes": _given(lambda _: [*catalogue.COMMUNITY_COUNTRIES, None]),
            "cpuFlavors": _given(_cpu_flavors),
            "cpuTypes": _given(lambda _: []),
        }

    def _pod_mutations(self) -> dict[str, Resolver]:
        account = self._account
        actions: dict[str, Callable[[Given], Any]] = {
            "podFindAndDeployOnDemand": lambda given: account.create(orders.gpu_order(given)),
            "podRentInterruptable": lambda given: account.create(orders.gpu_order(given)),
            "deployCpuPod": lambda given: account.create(orders.cpu_order(given)),
            "podStop": lambda given: account.stop(given["podId"]),
            "podResume": lambda given: account.resume(given["podId"], count=given.get("gpuCount")),
            "podBidResume": lambda given: account.resume(given["podId"], count=given.get("gpuCount")),
            "podResumeZeroGpu": lambda given: account.resume(given["podId"], zero_gpu=True),
            "podReset": lambda given: account.reset(given["podId"]),
            "podEditJob": lambda given: account.reset(given["podId"], orders.changes(given)),
        }
        return {
            **{name: _given(self._showing(action)) for name, action in actions.items()},
            "podTerminate": _given(lambda given: account.terminate(given["podId"])),
        }

    def _showing(self, action: Callable[[Given], Any]) -> Callable[[Given], View]:
        """Return ``action`` with the pod it answers as a view."""
        return lambda given: views.pod(action(given), self._clock())

    def _account_mutations(self) -> dict[str, Resolver]:
        account = self._account
        return {
            "updateUserSettings": _given(self._update_user),
            "createNetworkVolume": _given(
                lambda given: views.volume(
                    account.create_volume(given["name"], given["size"], given["dataCenterId"])
                )
            ),
            "updateNetworkVolume": _given(
                lambda given: views.volume(
                    account.update_volume(given["id"], given.get("name"), given.get("size"))
                )
            ),
            "deleteNetworkVolume": _given(self._delete_volume),
            "saveTemplate": _given(self._save_template),
            "deleteTemplate": lambda _source, _info, **arguments: self._delete_template(**arguments),
            "saveRegistryAuth": _given(
                lambda given: views.registry(
                    account.add_registry(given["name"], given["username"], given["password"])
                )
            ),
            "deleteRegistryAuth": lambda _source, _info, **arguments: account.delete_registry(
                arguments.get("registryAuthId") or ""
            ),
            "secretCreate": _given(self._create_secret),
            "secretDelete": lambda _source, _info, **arguments: self._delete_secret(arguments["id"]),
        }

    # --- the account ------------------------------------------------------------------------------------------------

    def _myself(self, _source: Any, info: Any) -> View | None:
        """Return the user; null, not an error, for a call without a key, as on the real platform."""
        return None if info.context.anonymous else views.user(self._account, self._clock())

    def _pod_or_none(self, given: Given) -> View | None:
        pod = self._account.pods.get(given.get("podId") or "")
        return None if pod is None else views.pod(pod, self._clock())

    def _delete_volume(self, given: Given) -> None:
        self._account.delete_volume(given["id"])
        self._when_volume_deleted(given["id"])

    def _update_user(self, given: Given) -> View:
        self._account.pub_key = given.get("pubKey") or ""
        return views.user(self._account, self._clock())

    def _create_secret(self, given: Given) -> View:
        self._account.secrets[given["name"]] = given["value"]
        return {"id": given["name"], "name": given["name"]}

    def _delete_secret(self, name: str) -> None:
        self._account.secrets.pop(name, None)

    def _save_template(self, given: Given) -> View:
        present = self._account.templates.get(given.get("id") or "")
        base = present or Template(id=new_id(10), name="", image="")
        fields: dict[str, Any] = {
            "name": given.get("name"),
            "image": given.get("imageName"),
            "docker_args": given.get("dockerArgs"),
            "container_disk_gb": given.get("containerDiskInGb"),
            "volume_gb": given.get("volumeInGb"),
            "mount": given.get("volumeMountPath"),
            "ports": given.get("ports"),
            "env": orders.variables(given.get("env")),
        }
        template = replace(base, **{key: value for key, value in fields.items() if value is not None})
        self._account.templates[template.id] = template
        return views.template(template)

    def _delete_template(self, **arguments: Any) -> None:
        for template in tuple(self._account.templates.values()):
            if template.name == arguments.get("templateName"):
                del self._account.templates[template.id]

    # --- the catalogue ----------------------------------------------------------------------------------------------

    def _gpu_types(self, given: Given) -> list[View]:
        ids = given.get("ids") or ([given["id"]] if given.get("id") else None)
        secure = places("secure")
        rows = catalogue.gpu_types().values()
        return [views.gpu_type(row, secure) for row in rows if ids is None or row.id in ids]

    def _lowest_price(self, gpu: View, given: Given) -> View:
        """Return the price for the whole ``gpuCount``; on a sold-out row the object is there and its fields null."""
        count, secure = given.get("gpuCount"), given.get("secureCloud")
        if not count:
            raise Refusal(HICCUP, "INTERNAL_SERVER_ERROR")
        clouds = ("secure", "community") if secure is None else ("secure",) if secure else ("community",)
        places = given["dataCenterId"].split(",") if given.get("dataCenterId") else None
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

    def _gpu_availability(self, place: View, given: Given) -> list[View]:
        count = given.get("gpuCount") or 1
        open_here = place["listed"] and given.get("secureCloud") is not False
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


def _cpu_flavors(given: Given) -> list[View]:
    rows = catalogue.CPU_FLAVORS.values()
    return [views.cpu_flavor(row) for row in rows if given.get("id") in (None, row.id)]


def _specifics(flavor: View, given: Given) -> View:
    """Return stock and price of a flavour: of the smallest instance unless one is named."""
    row: catalogue.CpuFlavor = flavor["row"]
    words = (given.get("instanceId") or "").split("-")
    vcpu = int(words[1]) if len(words) == 3 and words[1].isdigit() else row.min_vcpu
    return {"stockStatus": "High", "securePrice": round(vcpu * row.usd_per_vcpu_hr, 4)}
