"""OAuth: programs sign in through a browser, and get tokens for `/mcp` only. See decision 36.

routes          registration, tokens and revocation, and the metadata that names them
consent         the page on which a user allows a client, and its API
account_routes  the list of a user's grants
clients         registered clients, and which addresses they may be redirected to
client_documents  clients whose id is the URL of their metadata
authorization   what a client asks for
grants          what a user allowed: an authorization code, then refresh tokens
errors          errors in OAuth's form
"""
