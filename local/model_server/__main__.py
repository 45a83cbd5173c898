"""`python -m local.model_server`: run the embedded model server alone, for any OpenAI client."""

import argparse
import os
import socket
import sys
from pathlib import Path

import uvicorn

from local.model_server.app import create_app
from local.model_server.language_models import WEIGHTS, configured_model, weights_of
from shared.errors import ConfigurationError
from shared.serve import listen

parser = argparse.ArgumentParser(prog="python -m local.model_server", description=__doc__)
parser.add_argument("--fd", type=int, help="number of an open listening socket")
parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
parser.add_argument("--port", type=int, default=8010)
parser.add_argument("--cache", type=Path, default=WEIGHTS, help="folder of weights")
arguments = parser.parse_args()
try:
    model = configured_model(os.environ)
    app = create_app(model, weights_of(model, os.environ, arguments.cache), arguments.cache)
    listening = (
        socket.socket(fileno=arguments.fd) if arguments.fd is not None else listen(arguments.host, arguments.port)
    )
except ConfigurationError as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2)
uvicorn.Server(uvicorn.Config(app, access_log=False, timeout_graceful_shutdown=2)).run(sockets=[listening])
