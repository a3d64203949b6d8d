# syntax=docker/dockerfile:1
# One image for serve, worker and scheduler; the command says which. Give PYTHON_IMAGE a digest in production:
#   docker build --build-arg PYTHON_IMAGE=python:3.11-slim-bookworm@sha256:... .
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /build
RUN python -m venv /opt/plant3d-sync
COPY requirements/runtime.lock requirements/runtime.lock
# The lock is complete: nothing is resolved, hashes are checked. Wheels only: no compiler is needed.
RUN /opt/plant3d-sync/bin/python -m pip install --require-hashes --no-deps --only-binary :all: -r requirements/runtime.lock \
 && /opt/plant3d-sync/bin/python -m pip check
COPY pyproject.toml README.md ./
COPY src src
# Our own package has no dependencies left to fetch but its build backend.
RUN /opt/plant3d-sync/bin/python -m pip install --no-deps . \
 && /opt/plant3d-sync/bin/python -m compileall -q /opt/plant3d-sync/lib

FROM ${PYTHON_IMAGE} AS run
# SQL Server can be reached in two ways (mssql+pymssql:// and mssql+pyodbc://). pymssql brings FreeTDS with it and
# needs nothing here. pyodbc needs an ODBC driver: FreeTDS' is below; Microsoft's (msodbcsql18) is not in Debian
# and asks for its licence to be accepted, so whoever wants it derives an image from this one (docs/howto/deploy.md).
# The exact versions are Debian's: pinning them would only break the build when Debian repairs them.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends tdsodbc unixodbc \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --gid 10001 plant3d-sync \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin plant3d-sync \
 && install -d -o 10001 -g 10001 -m 0750 /var/lib/plant3d-sync
COPY --from=build /opt/plant3d-sync /opt/plant3d-sync
ENV PATH=/opt/plant3d-sync/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    P3DSYNC_HOST=0.0.0.0 \
    SERVICE_PORT=8002 \
    STATE_DB_URL=sqlite:////var/lib/plant3d-sync/state.db
# Everything else in the image can be read-only: only this folder and /tmp are written to.
VOLUME ["/var/lib/plant3d-sync"]
WORKDIR /var/lib/plant3d-sync
USER 10001:10001
EXPOSE 8002
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:' + os.environ['SERVICE_PORT'] + '/livez', timeout=2)"]
CMD ["plant3d-sync", "serve"]
