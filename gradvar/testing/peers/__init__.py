"""Installed trainers as a test bench: their registered advantages and losses, what they are, which laws they obey."""

from gradvar.testing.peers.catalogue import PEERS, peer_function
from gradvar.testing.peers.loading import Loaded, load
from gradvar.testing.peers.peer import Peer, PeerFunction
from gradvar.testing.peers.survey import PeerRow, survey

__all__ = ["PEERS", "Loaded", "Peer", "PeerFunction", "PeerRow", "load", "peer_function", "survey"]
