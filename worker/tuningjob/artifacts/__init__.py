"""The files of finished searches, beside the journal: where they are stored, and how they are checked after a download."""
