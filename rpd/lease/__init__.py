"""THE LEASE: pods from the intent on disk to the confirmed release."""
