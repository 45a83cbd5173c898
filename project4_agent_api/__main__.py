"""`python -m project4_agent_api` serves stage 4 where the addresses are set; `… migrate` migrates its database.

`… worker` executes runs, beside any number of others. `… reindex` embeds everything with another model.
`… create-admin`, `set-role`, `deactivate`, `activate`, `adopt-documents`, `runs` and `stop-run` are for operators; with
`-h` each says how.
"""

import gc
import sys

from project4_agent_api.aliases import apply_aliases
from shared.database.migrate import migrate
from shared.errors import ConfigurationError

try:
    apply_aliases()
except ConfigurationError as error:
    print(f"error: {error}", file=sys.stderr)  # noqa: T201  logging is not configured yet
    sys.exit(2)

if sys.argv[1:2] == ["migrate"]:  # without what follows, which takes seconds to import
    sys.exit(migrate("project4_agent_api", "project4", sys.argv[2:]))

gc.disable()  # what the imports make stays: looking for garbage among it would take a fifth of their time

from project4_agent_api.accounts import cli as of_accounts
from project4_agent_api.runs import cli as of_runs

for operators in (of_accounts, of_runs):
    if sys.argv[1:2] and sys.argv[1] in operators.COMMANDS:
        sys.exit(operators.run(sys.argv[1:]))

from project4_agent_api.bootstrap import check_stored_data
from project4_agent_api.main import create_app
from project4_agent_api.settings import Settings
from project4_agent_api.store.reindex import reindex
from project4_agent_api.worker import create_worker
from shared.serve import serve

gc.freeze()
gc.enable()

match sys.argv[1:]:
    case ["reindex"]:
        sys.exit(reindex())
    case ["worker", *arguments]:
        serve(
            Settings,
            create_worker,
            startup_check=check_stored_data,
            arguments=arguments,
            port_setting="worker_port",
            behind_load_balancer=False,
        )
    case _:
        serve(Settings, create_app, startup_check=check_stored_data)
