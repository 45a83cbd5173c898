"""`python -m local.model_server`: run the embedded model server alone, for any OpenAI client."""

import argparse
import os
import socket
import sys
from pathlib import Path

import uvicorn

from local.model_server.app import create_app
from local.model_server.llama import language_model
from shared.errors import ConfigurationError
from shared.serve import listen

parser = argparse.ArgumentParser(prog="python -m local.model_server", description=__doc__)
parser.add_argument("--fd", type=int, help="number of an open listening socket")
parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
parser.add_argument("--port", type=int, default=8010)
parser.add_argument("--cache", type=Path, default=Path(".data/models"), help="folder for repacked weights")
arguments = parser.parse_args()
try:
    app = create_app(*language_model(os.environ.get("LOCAL_LLM_GGUF")), arguments.cache)
    listening = (
        socket.socket(fileno=arguments.fd) if arguments.fd is not None else listen(arguments.host, arguments.port)
    )
except ConfigurationError as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2)
uvicorn.Server(uvicorn.Config(app, access_log=False, timeout_graceful_shutdown=2)).run(sockets=[listening])
