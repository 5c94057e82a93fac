"""From measured rows to claims, tables, figures and documents."""
