# syntax=docker/dockerfile:1
#
# docker build --tag autocanary:0.1.0 --build-arg REVISION="$(git rev-parse HEAD)" .
#
# Everything that is fetched from the package index is checked against a hash in requirements*.lock, and the base
# image is one digest. Dependabot proposes newer ones.

FROM python:3.12-slim-bookworm@sha256:782412e85d0f0984994c290652577d4018aff08145c85b262bb63dc0c7522254 AS base

# The wheel, built with the locked build backend and nothing fetched besides.
FROM base AS wheel
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /source
COPY requirements-build.lock ./
RUN pip install --quiet --require-hashes --requirement requirements-build.lock
COPY pyproject.toml README.md LICENSE ./
COPY charts/autocanary/crds charts/autocanary/crds
COPY autocanary autocanary
RUN pip wheel --quiet --no-deps --no-build-isolation --no-index --wheel-dir /wheel .

# The program with its locked dependencies in a folder of its own, compiled ahead: the container's file
# system is read-only, so nothing could be compiled there. Hashes instead of times in what is compiled make two
# builds alike.
FROM base AS installed
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /source
RUN python -m venv --without-pip /opt/autocanary
COPY requirements.lock ./
RUN pip --python /opt/autocanary/bin/python install --quiet --no-compile --require-hashes \
      --requirement requirements.lock
COPY --from=wheel /wheel /wheel
RUN pip --python /opt/autocanary/bin/python install --quiet --no-compile --no-deps --no-index /wheel/*.whl \
 && /opt/autocanary/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/autocanary/lib

FROM base
ARG REVISION=""
ARG SOURCE=""
ARG VERSION="0.1.0"
LABEL org.opencontainers.image.title="autocanary" \
      org.opencontainers.image.description="Progressive delivery for KServe: steps canaryTrafficPercent up on evidence and rolls back on a breach." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.base.name="docker.io/library/python:3.12-slim-bookworm"
# No installer in what runs.
RUN python -m pip uninstall --quiet --yes --root-user-action=ignore pip
COPY --from=installed /opt/autocanary /opt/autocanary
ENV PATH="/opt/autocanary/bin:${PATH}" \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# A number, so that Kubernetes can see that it is not root.
USER 65532:65532
WORKDIR /tmp
EXPOSE 8080
ENTRYPOINT ["autocanary"]
CMD ["run"]
