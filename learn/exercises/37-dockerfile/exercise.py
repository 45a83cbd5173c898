"""Write the Dockerfile of a FastAPI service. It is judged as text, so no Docker is needed.

The project has `requirements.txt` and the package `app/`, whose ASGI application is `app.main:app`.
"""

# TODO: a pinned, slim base image
# TODO: install the packages before copying the code, so that a change of the code keeps the layer of the packages
# TODO: copy only the needed files
# TODO: run as a user other than root
# TODO: start uvicorn in exec form (a JSON array), on 0.0.0.0, so that it receives SIGTERM itself
DOCKERFILE = """
FROM python:latest
WORKDIR /srv
COPY . .
RUN pip install -r requirements.txt
CMD uvicorn app.main:app
"""
