"""What a run would meet here, found out beforehand: `isofleet doctor`.

Works on: a configuration, and the addresses of a catalog and an output. Knows nothing about how its findings are shown.
Checks run side by side, each with a bound in time. Those that import PyTorch or Ray run in processes of their own, so
that a library that hangs, or takes its process with it, is found out like anything else.
"""
