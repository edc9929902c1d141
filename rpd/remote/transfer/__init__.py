"""FILES TO AND FROM A POD: one tar stream over the SSH channel, checked by sha256, renamed into place when whole.

The pod needs ``sh`` and ``tar`` (GNU or busybox), and for pulls ``find`` and something that makes sha256 sums; this
side needs neither tar nor rsync.
"""
