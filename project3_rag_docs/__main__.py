"""`python -m project3_rag_docs` serves stage 3, given the addresses of its services in the environment.

`… migrate` migrates its database; `… reindex` embeds all documents again with the model in the settings.
"""

import gc
import sys

from shared.database.migrate import migrate

if sys.argv[1:2] == ["migrate"]:  # before the imports below, which take seconds
    sys.exit(migrate("project3_rag_docs", "project3", sys.argv[2:]))

gc.disable()  # what the imports make stays: looking for garbage among it would take a fifth of their time

from project3_rag_docs.main import create_app
from project3_rag_docs.search.reindex import check_index, reindex
from project3_rag_docs.settings import Settings
from shared.serve import serve

gc.freeze()
gc.enable()

if sys.argv[1:] == ["reindex"]:
    sys.exit(reindex())
serve(Settings, create_app, startup_check=check_index)
