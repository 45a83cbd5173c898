"""Metrics for Prometheus (`GET /metrics`), and traces for OpenTelemetry."""
