"""Write a compose file for an API, PostgreSQL and Redis. It is judged as YAML, so no Docker is needed."""

# TODO: a health check for each service: `pg_isready`, `redis-cli ping`, and a request to /ready
#       每个服务都有健康检查：pg_isready、redis-cli ping，以及请求 /ready
# TODO: the API waits until both others are healthy
#       API 等另外两个服务都健康后再启动
# TODO: the data of PostgreSQL survives `docker compose down`: a named volume at /var/lib/postgresql/data
#       PostgreSQL 的数据在 docker compose down 之后仍然保留：把命名卷挂到 /var/lib/postgresql/data
# TODO: no password in this file: `${POSTGRES_PASSWORD:?}` takes it from the environment or .env
#       文件里不写密码：${POSTGRES_PASSWORD:?} 从环境变量或 .env 读取
# TODO: only the API is published, and on 127.0.0.1
#       只对外发布 API，而且只绑定 127.0.0.1
COMPOSE = """
services:
  api:
    build: .
    depends_on: [postgres, redis]
    environment:
      DATABASE_URL: postgresql://app:secret@localhost:5432/app
      REDIS_URL: redis://localhost:6379/0
    ports: ["8000:8000"]

  postgres:
    image: pgvector/pgvector:pg17
    environment:
      POSTGRES_USER: app
      POSTGRES_PASSWORD: secret
    ports: ["5432:5432"]

  redis:
    image: redis:8
"""
