"""The broker: connections, topology and the private node. The only place that imports pika."""

from workbench.broker.connection import Connection, ConnectionState
from workbench.broker.consumer import Consumer, Delivery
from workbench.broker.lock import Lock
from workbench.broker.outgoing import Outgoing
from workbench.broker.publisher import Publisher
from workbench.broker.rpc import NobodyThere, RpcCaller
from workbench.broker.topology import Topology

__all__ = [
    "Connection",
    "ConnectionState",
    "Consumer",
    "Delivery",
    "Lock",
    "NobodyThere",
    "Outgoing",
    "Publisher",
    "RpcCaller",
    "Topology",
]
