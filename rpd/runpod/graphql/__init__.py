"""RunPod's GraphQL API, through the official SDK. The day the API is switched off, this folder is deleted."""
