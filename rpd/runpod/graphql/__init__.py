"""RunPod's GraphQL API, through the official SDK. The day it is switched off, this folder goes."""
