"""How long a test waits for what must happen."""

DEADLINE_S = 60.0
"""Only a failing test waits so long: a busy machine takes many times what an idle one does."""
