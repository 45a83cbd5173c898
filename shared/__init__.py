"""The foundation of every stage: application factory, settings, errors, logs, model clients, streams."""
