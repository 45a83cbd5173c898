"""HTTP requests to URLs that users choose. Private networks are refused."""
