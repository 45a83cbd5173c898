"""Write the Dockerfile of a FastAPI service. It is judged as text, so no Docker is needed.

The project has `requirements.txt` and the package `app/`, whose ASGI application is `app.main:app`.
"""

# TODO: a pinned, slim base image
#       固定版本的 slim 基础镜像
# TODO: install the packages before copying the code, so that a change of the code keeps the layer of the packages
#       先安装依赖再复制代码，这样改代码时依赖层不必重建
# TODO: copy only the needed files
#       只复制需要的文件
# TODO: run as a user other than root
#       不要用 root 运行
# TODO: start uvicorn in exec form (a JSON array), on 0.0.0.0, so that it receives SIGTERM itself
#       用 exec 形式（JSON 数组）在 0.0.0.0 上启动 uvicorn，让它自己收到 SIGTERM
DOCKERFILE = """
FROM python:latest
WORKDIR /srv
COPY . .
RUN pip install -r requirements.txt
CMD uvicorn app.main:app
"""
