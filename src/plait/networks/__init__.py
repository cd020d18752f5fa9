"""Networks of things: who is joined to whom, and what is known of each, by name or from files."""

from plait.networks.files import read_network
from plait.networks.named import NETWORKS, named_network
from plait.networks.network import Network

__all__ = ["NETWORKS", "Network", "named_network", "read_network"]
