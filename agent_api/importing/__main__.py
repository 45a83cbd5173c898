"""`python -m agent_api.importing` is the command `agent-api import`, for containers."""

import argparse
import sys

from agent_api.importing import command
from shared.errors import ConfigurationError

parser = argparse.ArgumentParser(prog="agent-api import")
command.add_arguments(parser)
try:
    status = command.run(parser.parse_args())
except ConfigurationError as error:
    sys.exit(f"error: {error}")
sys.exit(status)
