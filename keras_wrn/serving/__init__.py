"""Serve exported networks on one machine, in TF Serving's REST and gRPC interfaces."""
