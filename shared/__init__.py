"""What every stage stands on: application factory, settings, errors, logs, model clients, streams."""
