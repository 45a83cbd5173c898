"""HTTP requests to addresses that a user chose: private networks are refused."""
