-- The earlier stages have no accounts, so they never share stage 4's database.
CREATE DATABASE stage2;
CREATE DATABASE stage3;
