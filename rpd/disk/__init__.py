"""Reads and writes files in folders where a pod, or another person, chose the names."""
