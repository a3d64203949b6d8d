"""One file per thing somebody can ask for. Connectors are seen only through the protocols of `connectors.base`."""
