# One image for serve, worker and scheduler; the command says which. Give PYTHON_IMAGE a digest in production:
#   docker build --build-arg PYTHON_IMAGE=python:3.11-slim-bookworm@sha256:... .
# A company's package index and certificates, with the certificates in a file company-ca.pem beside this one:
#   docker build --build-arg PIP_INDEX_URL=https://... --build-arg PIP_CERT=company-ca.pem .
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
# Both end with this stage: of it nothing but /opt/plant3d-sync goes into the image.
ARG PIP_INDEX_URL
ARG PIP_CERT
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_INPUT=1
WORKDIR /build
# pip works from /opt/tools, so that what runs later has none.
RUN python -m venv /opt/tools \
 && python -m venv --without-pip /opt/plant3d-sync
COPY pyproject.toml README.md company-ca*.pem ./
COPY requirements/build.lock requirements/runtime.lock requirements/
# The locks are complete: nothing is resolved, hashes are checked. Wheels only: no compiler is needed.
RUN /opt/tools/bin/python -m pip install --require-hashes --no-deps --only-binary :all: -r requirements/build.lock \
 && /opt/tools/bin/python -m pip --python /opt/plant3d-sync/bin/python install --require-hashes --no-deps --only-binary :all: -r requirements/runtime.lock \
 && /opt/tools/bin/python -m pip --python /opt/plant3d-sync/bin/python check
COPY src src
COPY docs docs
# Our own package is built by the locked back end, without anything from outside.
RUN /opt/tools/bin/python -m pip wheel --no-deps --no-index --no-build-isolation --wheel-dir dist . \
 && /opt/tools/bin/python -m pip --python /opt/plant3d-sync/bin/python install --no-deps --no-index --find-links dist plant3d-sync \
 && /opt/plant3d-sync/bin/python -m compileall -q /opt/plant3d-sync/lib

FROM ${PYTHON_IMAGE} AS run
ARG PYTHON_IMAGE
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="plant3d-sync" \
      org.opencontainers.image.description="Keeps an AutoCAD Plant 3D P&ID project and SYNAPSE in step" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${PYTHON_IMAGE}"
# SQL Server can be reached in two ways (mssql+pyodbc:// and mssql+pymssql://). pymssql brings FreeTDS with it and
# needs nothing here. pyodbc needs an ODBC driver: FreeTDS' is below and is what is taken; Microsoft's (msodbcsql18) is not in Debian
# and asks for its licence to be accepted, so whoever wants it derives an image from this one (docs/howto/deploy.md).
# The exact versions are Debian's: pinning them would only break the build when Debian repairs them.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends tdsodbc unixodbc \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --gid 10001 plant3d-sync \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin plant3d-sync \
 && install -d -o 10001 -g 10001 -m 0750 /var/lib/plant3d-sync
# What runs installs nothing: the base image's own pip and setuptools go, with the copies that venv would unpack.
# hadolint ignore=DL3003
RUN cd "$(python -c "import sysconfig; print(sysconfig.get_path('stdlib'))")" \
 && rm -rf ensurepip /usr/local/bin/pip* /usr/share/python-wheels \
 && cd "$(python -c "import sysconfig; print(sysconfig.get_path('purelib'))")" \
 && rm -rf pip pip-* setuptools setuptools-* wheel wheel-* pkg_resources _distutils_hack distutils-precedence.pth \
 && python -c "import importlib.util, sys; sys.exit([n for n in ('pip', 'setuptools', 'ensurepip') if importlib.util.find_spec(n)] or 0)"
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
