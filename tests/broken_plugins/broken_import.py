"""Does not import."""

raise RuntimeError("the licence has expired")
