"""SYNAPSE 0.2 as it is, without the integration API: `client.SynapseV02`, and `probe.probe` for `doctor`."""
