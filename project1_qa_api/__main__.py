"""`python -m project1_qa_api`: serve stage 1, configured by the environment."""

from project1_qa_api.main import create_app
from project1_qa_api.settings import Settings
from shared.serve import serve

serve(Settings, create_app)
