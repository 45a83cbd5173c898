"""Operations: health, metrics, version and the retention of old data."""
