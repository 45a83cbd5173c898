# One image for each stage, by its target, and one for the embedded model server:
#
#   docker build .                          stage 4, which is the last target
#   docker build --target project2 .        stage 2
#   docker build --target local-model .     the model server
#
# Packages are installed before the code is copied, so a change of the code costs one small layer. To pin the base image:
# --build-arg PYTHON=python@sha256:…  To record the commit: --label org.opencontainers.image.revision=$(git rev-parse HEAD)
ARG PYTHON=python:3.13-slim

FROM ${PYTHON} AS base
LABEL org.opencontainers.image.title="AI back-end capstones" \
    org.opencontainers.image.description="FastAPI services, from a question-answering API to an agent API" \
    org.opencontainers.image.licenses="MIT"
# Only wheels whose hash is in the lock file are installed, so no compiler is needed.
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_DEPS=1 PIP_REQUIRE_HASHES=1 PIP_ONLY_BINARY=:all: \
    PIP_ROOT_USER_ACTION=ignore PIP_PROGRESS_BAR=off \
    PATH=/packages/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    APP_ENV=production HOST=0.0.0.0 PORT=8000 WORKER_PORT=8000
RUN python -m venv --without-pip /packages
WORKDIR /app
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["python", "-m", "shared.healthcheck"]

FROM base AS packages1
COPY requirements/project1.lock /packages/
RUN /usr/local/bin/python -m pip --python /packages install --quiet --requirement /packages/project1.lock

FROM base AS packages2
COPY requirements/project2.lock /packages/
RUN /usr/local/bin/python -m pip --python /packages install --quiet --requirement /packages/project2.lock

FROM base AS packages3
COPY requirements/project3.lock /packages/
RUN /usr/local/bin/python -m pip --python /packages install --quiet --requirement /packages/project3.lock

FROM base AS packages4
COPY requirements/project4.lock /packages/
RUN /usr/local/bin/python -m pip --python /packages install --quiet --requirement /packages/project4.lock

FROM packages1 AS packages-model
COPY requirements/embedded.lock /packages/
RUN /usr/local/bin/python -m pip --python /packages install --quiet --requirement /packages/embedded.lock

# Bytecode is compiled here, because the file system of a running container may be read-only.
FROM ${PYTHON} AS code-shared
WORKDIR /app
COPY shared shared
RUN python -m compileall -q .

FROM code-shared AS code-model
COPY local local
RUN python -m compileall -q local

FROM code-shared AS code1
COPY project1_qa_api project1_qa_api
RUN python -m compileall -q project1_qa_api

FROM code1 AS code2
COPY project2_user_mgmt project2_user_mgmt
RUN python -m compileall -q project2_user_mgmt

FROM code2 AS code3
COPY project3_rag_docs project3_rag_docs
RUN python -m compileall -q project3_rag_docs

FROM code3 AS code4
COPY project4_agent_api project4_agent_api
# For `python -m agent_api.importing`, which moves data here from another server.
COPY agent_api agent_api
RUN python -m compileall -q project4_agent_api agent_api

FROM packages-model AS local-model
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/*
COPY --from=code-model /app /app
USER 10001:10001
ENTRYPOINT ["python", "-m", "local.model_server"]
CMD ["--host", "0.0.0.0", "--port", "8000", "--cache", "/tmp"]

FROM packages1 AS project1
COPY --from=code1 /app /app
USER 10001:10001
ENTRYPOINT ["python", "-m", "project1_qa_api"]

FROM packages2 AS project2
COPY --from=code2 /app /app
USER 10001:10001
ENTRYPOINT ["python", "-m", "project2_user_mgmt"]

FROM packages3 AS project3
COPY --from=code3 /app /app
USER 10001:10001
ENTRYPOINT ["python", "-m", "project3_rag_docs"]

# Other commands are passed as arguments: `worker`, `migrate`, `create-admin ada@example.com`, …
FROM packages4 AS project4
COPY --from=code4 /app /app
USER 10001:10001
ENTRYPOINT ["python", "-m", "project4_agent_api"]
