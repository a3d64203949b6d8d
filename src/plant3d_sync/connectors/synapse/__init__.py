"""SYNAPSE through the integration contract 1.x: `client.SynapseClient`, and `probe.probe` for `doctor`."""
