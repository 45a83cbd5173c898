"""What a process of stage 4 counts, and where it says so: `GET /metrics`, in the form that Prometheus reads."""
