# The studio and the HTTP API, on a CPU or with --build-arg DEVICE=cuda on a GPU of NVIDIA: docs/docker.md.
ARG PYTHON=3.12

FROM python:${PYTHON}-slim-bookworm AS build
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends g++ \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /dist .

FROM python:${PYTHON}-slim-bookworm
ARG DEVICE=cpu
# CUDA comes with the wheels; the driver is the host's.
RUN --mount=type=bind,from=build,source=/dist,target=/dist \
    case "$DEVICE" in \
      cpu) extras=heic,video,web ;; \
      cuda) extras=heic,video,web,cuda ;; \
      *) echo "DEVICE must be cpu or cuda, got $DEVICE" >&2; exit 2 ;; \
    esac \
 && pip install --no-cache-dir "$(echo /dist/*.whl)[$extras]" \
 && wct-jax --version -v \
 && useradd --uid 10001 --create-home painter \
 && install --directory --owner painter --group painter --mode 700 /home/painter/.cache /home/painter/.cache/wct_jax
USER 10001:10001
WORKDIR /home/painter
# HOME is root's for a user given by number. PYTHONUNBUFFERED: the log has the address at once.
ENV HOME=/home/painter \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    NVIDIA_VISIBLE_DEVICES=all \
    PYTHONUNBUFFERED=1
# Models, and code that an earlier container compiled.
VOLUME /home/painter/.cache/wct_jax
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/v1/health', timeout=4)"]
ENTRYPOINT ["wct-jax"]
# Another address than the loopback's asks for a token: WCT_JAX_TOKEN, or one made up and printed.
CMD ["serve", "--host", "0.0.0.0"]
