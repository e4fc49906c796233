"""Which devices there are: who may join, under which name, and whether they are there."""
