"""One paper, one folder. ``METHODS`` names them; only :mod:`partreid.build` looks there."""

from typing import TYPE_CHECKING

from partreid.utils.registry import Registry

if TYPE_CHECKING:
    from partreid.methods.base import Method

METHODS: "Registry[type[Method]]" = Registry(
    "method",
    "partreid.methods",
    {
        "bot": "partreid.methods.bot.model:BoT",
        "pcb": "partreid.methods.pcb.model:PCB",
        "bpbreid": "partreid.methods.bpbreid.model:BPBreID",
        "isp": "partreid.methods.isp.model:ISP",
        "hcga": "partreid.methods.hcga.model:HCGA",
        "dsa": "partreid.methods.dsa.model:DSA",
        "magnifier": "partreid.methods.magnifier.model:Magnifier",
    },
)

__all__ = ["METHODS"]
