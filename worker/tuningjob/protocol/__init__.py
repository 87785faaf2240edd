"""What a worker and the journal say to each other: records, and what must hold between them. Import-light: no numpy, no SQL."""
