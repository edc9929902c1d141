"""A RunPod on this machine: the platform's API over one account, and pods that are real, isolated process trees."""
