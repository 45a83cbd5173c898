"""Write the Dockerfile of a FastAPI service. It is judged as text, so no Docker is needed.

The project has `requirements.txt` and the package `app/`, whose ASGI application is `app.main:app`.
"""

DOCKERFILE = """
FROM python:3.13-slim AS packages
COPY requirements.txt .
RUN python -m venv /venv && /venv/bin/pip install --no-cache-dir -r requirements.txt

FROM python:3.13-slim
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1
WORKDIR /srv
COPY --from=packages /venv /venv
COPY app app
USER 10001:10001
EXPOSE 8000
CMD ["uvicorn", "app.main:app", "--host", "0.0.0.0", "--port", "8000"]
"""
