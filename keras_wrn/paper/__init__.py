"""The paper's tables and figures, and our runs beside them."""
