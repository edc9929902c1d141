"""The GraphQL face: RunPod's schema resolved over the account, with answers as RunPod's server words them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import resources
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    GraphQLError,
    GraphQLFormattedError,
    GraphQLObjectType,
    GraphQLResolveInfo,
    GraphQLSyntaxError,
    OperationDefinitionNode,
    build_schema,
    execute_sync,
    parse,
    specified_rules,
    validate,
)
from graphql.utilities import value_from_ast_untyped
from graphql.validation import NoSchemaIntrospectionCustomRule

from rpd.emulator import catalogue
from rpd.emulator.state import HICCUP, Account, NetworkVolume, Order, Pod, Refusal, Template, new_id, rate
from rpd.values.gpus import GpuType

_OPERATIONS = {
    "podFindAndDeployOnDemand": "create", "deployCpuPod": "create", "podRentInterruptable": "create",
    "podStop": "stop", "podResume": "resume", "podBidResume": "resume", "podResumeZeroGpu": "resume",
    "podTerminate": "terminate", "pod": "get", "myself": "list", "gpuTypes": "gpus", "dataCenters": "datacenters",
}  # fmt: skip
_PUBLIC = {"gpuTypes", "dataCenters", "countryCodes", "cpuFlavors", "cpuTypes"}
_POD_KEY_MAY = {"podStop", "podTerminate", "pod"}
_UNKNOWN_FIELD = re.compile(
    r'Expected value of type "(\w+)" not to include unknown field "(\w+)".*', re.DOTALL
)

Arguments = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks: the owner, a pod with its own key (``pod``), or nobody known (``anonymous``)."""

    pod: str | None = None
    anonymous: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One document that parsed and is valid, and what its top fields ask for, as faults see it."""

    document: DocumentNode
    variables: dict[str, Any]
    subjects: tuple[dict[str, str], ...]

    @property
    def fields(self) -> set[str]:
        """The names of its top fields."""
        return {subject["field"] for subject in self.subjects}


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP status and a JSON body."""

    status: int
    body: dict[str, Any]


class GraphqlFace:
    """Answers documents. ``when_volume_deleted`` hears of a network volume whose files may go."""

    def __init__(
        self, account: Account, clock: Callable[[], float], when_volume_deleted: Callable[[str], None]
    ) -> None:
        self._account = account
        self._clock = clock
        self._when_volume_deleted = when_volume_deleted
        self._schema = build_schema((resources.files(__package__) / "schema.graphql").read_text())
        for type_name, resolvers in self._resolvers().items():
            kind = self._schema.type_map[type_name]
            assert isinstance(kind, GraphQLObjectType)  # noqa: S101 - narrows the type
            for name, resolver in resolvers.items():
                kind.fields[name].resolve = resolver

    # --- documents --------------------------------------------------------------------------------------------------

    def read(self, body: Any) -> Call | Answer:
        """Parse and validate a request body; what cannot be executed is answered at once."""
        query = body.get("query") if isinstance(body, dict) else None
        if not isinstance(query, str) or not query.strip():
            return _refused(400, "GraphQL operations must contain a non-empty `query`.", "BAD_REQUEST")
        try:
            document = parse(query)
        except GraphQLSyntaxError:
            return _refused(400, HICCUP, "GRAPHQL_PARSE_FAILED")
        errors = validate(self._schema, document, (*specified_rules, NoSchemaIntrospectionCustomRule))
        if errors:
            return Answer(400, {"errors": [_formatted(e, "GRAPHQL_VALIDATION_FAILED") for e in errors]})
        variables = body.get("variables") or {}
        return Call(
            document=document, variables=variables, subjects=tuple(self._subjects(document, variables))
        )

    def _subjects(self, document: DocumentNode, variables: dict[str, Any]) -> Iterable[dict[str, str]]:
        for operation in document.definitions:
            if not isinstance(operation, OperationDefinitionNode):
                continue
            for node in operation.selection_set.selections:
                if isinstance(node, FieldNode):
                    values = {
                        a.name.value: value_from_ast_untyped(a.value, variables) for a in node.arguments or ()
                    }
                    yield self._subject(node.name.value, values.get("input") or {})

    def _subject(self, name: str, given: Mapping[str, Any]) -> dict[str, str]:
        pod = self._account.pods.get(given.get("podId") or "")
        cloud = str(given.get("cloudType") or "").lower()
        wanted = {"name": given.get("name"), "gpu": given.get("gpuTypeId"), "dc": given.get("dataCenterId"),
                  "cloud": cloud, "pod": given.get("podId")}  # fmt: skip
        known = {key: str(value) for key, value in wanted.items() if value}
        return {
            **known,
            **(pod.subject if pod else {}),
            "field": name,
            "operation": _OPERATIONS.get(name, name),
        }

    def answer(self, call: Call, caller: Caller) -> Answer:
        """Execute ``call``."""
        if caller.anonymous and not call.fields <= _PUBLIC | {"myself"}:
            return _refused(200, "Unauthorized", "UNAUTHENTICATED", call)
        if caller.pod is not None and not self._pod_key_may(call, caller.pod):
            return _refused(200, "Unauthorized", "FORBIDDEN", call)
        result = execute_sync(
            self._schema, call.document, variable_values=call.variables, context_value=caller
        )
        body: dict[str, Any] = {}
        bad_variables = False
        if result.errors:
            bad_variables = result.data is None and not any(error.path for error in result.errors)
            code = "BAD_USER_INPUT" if bad_variables else "INTERNAL_SERVER_ERROR"
            body["errors"] = [_formatted(error, code) for error in result.errors]
        if not bad_variables:
            body["data"] = result.data
        return Answer(400 if bad_variables else 200, body)

    def _pod_key_may(self, call: Call, pod_id: str) -> bool:
        return call.fields <= _POD_KEY_MAY and all(s.get("pod") == pod_id for s in call.subjects)

    # --- resolvers --------------------------------------------------------------------------------------------------

    def _resolvers(self) -> dict[str, dict[str, Callable[..., Any]]]:
        account = self._account
        return {
            "Query": {
                "myself": lambda _, info: None if info.context.anonymous else self._user(),
                "pod": lambda _, __, input=None: self._pod_or_none((input or {}).get("podId")),  # noqa: A006
                "gpuTypes": self._gpu_types,
                "dataCenters": lambda *_: list(map(self._data_center, catalogue.DATA_CENTERS.values())),
                "countryCodes": lambda *_: [*catalogue.COMMUNITY_COUNTRIES, None],
                "cpuFlavors": self._cpu_flavors,
                "cpuTypes": lambda *_: [],
            },
            "Mutation": {
                "podFindAndDeployOnDemand": lambda _, __, input: self._pod(account.create(_order(input))),  # noqa: A006
                "podRentInterruptable": lambda _, __, input: self._pod(account.create(_order(input))),  # noqa: A006
                "deployCpuPod": lambda _, __, input: self._pod(account.create(_cpu_order(input))),  # noqa: A006
                "podStop": lambda _, __, input: self._pod(account.stop(input["podId"])),  # noqa: A006
                "podResume": self._resume,
                "podBidResume": self._resume,
                "podResumeZeroGpu": lambda _, __, input: self._pod(  # noqa: A006
                    account.resume(input["podId"], zero_gpu=True)
                ),
                "podReset": lambda _, __, input: self._pod(account.reset(input["podId"])),  # noqa: A006
                "podEditJob": lambda _, __, input: self._pod(account.reset(input["podId"], _changes(input))),  # noqa: A006
                "podTerminate": lambda _, __, input: account.terminate(input["podId"]),  # noqa: A006
                "updateUserSettings": self._update_user,
                "createNetworkVolume": lambda _, __, input: self._volume(  # noqa: A006
                    account.create_volume(input["name"], input["size"], input["dataCenterId"])
                ),
                "updateNetworkVolume": lambda _, __, input: self._volume(  # noqa: A006
                    account.update_volume(input["id"], input.get("name"), input.get("size"))
                ),
                "deleteNetworkVolume": self._delete_volume,
                "saveTemplate": self._save_template,
                "deleteTemplate": self._delete_template,
                "secretCreate": self._create_secret,
                "secretDelete": lambda _, __, id: account.secrets.pop(id, None) and None,  # noqa: A006
            },
            "GpuType": {"lowestPrice": self._lowest_price},
            "DataCenter": {"gpuAvailability": self._gpu_availability},
            "CpuFlavor": {"specifics": self._specifics},
            "User": {"pod": lambda _, __, input=None: self._pod_or_none((input or {}).get("podId"))},  # noqa: A006
        }

    def _resume(self, _: Any, info: GraphQLResolveInfo, input: Arguments) -> Arguments:  # noqa: A002, ARG002
        return self._pod(self._account.resume(input["podId"], count=input.get("gpuCount")))

    def _pod_or_none(self, pod_id: str | None) -> Arguments | None:
        pod = self._account.pods.get(pod_id or "")
        return None if pod is None else self._pod(pod)

    def _user(self) -> Arguments:
        account = self._account
        running = [pod for pod in account.pods.values() if pod.running]
        compute = sum(pod.cost_per_hr for pod in running)
        return {
            "id": account.id, "email": "emulator@example.com", "pubKey": account.pub_key,
            "clientBalance": account.balance, "currentSpendPerHr": account.spend_per_hr(),
            "spendLimit": account.spend_limit, "minBalance": 0.0, "underBalance": account.balance <= 0,
            "notifyPodsStale": True, "notifyPodsGeneral": True, "notifyLowBalance": True, "isTeam": False,
            "networkVolumes": [self._volume(volume) for volume in account.volumes.values()],
            "pods": [self._pod(pod) for pod in account.pods.values()],
            "podTemplates": [_template(template) for template in account.templates.values()],
            "secrets": [{"id": name, "name": name} for name in account.secrets],
            "containerRegistryCreds": [],
            "datacenters": list(map(self._data_center, catalogue.DATA_CENTERS.values())),
            "spendDetails": {
                "gpuComputePerHour": compute, "networkStoragePerHour": 0.0,
                "localStoragePerHour": sum(map(rate, account.pods.values())) - compute,
            },
        }  # fmt: skip

    def _pod(self, pod: Pod) -> Arguments:
        order = pod.order
        kind = "BID" if order.bid_per_gpu is not None else "RESERVED"
        return {
            "id": pod.id, "name": order.name, "imageName": order.image, "desiredStatus": pod.desired_status,
            "costPerHr": pod.cost_per_hr, "adjustedCostPerHr": pod.cost_per_hr,
            "containerDiskInGb": order.container_disk_gb, "volumeInGb": order.volume_gb,
            "volumeMountPath": order.mount, "volumeEncrypted": False, "dockerArgs": order.docker_args,
            "env": [f"{key}={value}" for key, value in pod.env.items()], "gpuCount": pod.gpu_count,
            "vcpuCount": pod.vcpu, "memoryInGb": pod.memory_gb, "lastStatusChange": pod.last_status_change,
            "lastStartedAt": _iso(pod.last_started_at), "createdAt": _iso(pod.created_at),
            "machineId": pod.machine_id, "machine": self._machine(pod), "podType": kind, "ports": order.ports,
            "uptimeSeconds": 0, "runtime": self._runtime(pod), "networkVolumeId": order.network_volume,
            "templateId": order.template, "locked": False, "consumerUserId": self._account.id,
            "latestTelemetry": self._telemetry(pod), "lowestBidPriceToResume": order.bid_per_gpu,
        }  # fmt: skip

    def _machine(self, pod: Pod) -> Arguments:
        place = catalogue.DATA_CENTERS.get(pod.datacenter or "")
        gpu = pod.order.gpu
        return {
            "podHostId": pod.host_id, "gpuTypeId": gpu, "dataCenterId": pod.datacenter,
            "gpuDisplayName": catalogue.display_name(gpu) if gpu else None,
            "location": place.location if place else catalogue.COMMUNITY_COUNTRIES[0],
            "secureCloud": pod.cloud == "secure", "supportPublicIp": True, "costPerHr": str(pod.cost_per_hr),
            "currentPricePerGpu": str(round(pod.cost_per_hr / max(pod.order.count, 1), 4)),
        }  # fmt: skip

    def _runtime(self, pod: Pod) -> Arguments | None:
        if pod.runtime is None:
            return None
        return {
            "uptimeInSeconds": math.floor(self._clock() - pod.runtime.started_at),
            "ports": list(pod.runtime.ports),
            "gpus": [{"id": f"GPU-{pod.id}-{index}", "gpuUtilPercent": 0, "memoryUtilPercent": 0}
                     for index in range(pod.gpu_count)],
            "container": {"cpuPercent": 0, "memoryPercent": 0},
        }  # fmt: skip

    def _telemetry(self, pod: Pod) -> Arguments | None:
        if pod.died_at is not None:
            return {"state": "exited", "time": _iso(pod.died_at)}
        return None if pod.runtime is None else {"state": "running", "time": _iso(self._clock())}

    def _volume(self, volume: NetworkVolume) -> Arguments:
        place = catalogue.DATA_CENTERS[volume.datacenter]
        return {"id": volume.id, "name": volume.name, "size": volume.size, "dataCenterId": volume.datacenter,
                "dataCenter": self._data_center(place)}  # fmt: skip

    def _delete_volume(self, _: Any, info: GraphQLResolveInfo, input: Arguments) -> None:  # noqa: A002, ARG002
        self._account.delete_volume(input["id"])
        self._when_volume_deleted(input["id"])

    def _update_user(self, _: Any, info: GraphQLResolveInfo, input: Arguments | None = None) -> Arguments:  # noqa: A002, ARG002
        self._account.pub_key = (input or {}).get("pubKey") or ""
        return self._user()

    def _create_secret(self, _: Any, info: GraphQLResolveInfo, input: Arguments) -> Arguments:  # noqa: A002, ARG002
        self._account.secrets[input["name"]] = input["value"]
        return {"id": input["name"], "name": input["name"]}

    def _save_template(self, _: Any, info: GraphQLResolveInfo, input: Arguments) -> Arguments:  # noqa: A002, ARG002
        known = self._account.templates.get(input.get("id") or "")
        base = known or Template(id=new_id(10), name="", image="")
        given = {"name": input.get("name"), "image": input.get("imageName"), "docker_args": input.get("dockerArgs"),
                 "container_disk_gb": input.get("containerDiskInGb"), "volume_gb": input.get("volumeInGb"),
                 "mount": input.get("volumeMountPath"), "ports": input.get("ports"),
                 "env": {row["key"]: row["value"] for row in input.get("env") or ()}}  # fmt: skip
        template = replace(base, **{key: value for key, value in given.items() if value is not None})
        self._account.templates[template.id] = template
        return _template(template)

    def _delete_template(self, _: Any, info: GraphQLResolveInfo, templateName: str | None = None) -> None:  # noqa: N803, ARG002
        for template in tuple(self._account.templates.values()):
            if template.name == templateName:
                del self._account.templates[template.id]

    # --- the catalogue ----------------------------------------------------------------------------------------------

    def _gpu_types(self, _: Any, info: GraphQLResolveInfo, input: Arguments | None = None) -> list[Arguments]:  # noqa: A002, ARG002
        wanted = input or {}
        ids = wanted.get("ids") or ([wanted["id"]] if wanted.get("id") else None)
        rows = catalogue.gpu_types().values()
        return [self._gpu(row) for row in rows if ids is None or row.id in ids]

    def _gpu(self, gpu: GpuType) -> Arguments:
        secure, community = catalogue.price(gpu, "secure"), catalogue.price(gpu, "community")
        return {
            "row": gpu, "id": gpu.id, "displayName": catalogue.display_name(gpu.id), "memoryInGb": gpu.memory_gb,
            "manufacturer": "AMD" if gpu.id.startswith("AMD") else "Nvidia", "cudaCores": 0, "minPodGpuCount": 1,
            "secureCloud": secure is not None, "communityCloud": community is not None,
            "maxGpuCount": max(gpu.max_count_secure, gpu.max_count_community),
            "maxGpuCountSecureCloud": gpu.max_count_secure, "maxGpuCountCommunityCloud": gpu.max_count_community,
            "securePrice": secure, "communityPrice": community, "secureSpotPrice": secure,
            "communitySpotPrice": community,
            "nodeGroupDatacenters": [{"id": place} for place in self._account.places("secure")] if secure else [],
        }  # fmt: skip

    def _lowest_price(
        self,
        parent: Arguments,
        info: GraphQLResolveInfo,
        input: Arguments | None = None,  # noqa: A002, ARG002
    ) -> Arguments:
        """Return the price for the whole ``gpuCount``; on a sold-out row the object is there and its fields null."""
        gpu: GpuType = parent["row"]
        wanted = input or {}
        count = wanted.get("gpuCount")
        if not count:
            raise Refusal(HICCUP, "INTERNAL_SERVER_ERROR")
        secure = wanted.get("secureCloud")
        clouds = ("secure", "community") if secure is None else ("secure",) if secure else ("community",)
        for cloud in clouds:
            unit = catalogue.price(gpu, cloud)
            places = (wanted.get("dataCenterId") or "").split(",") if wanted.get("dataCenterId") else None
            free = self._most_free(gpu, cloud, places)
            word = catalogue.stock_word(free, count)
            if unit is None or word is None or count > catalogue.most(gpu, cloud):
                continue
            return {
                "gpuName": catalogue.display_name(gpu.id), "gpuTypeId": gpu.id, "stockStatus": word,
                "minimumBidPrice": round(unit * count, 4), "uninterruptablePrice": round(unit * count, 4),
                "minVcpu": catalogue.VCPU_PER_GPU * count, "minMemory": catalogue.MEMORY_GB_PER_GPU * count,
                "maxUnreservedGpuCount": min(free, catalogue.most(gpu, cloud)), "supportPublicIp": True,
                "availableGpuCounts": [n for n in range(1, catalogue.most(gpu, cloud) + 1) if n <= free],
                "gpuTypeCudaVersions": [
                    {"cudaVersion": version, "availability": "AVAILABLE"} for version in catalogue.CUDA_VERSIONS
                ],
            }  # fmt: skip
        return {}

    def _most_free(self, gpu: GpuType, cloud: str, places: list[str] | None) -> int:
        if cloud == "community" and places:
            return 0
        known = self._account.places(cloud)
        return max(
            (self._account.free(gpu.id, place, cloud) for place in places or known if place in known),
            default=0,
        )

    def _data_center(self, place: catalogue.DataCenter) -> Arguments:
        return {"id": place.id, "name": place.name, "location": place.location, "region": place.region,
                "listed": place.listed, "storageSupport": place.storage, "compliance": []}  # fmt: skip

    def _gpu_availability(
        self,
        parent: Arguments,
        info: GraphQLResolveInfo,
        input: Arguments | None = None,  # noqa: A002, ARG002
    ) -> list[Arguments]:
        wanted = input or {}
        count, rows = wanted.get("gpuCount") or 1, []
        for gpu in catalogue.gpu_types().values():
            fits = gpu.secure_usd_per_hr is not None and count <= gpu.max_count_secure and parent["listed"]
            if wanted.get("secureCloud") is False:
                fits = False
            free = self._account.free(gpu.id, parent["id"], "secure") if fits else 0
            word, name = catalogue.stock_word(free, count), catalogue.display_name(gpu.id)
            rows.append({"id": f"{parent['id']}-{gpu.id}", "gpuTypeId": gpu.id, "displayName": name,
                         "gpuTypeDisplayName": name, "available": word is not None, "stockStatus": word,
                         "gpuType": self._gpu(gpu)})  # fmt: skip
        return rows

    def _cpu_flavors(
        self, _: Any, info: GraphQLResolveInfo, input: Arguments | None = None
    ) -> list[Arguments]:  # noqa: A002, ARG002
        wanted = (input or {}).get("id")
        return [
            {"row": row, "id": row.id, "displayName": row.name, "groupId": row.id[:4], "groupName": row.name,
             "minVcpu": row.min_vcpu, "maxVcpu": row.max_vcpu, "ramMultiplier": row.memory_gb_per_vcpu,
             "diskLimitPerVcpu": row.disk_gb_per_vcpu}
            for row in catalogue.CPU_FLAVORS.values()
            if wanted in (None, row.id)
        ]  # fmt: skip

    def _specifics(
        self, parent: Arguments, info: GraphQLResolveInfo, input: Arguments | None = None
    ) -> Arguments:  # noqa: A002, ARG002
        flavor: catalogue.CpuFlavor = parent["row"]
        instance = (input or {}).get("instanceId") or ""
        words = instance.split("-")
        vcpu = int(words[1]) if len(words) == 3 and words[1].isdigit() else flavor.min_vcpu
        return {"stockStatus": "High", "securePrice": round(vcpu * flavor.usd_per_vcpu_hr, 4)}


def _order(given: Arguments) -> Order:
    """Return the order in a GPU create input, of the on-demand or the spot mutation."""
    return Order(
        name=given.get("name") or "",
        image=given.get("imageName") or "",
        cloud=(given.get("cloudType") or "ALL").lower(),
        gpu=given.get("gpuTypeId") or "",
        count=given.get("gpuCount") or 1,
        datacenter=given.get("dataCenterId"),
        country=given.get("countryCode"),
        container_disk_gb=given.get("containerDiskInGb"),
        volume_gb=given.get("volumeInGb") or 0,
        mount=given.get("volumeMountPath"),
        network_volume=given.get("networkVolumeId"),
        docker_args=given.get("dockerArgs") or "",
        ports=(given.get("ports") or "").replace(" ", ""),
        env={row["key"]: row["value"] for row in given.get("env") or ()},
        template=given.get("templateId"),
        start_ssh=bool(given.get("startSsh")),
        min_vcpu=given.get("minVcpuCount") or 1,
        min_memory_gb=given.get("minMemoryInGb") or 1,
        cuda=tuple(given.get("allowedCudaVersions") or ()),
        bid_per_gpu=given.get("bidPerGpu"),
        deploy_cost=given.get("deployCost"),
    )


def _cpu_order(given: Arguments) -> Order:
    return replace(_order(given), gpu=None, instance=given.get("instanceId"), cloud="secure", count=0)


def _changes(given: Arguments) -> Arguments:
    """Return what podEditJob changes about an order."""
    names = {"imageName": "image", "dockerArgs": "docker_args", "ports": "ports", "volumeInGb": "volume_gb",
             "containerDiskInGb": "container_disk_gb", "volumeMountPath": "mount"}  # fmt: skip
    changes = {names[key]: value for key, value in given.items() if key in names and value is not None}
    if given.get("env") is not None:
        changes["env"] = {row["key"]: row["value"] for row in given["env"]}
    return changes


def _template(template: Template) -> Arguments:
    return {
        "id": template.id, "name": template.name, "imageName": template.image, "dockerArgs": template.docker_args,
        "containerDiskInGb": template.container_disk_gb, "volumeInGb": template.volume_gb,
        "volumeMountPath": template.mount, "ports": template.ports, "isServerless": False, "isPublic": False,
        "env": [{"key": key, "value": value} for key, value in template.env.items()],
    }  # fmt: skip


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _as_javascript(message: str) -> str:
    """Return a validation error in the words of RunPod's server, which runs the JavaScript library."""
    quoted = message.replace("'", '"').replace("has invalid value: Expected", "got invalid value; Expected")
    return _UNKNOWN_FIELD.sub(r'Field "\2" is not defined by type "\1".', quoted)


def _formatted(error: GraphQLError, code: str) -> GraphQLFormattedError:
    """Return an error as Apollo sends it: message, path, ``extensions.code``; a crash of ours is a hiccup of theirs."""
    formatted = error.formatted
    original = error.original_error
    if isinstance(original, Refusal):
        formatted["message"], code = original.message, original.code
    elif original is not None and not isinstance(original, GraphQLError):
        formatted["message"] = HICCUP
    else:
        formatted["message"] = _as_javascript(formatted["message"])
    formatted["extensions"] = {**formatted.get("extensions", {}), "code": code}
    return formatted


def _refused(status: int, message: str, code: str, call: Call | None = None) -> Answer:
    body: dict[str, Any] = {"errors": [{"message": message, "extensions": {"code": code}}]}
    if call is not None:
        body["data"] = None
    return Answer(status, body)
