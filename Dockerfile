# The image of every container: workers, evaluator, Ray's pods, data commands, the launcher itself.
#
#   docker build -t launcher:cpu .
#   docker build -t launcher:gpu --build-arg TENSORFLOW=gpu .
#
# It needs nothing writable but /tmp and /home/launcher, and runs as 10001:10001 without a capability:
# what a pod's security context has to say. docs/image.md tells the rest; `make image-test` tries it.

# A Debian 12 whose `python3` is a 3.11 with the venv module.
ARG BASE_IMAGE=python:3.11.14-slim-bookworm

# Everything that is pinned, in a virtual environment without pip. No compiler: all are wheels but the
# Object Detection API, whose source is Python and is built by the pinned setuptools.
FROM ${BASE_IMAGE} AS packages
ARG TENSORFLOW=cpu
WORKDIR /build
COPY requirements/runtime.txt requirements/gpu.txt ./
# Both secrets may be left out: pip.conf names a registry of one's own, ca.crt is for its `cert`.
# TensorFlow's headers, a fifth of it, are for compiling operations.
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    --mount=type=secret,id=ca.crt,target=/run/secrets/ca.crt \
    --mount=type=cache,target=/root/.cache/pip \
    case "${TENSORFLOW}" in \
        cpu) cp runtime.txt pins.txt ;; \
        gpu) { sed '/^tensorflow_cpu==/d' runtime.txt; cat gpu.txt; } > pins.txt ;; \
        *) echo "TENSORFLOW=${TENSORFLOW} is neither cpu nor gpu" >&2; exit 2 ;; \
    esac \
    && grep '^tf-models-research-' pins.txt > source.txt \
    && sed -i '/^tf-models-research-/d' pins.txt \
    && python3 -m venv tools \
    && python3 -m venv --without-pip /opt/launcher \
    && pip="tools/bin/pip --python /opt/launcher/bin/python --disable-pip-version-check" \
    && ${pip} install --no-deps --only-binary :all: --requirement pins.txt \
    && ${pip} install --no-deps --no-build-isolation --use-pep517 --requirement source.txt \
    && rm -r /opt/launcher/lib/python3.11/site-packages/tensorflow/include

# The launcher by itself: a change of its code is a small layer on top of the large one.
FROM packages AS code
COPY pyproject.toml README.md ./
COPY launcher launcher
RUN tools/bin/pip --python /opt/launcher/bin/python install --no-deps --no-build-isolation --no-index \
        --no-cache-dir --disable-pip-version-check --prefix /code .

FROM ${BASE_IMAGE}
LABEL org.opencontainers.image.title="launcher" \
    org.opencontainers.image.description="Trains and scores TensorFlow Object Detection API models"

# wget: the probes of older KubeRay (ray-project/kuberay#4448). The profile: older KubeRay starts `ray`
# from a login shell (#3679), for which Debian sets PATH anew.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends wget=1.21.* \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 launcher \
    && useradd --no-log-init --uid 10001 --gid 10001 --create-home --shell /bin/bash launcher \
    && echo "PATH=/opt/launcher/bin:\$PATH" > /etc/profile.d/launcher.sh

COPY --from=packages /opt/launcher /opt/launcher
COPY --from=code /code /opt/launcher

# No NVIDIA_VISIBLE_DEVICES=all, as images of NVIDIA have it: under its container runtime a pod that
# asked for no GPU (the evaluator on the CPU) would be given all of the node's.
ENV PATH=/opt/launcher/bin:${PATH} \
    HOME=/home/launcher \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

USER 10001:10001
WORKDIR /home/launcher
ENTRYPOINT ["launcher"]
CMD ["--help"]
