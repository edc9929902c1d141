"""The only door to fabric and paramiko: a pod over one SSH connection that re-establishes itself.

Errors of fabric, paramiko and sockets are translated here to Disconnected, ConnectionLost or PodLost.
"""

from __future__ import annotations

from rpd.remote.ssh.hostkey import HostKeyChanged, forget_pin
from rpd.remote.ssh.remote import SshRemote, connect
from rpd.remote.ssh.shell import GIVE_UP_SECONDS

__all__ = ["GIVE_UP_SECONDS", "HostKeyChanged", "SshRemote", "connect", "forget_pin"]
