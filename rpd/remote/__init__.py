"""THE POD OVER SSH: commands, transfers, telemetry and the watchdog."""
