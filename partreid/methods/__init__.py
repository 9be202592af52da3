"""One paper, one file. ``METHODS`` names them; only :mod:`partreid.build` looks there."""

from partreid.methods.base import Method
from partreid.methods.bot import BoT
from partreid.methods.bpbreid import BPBreID
from partreid.methods.dsa import DSA
from partreid.methods.hcga import HCGA
from partreid.methods.isp import ISP
from partreid.methods.magnifier import Magnifier
from partreid.methods.pcb import PCB

METHODS: dict[str, type[Method]] = {"bot": BoT, "pcb": PCB, "bpbreid": BPBreID, "isp": ISP, "hcga": HCGA, "dsa": DSA,
                                    "magnifier": Magnifier}

__all__ = ["DSA", "HCGA", "ISP", "METHODS", "PCB", "BPBreID", "BoT", "Magnifier", "Method"]
