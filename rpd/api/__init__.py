"""rpd from Python: run, look ahead, look back. Each call is documented at ``rpd.run``, ``rpd.reports`` and so on.

Nothing here prints, asks, ends the process or installs a signal handler, unless that is wanted (``show=True``). Every
call may be made from any thread, and several at once.
"""
