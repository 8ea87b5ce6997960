"""gRPC: the Open Inference Protocol's ``inference.GRPCInferenceService`` and the health service of Kubernetes' probes.

Receives messages and sends answers; all else is the data plane's.
"""
