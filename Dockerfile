# One image for each stage, by its target, and one for the embedded model server:
#
#   docker build .                          stage 4, which is the last target
#   docker build --target project2 .        stage 2
#   docker build --target local-model .     the model server
#
# Packages come before code, so that a change of the code costs the last two steps. Where the base image is kept by
# digest, say so: --build-arg PYTHON=python@sha256:…  Which commit it is, is for the builder to say:
# --label org.opencontainers.image.revision=$(git rev-parse HEAD)
ARG PYTHON=python:3.13-slim

FROM ${PYTHON} AS tools
RUN python -m venv --without-pip /packages
# No package is built from source, so there is no compiler, here or later; each is the one that the lock has a hash of.
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_DEPS=1 PIP_REQUIRE_HASHES=1 PIP_ONLY_BINARY=:all: \
    PIP_ROOT_USER_ACTION=ignore PIP_PROGRESS_BAR=off

FROM tools AS packages1
COPY requirements/project1.lock /
RUN python -m pip --python /packages install --quiet --requirement /project1.lock

FROM tools AS packages2
COPY requirements/project2.lock /
RUN python -m pip --python /packages install --quiet --requirement /project2.lock

FROM tools AS packages3
COPY requirements/project3.lock /
RUN python -m pip --python /packages install --quiet --requirement /project3.lock

FROM tools AS packages4
COPY requirements/project4.lock /
RUN python -m pip --python /packages install --quiet --requirement /project4.lock

FROM packages1 AS packages-model
COPY requirements/embedded.lock /
RUN python -m pip --python /packages install --quiet --requirement /embedded.lock

# Bytecode is made here: the file system of a running container may be read-only.
FROM ${PYTHON} AS code1
WORKDIR /app
COPY shared shared
RUN rm -r shared/dev
COPY project1_qa_api project1_qa_api
RUN python -m compileall -q .

FROM code1 AS code2
COPY project2_user_mgmt project2_user_mgmt
RUN python -m compileall -q .

FROM code2 AS code3
COPY project3_rag_docs project3_rag_docs
RUN python -m compileall -q .

FROM code3 AS code4
COPY project4_agent_api project4_agent_api
RUN python -m compileall -q .

FROM ${PYTHON} AS code-model
WORKDIR /app
COPY shared shared
RUN python -m compileall -q .

FROM ${PYTHON} AS runtime
LABEL org.opencontainers.image.title="AI back-end capstones" \
    org.opencontainers.image.description="FastAPI services, from a question-answering API to an agent API" \
    org.opencontainers.image.licenses="MIT"
ENV PATH=/packages/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    APP_ENV=production HOST=0.0.0.0 PORT=8000 WORKER_PORT=8000
WORKDIR /app
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["python", "-m", "shared.healthcheck"]

FROM runtime AS local-model
COPY --from=packages-model /packages /packages
COPY --from=code-model /app /app
ENTRYPOINT ["python", "-m", "shared.dev.model_server"]
CMD ["--host", "0.0.0.0", "--port", "8000", "--cache", "/tmp"]

FROM runtime AS project1
COPY --from=packages1 /packages /packages
COPY --from=code1 /app /app
ENTRYPOINT ["python", "-m", "project1_qa_api"]

FROM runtime AS project2
COPY --from=packages2 /packages /packages
COPY --from=code2 /app /app
ENTRYPOINT ["python", "-m", "project2_user_mgmt"]

FROM runtime AS project3
COPY --from=packages3 /packages /packages
COPY --from=code3 /app /app
ENTRYPOINT ["python", "-m", "project3_rag_docs"]

# The commands beside serving are its arguments: `worker`, `migrate`, `create-admin ada@example.com`, …
FROM runtime AS project4
COPY --from=packages4 /packages /packages
COPY --from=code4 /app /app
ENTRYPOINT ["python", "-m", "project4_agent_api"]
