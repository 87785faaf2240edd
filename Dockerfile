# Two images from one file: --target operator (the control plane and the results service) and --target worker (a pod).
# Stages are ordered by how often they change: the pinned packages are a layer of their own, the project's code is a small
# last one, so a change of the sources redoes (and moves) only that.
ARG BASE=python:3.11-slim-bookworm


FROM ${BASE} AS python
# The same folder in every stage: scripts and bytecode name it.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1
# A user with a name: kopf (and whatever else calls getpass.getuser) ends with a KeyError for a number that has none.
RUN echo 'tuningjob:x:65532:65532::/nonexistent:/usr/sbin/nologin' >>/etc/passwd && echo 'tuningjob:x:65532:' >>/etc/group


FROM python AS build
# For a build behind a proxy or a mirror; no later stage knows them.
ARG PIP_CERT
ARG PIP_INDEX_URL
ARG PIP_PROXY
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1
# Bytecode is compiled here, because a pod's root file system is read-only: without it, every start compiles everything
# again (2.4 s). "unchecked", because copying between stages may change the sources' times, which bytecode is else judged by.
ENV COMPILE="python -m compileall -q -j 0 --invalidation-mode unchecked-hash"
RUN python3 -m venv /opt/venv
WORKDIR /src


FROM build AS operator-packages
COPY requirements/operator.txt requirements/
RUN python -m pip install --no-compile --require-hashes -r requirements/operator.txt \
    && python -m pip uninstall --yes pip setuptools \
    && ${COMPILE} /opt/venv/lib


FROM build AS worker-packages
COPY requirements/worker.txt requirements/
RUN python -m pip install --no-compile --require-hashes -r requirements/worker.txt \
    && python -m pip uninstall --yes pip setuptools \
    && ${COMPILE} /opt/venv/lib


FROM build AS build-backend
# The build backend, pinned and hashed by the lock of the development environment.
COPY requirements/build.txt requirements/
RUN python -m pip install --require-hashes -r requirements/build.txt


FROM build-backend AS project
COPY pyproject.toml README.md LICENSE ./
COPY worker worker
COPY operator operator
RUN python -m pip wheel --no-deps --no-build-isolation --wheel-dir /wheel . \
    && python -m pip install --no-compile --no-deps --root /project /wheel/*.whl \
    && ${COMPILE} -s /project /project/opt/venv/lib


# The packages in the place that they have at run time: layers of their own, whatever the sources are.
FROM python AS operator-base
COPY --from=operator-packages /opt/venv /opt/venv


FROM python AS worker-base
COPY --from=worker-packages /opt/venv /opt/venv


FROM operator-base AS operator
LABEL org.opencontainers.image.title="tuningjob operator" \
      org.opencontainers.image.description="The control plane of tuningjob, and its results service (python -m tuningjob_operator.service)" \
      org.opencontainers.image.licenses="Apache-2.0"
# What the worker's image has: the results service tells it to who is about to send a search from Python.
COPY requirements/worker.txt /opt/venv/share/tuningjob/worker.txt
COPY --from=project /project/ /
USER 65532:65532
WORKDIR /
ENTRYPOINT ["python", "-m", "tuningjob_operator"]


FROM worker-base AS worker
LABEL org.opencontainers.image.title="tuningjob worker" \
      org.opencontainers.image.description="A pod of a tuningjob search" \
      org.opencontainers.image.licenses="Apache-2.0"
# One thread for each process is what makes results equal to the bit; the operator sets these in a pod, by the plan.
ENV OMP_NUM_THREADS=1 \
    OPENBLAS_NUM_THREADS=1 \
    MKL_NUM_THREADS=1
COPY --from=project /project/ /
USER 65532:65532
WORKDIR /
ENTRYPOINT ["python", "-m", "tuningjob.pod"]
