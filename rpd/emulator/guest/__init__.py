"""What a pod of the emulator is made of: the zygote that forks it, its sandbox, its files and its SSH server."""
