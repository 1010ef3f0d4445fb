"""What was decided, as goals that a proof kernel can check."""
