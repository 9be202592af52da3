"""One paper, one file. ``METHODS`` names them; only :mod:`partreid.build` looks there."""

from partreid.methods.base import Method
from partreid.methods.bot.model import BoT
from partreid.methods.bpbreid.model import BPBreID
from partreid.methods.dsa.model import DSA
from partreid.methods.hcga.model import HCGA
from partreid.methods.isp.model import ISP
from partreid.methods.magnifier.model import Magnifier
from partreid.methods.pcb.model import PCB

METHODS: dict[str, type[Method]] = {"bot": BoT, "pcb": PCB, "bpbreid": BPBreID, "isp": ISP, "hcga": HCGA, "dsa": DSA,
                                    "magnifier": Magnifier}

__all__ = ["DSA", "HCGA", "ISP", "METHODS", "PCB", "BPBreID", "BoT", "Magnifier", "Method"]
