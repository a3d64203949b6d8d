"""What a helper process runs: see `helper`."""

from plant3d_sync.connectors.plant3d.helper import serve

if __name__ == "__main__":
    serve()
