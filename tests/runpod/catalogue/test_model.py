"""The catalogue, as shipped and as RunPod answers."""

from __future__ import annotations

from rpd.runpod.catalogue.model import catalogue_query, read_catalogue, read_volumes, shipped_catalogue
from rpd.values.gpus import KNOWN_GPU_TYPES
from rpd.values.pod import Cloud


def test_the_shipped_catalogue_knows_every_id_and_no_stock() -> None:
    """Prices and sizes come from the list in the package; a type without prices may be rented for all we know."""
    shipped = shipped_catalogue()
    assert set(shipped.gpus) == set(KNOWN_GPU_TYPES)
    assert shipped.stock_in("NVIDIA L4", None) == "unknown"
    b200 = shipped.gpus["NVIDIA B200"]
    assert b200.rents(Cloud.SECURE, 8)
    assert not b200.rents(Cloud.SECURE, 9)
    assert not b200.rents(Cloud.COMMUNITY, 1)
    assert shipped.gpus["Tesla T4"].rents(Cloud.SECURE, 1)


def test_a_live_answer_is_read() -> None:
    """A price of null or 0 is not known, a flag of false is no, and stock words count in any case."""
    catalogue = read_catalogue(
        {
            "gpuTypes": [
                {"id": "unknown", "memoryInGb": 0},
                {
                    "id": "A",
                    "memoryInGb": 24,
                    "secureCloud": False,
                    "maxGpuCountSecureCloud": 8,
                    "securePrice": 0,
                },
                {
                    "id": "B",
                    "memoryInGb": 48,
                    "secureCloud": True,
                    "maxGpuCountSecureCloud": None,
                    "securePrice": 1,
                },
                None,
            ],
            "dataCenters": [
                {"id": "D1", "gpuAvailability": [{"gpuTypeId": "B", "stockStatus": "LOW"}]},
                {
                    "id": "D2",
                    "gpuAvailability": [{"gpuTypeId": "B", "stockStatus": "medium", "available": True}],
                },
                {
                    "id": "D3",
                    "gpuAvailability": [{"gpuTypeId": "B", "stockStatus": "High", "available": False}],
                },
                *(
                    {"id": f"E{n}", "gpuAvailability": [{"gpuTypeId": "B", "stockStatus": word}]}
                    for n, word in enumerate((None, "", "None", "Out", "Unavailable"))
                ),
                {"id": "F", "listed": False, "gpuAvailability": [{"gpuTypeId": "B", "stockStatus": "High"}]},
                {"id": "G", "gpuAvailability": None},
            ],
        }
    )
    assert set(catalogue.gpus) == {"A", "B"}
    assert not catalogue.gpus["A"].rents(Cloud.SECURE, 1)
    assert catalogue.gpus["A"].price(Cloud.SECURE) is None
    assert catalogue.gpus["B"].rents(Cloud.SECURE, 99)
    assert catalogue.datacenters_with("B") == (("D2", "medium"), ("D1", "low"))
    assert catalogue.stock_in("B", None) == "medium"
    assert catalogue.stock_in("B", "F") == "none"
    assert catalogue.row("C") is None


def test_the_query_asks_for_the_count() -> None:
    """Stock for one GPU says nothing of eight."""
    assert "gpuCount: 8," in catalogue_query(8)


def test_volumes_are_read() -> None:
    """None of them and null are both no volumes."""
    assert read_volumes(None) == ()
    [volume] = read_volumes([{"id": "v", "name": None, "size": 10, "dataCenterId": "D"}])
    assert (volume.id, volume.name, volume.datacenter, volume.size_gb) == ("v", "", "D", 10)
