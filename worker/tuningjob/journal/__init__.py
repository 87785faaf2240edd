"""The journal: searches, units, cells and claims in SQL, and the audit table. Import-light: no numpy."""
