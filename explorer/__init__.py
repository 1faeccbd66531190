"""The explorer: one page, without a server, on which a visitor draws digits for the networks of a run."""
