"""The parts of an emulated pod: the zygote that forks it, its sandbox, its files and its SSH server."""
